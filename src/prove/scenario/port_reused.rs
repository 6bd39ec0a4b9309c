//! A port changes hands: an instance is killed, and before its registration is gone another process
//! has its port, by turns one of another service and another instance of the same.

use serde_json::Value;

use crate::prove::blame::{Lost, blame};
use crate::prove::fleet::Manner;
use crate::prove::stage::{Asked, Finding, Stage, Troupe};

pub(super) async fn run(asked: &Asked) -> Result<Finding, String> {
    let stage = Stage::set("defaults: {check: {interval: 500ms}}", asked).await?;
    let mut web = stage.troupe(stage.fleet("web").with_ttl("2s")).await?;
    let mut shop = stage.troupe(stage.fleet("shop").with_ttl("2s")).await?;
    let mut lost = Vec::new();
    let done = hand_over(&stage, &mut web, &mut shop, &mut lost).await;
    let mut finding = stage.close(vec![web, shop], done).await?;
    finding.tally.explain(blame(&lost));
    Ok(finding)
}

async fn hand_over(
    stage: &Stage,
    web: &mut Troupe,
    shop: &mut Troupe,
    lost: &mut Vec<Lost>,
) -> Result<usize, String> {
    let mut done = 0;
    for round in stage.rounds() {
        let mut victim = web.fleet.oldest()?;
        let same_port = Manner {
            port: victim.port,
            ..Manner::default()
        };
        let since = stage.now_ms();
        for troupe in [&*web, &*shop] {
            let phase = format!("{} was killed and its port is another's", victim.id);
            troupe.load.phase(phase);
        }
        victim.process.crash().await?;
        if round % 2 == 0 {
            shop.fleet.grow(&same_port, &stage.board).await?;
            lost.push(Lost::new(&victim, since..stage.now_ms())?);
            web.fleet.grow(&Manner::default(), &stage.board).await?;
            shop.flows(4 * stage.clients()).await?;
            shop.fleet.oldest()?.leave().await?;
        } else {
            web.fleet.grow(&same_port, &stage.board).await?;
            lost.push(Lost::new(&victim, since..stage.now_ms())?);
        }
        web.flows(4 * stage.clients()).await?;
        let gone = |now: Option<&Value>| now.is_none().then_some(());
        let service = &web.fleet.service;
        (stage.board)
            .until(service, &victim.id, "gone", gone)
            .await?;
        done += 1;
    }
    Ok(done)
}
