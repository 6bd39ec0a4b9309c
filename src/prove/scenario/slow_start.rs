//! Instances that promise more than they can keep yet: by turns, one that signs in before it listens,
//! and one that listens before it is ready.

use std::time::Duration;

use crate::prove::fleet::Manner;
use crate::prove::stage::{Asked, Finding, Stage, Troupe};

/// Probes often enough that many come too early.
const POLICY: &str = "defaults: {check: {interval: 250ms}}";
/// By how much an instance is late.
const LATE: Duration = Duration::from_millis(600);

pub(super) async fn run(asked: &Asked) -> Result<Finding, String> {
    let stage = Stage::set(POLICY, asked).await?;
    let mut troupe = stage.troupe(stage.fleet("web")).await?;
    let done = roll(&stage, &mut troupe).await;
    stage.close(vec![troupe], done).await
}

async fn roll(stage: &Stage, troupe: &mut Troupe) -> Result<usize, String> {
    let mut done = 0;
    for round in stage.rounds() {
        let mut manner = Manner::default();
        let new = troupe.fleet.next_id();
        if round % 2 == 0 {
            manner.listens_after = LATE;
            troupe
                .load
                .phase(format!("{new} has signed in and does not listen"));
        } else {
            manner.ready_after = LATE;
            troupe.load.phase(format!("{new} listens and is not ready"));
        }
        troupe.fleet.grow(&manner, &stage.board).await?;
        troupe.load.phase(format!("{new} is ready"));
        troupe.flows(2 * stage.clients()).await?;
        troupe.fleet.oldest()?.leave().await?;
        done += 1;
    }
    Ok(done)
}
