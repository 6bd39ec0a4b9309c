//! A configuration that is read again ten times a second, with something changed in it each time.

use std::time::{Duration, Instant};

use tokio::time::{interval, sleep};

use crate::prove::board::PATIENCE;
use crate::prove::stage::{Asked, Finding, Stage, Troupe};

/// The time between two reloads.
const EVERY: Duration = Duration::from_millis(100);
/// What callboard logs when it has read its configuration again.
const DONE: &str = "configuration reloaded";
/// What it logs when it would not have it.
const REFUSED: &str = "was not reloaded";

pub(super) async fn run(asked: &Asked) -> Result<Finding, String> {
    let mut stage = Stage::set("", asked).await?;
    let troupe = stage.troupe(stage.fleet("web")).await?;
    let done = reload(&mut stage, &troupe).await;
    let mut finding = stage.close(vec![troupe], done).await?;
    let closed = finding.tally.closed_connections();
    if closed > 0 {
        let breach = format!("{closed} kept connections were closed on their clients");
        finding.breaches.push(breach);
    }
    Ok(finding)
}

async fn reload(stage: &mut Stage, troupe: &Troupe) -> Result<usize, String> {
    let mut tick = interval(EVERY);
    for round in stage.rounds() {
        tick.tick().await;
        let balance = ["round_robin", "random", "peak_ewma"][round % 3];
        let route = format!("{{match: {{path: /reload-{round}}}, service: web}}");
        troupe.load.phase(format!("reload {}", round + 1));
        let policy = format!("defaults: {{balance: {balance}}}\nroutes: [{route}]");
        stage.board.configure(&policy)?;
        stage.board.reload()?;
    }
    let begun = Instant::now();
    while stage.board.log_says(DONE)? == 0 {
        if begun.elapsed() > PATIENCE {
            return Err("callboard does not say that it reloaded its configuration".to_owned());
        }
        sleep(EVERY).await;
    }
    troupe.flows(4 * stage.clients()).await?;
    if stage.board.log_says(REFUSED)? > 0 {
        return Err("callboard refused a configuration".to_owned());
    }
    stage.board.log_says(DONE)
}
