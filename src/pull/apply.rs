//! Carries out what the mirror asks for: in batches, in order, and again where the store refused.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use log::{error, warn};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use crate::registry::Registry;
use crate::registry::command::{Command, Refusal};
use crate::registry::event::Actor;

use super::Shared;
use super::keep::shortest;
use super::mirror::Key;
use super::settings::Origin;
use super::status::Status;
use super::stream::Heard;
use super::wire::Told;

/// The most events that become one change. More than one only pile up when they come faster than
/// the store keeps them.
const MAX_BATCH: usize = 256;
/// The most commands in one change.
const MAX_COMMANDS: usize = 500;
/// How often the two memberships are compared as a whole.
const REPAIR: Duration = Duration::from_secs(5);

/// Makes the registry here what is heard of another.
pub(super) struct Applier {
    pub(super) registry: Registry,
    pub(super) shared: Shared,
    pub(super) status: Status,
}

impl Applier {
    /// Works until whoever hears is gone.
    pub(super) async fn run(self, mut heard: mpsc::Receiver<Heard>) {
        let mut repairs = interval(REPAIR);
        repairs.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::with_capacity(MAX_BATCH);
        let mut from = None;
        loop {
            tokio::select! {
                count = heard.recv_many(&mut batch, MAX_BATCH) => {
                    if count == 0 {
                        return;
                    }
                    from = self.take_in(&mut batch).await.or(from);
                }
                _ = repairs.tick() => {
                    if let Some(from) = &from {
                        let local = self.registry.snapshot();
                        let commands = self.shared.mirror().all_commands(&local);
                        self.carry_out(from, commands).await;
                    }
                }
            }
        }
    }

    /// Takes in a batch, and gives the registry that told the last of it.
    async fn take_in(&self, batch: &mut Vec<Heard>) -> Option<Origin> {
        let mut touched = BTreeSet::new();
        let mut last = None;
        for Heard { from, index, told } in batch.drain(..) {
            match told {
                Told::Here(listed) => {
                    touched.insert(self.shared.mirror().told_here(listed));
                }
                Told::Gone(service, id) => {
                    let key = (service, id);
                    self.shared.mirror().told_gone(&key);
                    touched.insert(key);
                }
                Told::Everything(listing) => {
                    self.bring_in_line(&from, &std::mem::take(&mut touched))
                        .await;
                    let local = self.registry.snapshot();
                    let (shrunk, commands) = {
                        let mut mirror = self.shared.mirror();
                        let shrunk = mirror.told_everything(listing, &local);
                        (shrunk, mirror.all_commands(&local))
                    };
                    for lost in shrunk {
                        warn!(
                            "registry {from} no longer lists {} of {}'s {} instances; they stay \
                             until their leases run out",
                            lost.missing, lost.service, lost.of
                        );
                    }
                    self.carry_out(&from, commands).await;
                }
            }
            last = Some((from, index));
        }
        let (from, index) = last?;
        self.bring_in_line(&from, &touched).await;
        self.status.mirrored(index);
        Some(from)
    }

    async fn bring_in_line(&self, from: &Origin, keys: &BTreeSet<Key>) {
        let local = self.registry.snapshot();
        let commands = self.shared.mirror().commands(keys, &local);
        self.carry_out(from, commands).await;
    }

    async fn carry_out(&self, from: &Origin, commands: Vec<Command>) {
        let broken = self.submit(from, commands).await;
        if broken.is_empty() {
            return;
        }
        // They are no longer what they were, and what they are is not admitted here.
        let local = self.registry.snapshot();
        let commands = {
            let mut mirror = self.shared.mirror();
            broken.iter().for_each(|key| mirror.told_gone(key));
            mirror.commands(&broken, &local)
        };
        self.submit(from, commands).await;
    }

    /// Submits commands in batches; names the instances that break a rule.
    async fn submit(&self, from: &Origin, commands: Vec<Command>) -> Vec<Key> {
        let mut broken = Vec::new();
        let mut refused = Refused::default();
        let mut commands = commands.into_iter();
        loop {
            let batch: Vec<_> = commands.by_ref().take(MAX_COMMANDS).collect();
            if batch.is_empty() {
                if refused.count > 0 {
                    error!("registry {from}: {refused}");
                }
                return broken;
            }
            let keys: Vec<Key> = batch
                .iter()
                .map(|command| {
                    let (service, id) = command.about();
                    (service.clone(), id.clone())
                })
                .collect();
            let shortest = shortest(&batch);
            let actor = Actor::Registry {
                url: from.to_shared(),
                here: from.is_loopback(),
            };
            let results = self.registry.submit_all(batch, actor).await;
            if let Some(ttl) = shortest {
                self.shared.pace.quicken(ttl);
            }
            for (key, result) in keys.into_iter().zip(results) {
                match result {
                    // One that left by itself is gone all the same.
                    Ok(_) | Err(Refusal::NotFound { .. }) => {}
                    Err(refusal @ Refusal::Invalid { .. }) => {
                        warn!("registry {from}: skipped {}/{}: {refusal}", key.0, key.1);
                        broken.push(key);
                    }
                    Err(refusal) => refused.add(key, refusal),
                }
            }
        }
    }
}

/// What was refused and is due again. A store that keeps nothing refuses everything, every few
/// seconds; the log, which may be on the same disk, gets one line of it.
#[derive(Debug, Default)]
struct Refused {
    count: usize,
    first: Option<(Key, Refusal)>,
}

impl Refused {
    fn add(&mut self, key: Key, refusal: Refusal) {
        self.count += 1;
        self.first.get_or_insert((key, refusal));
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, first } = self;
        write!(f, "{count} changes were refused here and are tried again")?;
        match first {
            Some(((service, id), refusal)) => write!(f, "; the first, {service}/{id}: {refusal}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_many_are_refused_it_is_told_in_one_line() {
        let mut refused = Refused::default();
        for id in ["a", "b", "c"] {
            let key = ("web".parse().unwrap(), id.parse().unwrap());
            refused.add(key, Refusal::Unavailable("the disk is full".to_owned()));
        }
        let told = refused.to_string();
        assert!(told.starts_with("3 changes were refused here"), "{told}");
        assert!(told.contains("the first, web/a: "), "{told}");
        assert!(!told.contains('\n') && !told.contains("web/b"), "{told}");
    }
}
