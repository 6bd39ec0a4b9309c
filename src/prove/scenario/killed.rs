//! A crash: one of three instances is killed under load, and replaced afterwards.

use serde_json::Value;

use crate::prove::blame::{Lost, blame};
use crate::prove::fleet::Manner;
use crate::prove::stage::{Asked, Finding, Stage, Troupe};

pub(super) async fn run(asked: &Asked) -> Result<Finding, String> {
    let stage = Stage::set("", asked).await?;
    let fleet = stage.fleet("web").with_ttl("2s");
    let mut troupe = stage.troupe(fleet).await?;
    let mut lost = Vec::new();
    let done = crashes(&stage, &mut troupe, &mut lost).await;
    let mut finding = stage.close(vec![troupe], done).await?;
    finding.tally.explain(blame(&lost));
    Ok(finding)
}

async fn crashes(
    stage: &Stage,
    troupe: &mut Troupe,
    lost: &mut Vec<Lost>,
) -> Result<usize, String> {
    let mut done = 0;
    for _ in stage.rounds() {
        let mut victim = troupe.fleet.oldest()?;
        troupe.load.phase(format!("{} was killed", victim.id));
        let since = stage.now_ms();
        victim.process.crash().await?;
        troupe.flows(4 * stage.clients()).await?;
        lost.push(Lost::new(&victim, since..stage.now_ms())?);
        let new = troupe.fleet.grow(&Manner::default(), &stage.board).await?;
        troupe
            .load
            .phase(format!("{new} replaces {}, which was killed", victim.id));
        // More than half of a service that is dead and still registered is no deploy.
        let gone = |now: Option<&Value>| now.is_none().then_some(());
        let service = &troupe.fleet.service;
        (stage.board)
            .until(service, &victim.id, "gone", gone)
            .await?;
        troupe.flows(stage.clients()).await?;
        done += 1;
    }
    Ok(done)
}
