//! callboard itself is deployed: a new process takes over from the old one.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::prove::stage::{Asked, Finding, Stage, Troupe};

pub(super) async fn run(asked: &Asked) -> Result<Finding, String> {
    let mut stage = Stage::set("", asked).await?;
    let troupe = stage.troupe(stage.fleet("web")).await?;
    let done = upgrade(&mut stage, &troupe).await;
    stage.close(vec![troupe], done).await
}

async fn upgrade(stage: &mut Stage, troupe: &Troupe) -> Result<usize, String> {
    let mut done = 0;
    for round in stage.rounds() {
        troupe.load.phase(format!("upgrade {}", round + 1));
        stage.board.upgrade().await?;
        troupe.flows(4 * stage.clients()).await?;
        done += 1;
    }
    Ok(done)
}

/// Whether `program` has the command.
pub(super) fn is_available(program: &Path) -> Result<bool, String> {
    let asked = Command::new(program)
        .args(["help", "upgrade"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let asked = asked.map_err(|error| format!("{}: {error}", program.display()))?;
    Ok(asked.success())
}
