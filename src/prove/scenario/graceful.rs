//! A rolling deploy: start the new, wait until it takes traffic, drain and stop the old.

use futures_util::future::join_all;

use crate::prove::fleet::Manner;
use crate::prove::stage::{Asked, Finding, Stage, Troupe};

/// From this many replacements on, two services are deployed at once.
const MANY: usize = 100;

pub(super) async fn run(asked: &Asked) -> Result<Finding, String> {
    let services: &[&str] = match asked.rounds >= MANY {
        true => &["web", "shop"],
        false => &["web"],
    };
    let each = Asked {
        rounds: asked.rounds.div_ceil(services.len()),
        ..asked.clone()
    };
    let policy = match asked.without_drain {
        true => "defaults: {retry: off}",
        false => "",
    };
    let stage = Stage::set(policy, &each).await?;
    let mut troupes = Vec::new();
    for service in services {
        let fleet = stage.fleet(service).abrupt(asked.without_drain);
        troupes.push(stage.troupe(fleet).await?);
    }
    let rolled = join_all(troupes.iter_mut().map(|troupe| roll(&stage, troupe))).await;
    let done = rolled.into_iter().sum();
    stage.close(troupes, done).await
}

async fn roll(stage: &Stage, troupe: &mut Troupe) -> Result<usize, String> {
    let mut done = 0;
    for round in stage.rounds() {
        let old = troupe.fleet.oldest()?;
        let (service, new) = (troupe.fleet.service.clone(), troupe.fleet.next_id());
        troupe.load.phase(format!("{new} starts"));
        troupe.fleet.grow(&Manner::default(), &stage.board).await?;
        if round % 2 == 1 {
            // An operator's drain comes before the instance knows that it is to leave.
            troupe.load.phase(format!("{} drains", old.id));
            stage.board.drain(&service, &old.id).await?;
        }
        troupe.load.phase(format!("{} leaves", old.id));
        old.leave().await?;
        troupe.flows(stage.clients()).await?;
        done += 1;
    }
    Ok(done)
}
