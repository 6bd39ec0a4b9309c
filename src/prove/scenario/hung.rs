//! A process that hangs: it is stopped with its connections open, and the system accepts new ones on
//! its behalf. Later it goes on as if nothing had happened.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::time::sleep_until;

use crate::prove::blame::{Lost, blame};
use crate::prove::record::Record;
use crate::prove::stage::{Asked, Finding, Stage, Troupe};

/// What an operator sets who wants hung instances noticed: how long an answer may take, that requests
/// which may be repeated are tried elsewhere then, and checks that are as strict.
const POLICY: &str = "defaults:\n  \
    check: {interval: 500ms, timeout: 500ms, fall: 2}\n  \
    timeouts: {first_byte: 1s}\n  \
    retry: {on: [connect, reset, timeout, 502-504]}";

/// The longest a GET may take: one try's `first_byte`, and what a busy machine adds.
const LONGEST_GET: Duration = Duration::from_secs(4);
/// How long the process hangs: so long that a GET which had to wait for it is known by that.
const HANGS: Duration = Duration::from_secs(5);

/// How many requests of each client may reach the process before it is out.
const PER_CLIENT: usize = 4;

pub(super) async fn run(asked: &Asked) -> Result<Finding, String> {
    let stage = Stage::set(POLICY, asked).await?;
    let mut troupe = stage.troupe(stage.fleet("web")).await?;
    let (mut lost, mut breaches) = (Vec::new(), Vec::new());
    let done = hang(&stage, &mut troupe, &mut lost, &mut breaches).await;
    let mut finding = stage.close(vec![troupe], done).await?;
    finding.tally.explain(blame(&lost));
    let slowest = finding.tally.slowest_get();
    if slowest > LONGEST_GET {
        breaches.push(format!(
            "a GET was answered after {slowest:.1?} (at most {LONGEST_GET:?})"
        ));
    }
    finding.breaches.append(&mut breaches);
    Ok(finding)
}

async fn hang(
    stage: &Stage,
    troupe: &mut Troupe,
    lost: &mut Vec<Lost>,
    breaches: &mut Vec<String>,
) -> Result<usize, String> {
    let mut done = 0;
    for _ in stage.rounds() {
        let mut victim = troupe.fleet.oldest()?;
        let service = troupe.fleet.service.clone();
        troupe.load.phase(format!("{} hangs", victim.id));
        let since = stage.now_ms();
        let first = stage.next_tag();
        let hangs_until = Instant::now() + HANGS;
        victim.process.signal(Signal::SIGSTOP)?;
        let out = |now: Option<&Value>| {
            let in_use = now.is_some_and(|now| {
                now["availability"] == "ready" || now["availability"] == "suspect"
            });
            (!in_use).then_some(())
        };
        stage.board.until(&service, &victim.id, "out", out).await?;
        troupe.load.phase(format!("{} hangs and is out", victim.id));
        troupe.flows(4 * stage.clients()).await?;
        let last = stage.next_tag();
        sleep_until(hangs_until.into()).await;
        victim.process.signal(Signal::SIGCONT)?;
        troupe.load.phase(format!("{} goes on", victim.id));
        let back = |now: Option<&Value>| {
            (now.is_some_and(|now| now["availability"] == "ready")).then_some(())
        };
        stage
            .board
            .until(&service, &victim.id, "back", back)
            .await?;
        // By now it has read what was sent to it meanwhile.
        let record = Record::read(&victim.record).map_err(|e| format!("{}: {e}", victim.id))?;
        let tags = record.gets.iter().chain(&record.posts);
        let reached = tags.filter(|tag| (first..last).contains(tag)).count();
        let limit = PER_CLIENT * stage.clients();
        if reached > limit {
            let id = &victim.id;
            breaches.push(format!(
                "{reached} requests reached {id} while it hung (at most {limit})"
            ));
        }
        lost.push(Lost::new(&victim, since..stage.now_ms())?);
        troupe.flows(stage.clients()).await?;
        troupe.fleet.members.push_back(victim);
        done += 1;
    }
    Ok(done)
}
