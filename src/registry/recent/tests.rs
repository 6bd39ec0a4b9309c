use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::registry::command::Command;
use crate::registry::event::Actor;
use crate::registry::fixtures::{instance, rules};
use crate::registry::state::{Context, State};

/// The versions of the members a reader knows of.
type Picture = BTreeMap<(ServiceName, InstanceId), (Revision, Revision)>;

fn picture(snapshot: &Snapshot, only: Option<&ServiceName>) -> Picture {
    let services = snapshot.services.iter();
    services
        .filter(|(service, _)| only.is_none_or(|only| only == *service))
        .flat_map(|(service, members)| {
            members.instances.iter().map(|(id, member)| {
                let version = (member.created, member.observed);
                ((service.clone(), id.clone()), version)
            })
        })
        .collect()
}

/// What becomes of a reader's picture when it is told what it missed.
fn catch_up(old: &mut Picture, missed: &Missed, only: Option<&ServiceName>) {
    let (base, now) = (picture(&missed.base, only), picture(&missed.now, only));
    for (service, id) in missed.departed() {
        old.remove(&(service.clone(), id.clone()));
    }
    for (member, version) in now {
        if base.get(&member) != Some(&version) {
            old.insert(member, version);
        }
    }
}

/// A membership that changes, and what is kept of it.
struct World {
    state: State,
    published: Arc<Snapshot>,
    recent: Recent,
    now: Instant,
}

impl World {
    fn new() -> Self {
        let (published, now) = (Arc::new(Snapshot::default()), Instant::now());
        Self {
            state: State::default(),
            recent: Recent::new(Arc::clone(&published), now),
            published,
            now,
        }
    }

    fn since(&self, only: Option<&ServiceName>, seen: Revision) -> Option<Missed> {
        self.recent.since(only, seen, Arc::clone(&self.published))
    }

    fn publish(&mut self, commands: &[Command], after: Duration) {
        let rules = rules();
        self.now += after;
        for command in commands {
            let context = Context {
                rules: &rules,
                actor: &Actor::Callboard,
                now: self.now,
                at: std::time::SystemTime::UNIX_EPOCH,
            };
            // Who is not there cannot leave.
            let _ = self.state.apply(command, context);
        }
        let after = Arc::new(self.state.snapshot().clone());
        self.recent.changed(&self.published, &after, self.now);
        self.published = after;
    }
}

fn name(text: &str) -> ServiceName {
    text.parse().unwrap()
}

fn comes(service: &str, id: &str, weight: u32) -> Command {
    let mut instance = instance(service, id);
    instance.weight = weight;
    Command::Register(instance)
}

fn goes(service: &str, id: &str) -> Command {
    Command::Deregister {
        service: name(service),
        id: id.parse().unwrap(),
        generation: None,
    }
}

#[test]
fn who_came_and_went_between_two_kept_snapshots_is_noted() {
    let mut world = World::new();
    world.publish(&[comes("web", "1", 1)], Duration::ZERO);
    let seen = world.published.revision;
    world.publish(&[goes("web", "1")], Duration::ZERO);
    assert_eq!(world.recent.kept.len(), 1, "all within the spacing");
    let gone = world.published.revision;
    assert_eq!(world.since(None, gone).unwrap().departed().count(), 0);
    let missed = world.since(None, seen).unwrap();
    let departed: Vec<_> = missed.departed().collect();
    assert_eq!(departed, [(&name("web"), &"1".parse().unwrap())]);
}

#[test]
fn a_reader_of_a_quiet_service_is_not_too_old_when_others_have_changed_often() {
    let mut world = World::new();
    world.publish(&[comes("quiet", "1", 1)], SPACING);
    let seen = world.published.revision;
    for weight in 1..=2 * MAX_KEPT as u32 {
        world.publish(&[comes("busy", "1", weight)], SPACING);
    }
    assert_eq!(world.recent.kept.len(), MAX_KEPT);
    assert!(world.since(None, seen).is_none());
    assert!(world.since(Some(&name("quiet")), seen).is_some());
    assert!(world.since(Some(&name("busy")), seen).is_none());
}

#[test]
fn what_is_held_stays_within_the_budget() {
    let mut world = World::new();
    let first = world.published.revision;
    let heavy = |weight| {
        let mut instance = instance("web", "1");
        instance.metadata = (0..60).map(|n| (n.to_string(), "x".repeat(512))).collect();
        instance.weight = weight;
        Command::Register(instance)
    };
    for weight in 1..=2_000 {
        world.publish(&[heavy(weight)], Duration::ZERO);
    }
    let weighed: usize = world.recent.kept.iter().map(|kept| kept.weight).sum();
    assert_eq!(world.recent.held, weighed);
    assert!(world.recent.held <= BUDGET, "{}", world.recent.held);
    assert!(world.since(None, first).is_none());
    let now = world.published.revision;
    assert!(world.since(None, now).is_some());
}

proptest! {
    /// Whatever happened and whenever a reader was cut off, even in the middle of being told a step,
    /// what it missed brings it to the membership of now.
    #[test]
    fn a_reader_that_comes_back_ends_with_the_membership_of_now(
        steps in prop::collection::vec(
            (
                prop::collection::vec((0..3usize, 0..4usize, 0..4u32), 1..4),
                0..400u64,
            ),
            1..40,
        ),
        cut: prop::sample::Index,
        heard in prop::collection::vec(any::<bool>(), 12),
        one: bool,
    ) {
        let services = ["a", "b", "c"];
        let mut world = World::new();
        let mut published = vec![Arc::clone(&world.published)];
        for (changes, millis) in &steps {
            let commands: Vec<_> = changes
                .iter()
                .map(|&(service, id, weight)| match weight {
                    0 => goes(services[service], &id.to_string()),
                    weight => comes(services[service], &id.to_string(), weight),
                })
                .collect();
            world.publish(&commands, Duration::from_millis(*millis));
            published.push(Arc::clone(&world.published));
        }
        let only = one.then(|| name("a"));
        let only = only.as_ref();
        let cut = cut.index(published.len());
        let known = &published[cut];
        let mut reader = picture(known, only);
        if let Some(next) = published.get(cut + 1) {
            let (before, next) = (reader.clone(), picture(next, only));
            let members: std::collections::BTreeSet<_> =
                before.keys().chain(next.keys()).cloned().collect();
            for (member, heard) in members.into_iter().zip(&heard) {
                match next.get(&member) {
                    _ if !heard => None,
                    Some(version) => reader.insert(member, *version),
                    None => reader.remove(&member),
                };
            }
        }
        let seen = known.revision_followed(only);
        let missed = world.since(only, seen).unwrap();
        catch_up(&mut reader, &missed, only);
        prop_assert_eq!(reader, picture(&world.published, only));
    }
}
