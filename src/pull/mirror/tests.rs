//! The mirror against the real state of a registry, without its writer and store.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use proptest::prelude::*;

use super::*;
use crate::instance::check::CheckOverride;
use crate::instance::{Instance, Scheme};
use crate::registry::event::{Actor, Change, Event};
use crate::registry::snapshot::{Fitness, Revision};
use crate::registry::state::{Context, State};
use crate::registry::store::Recovered;
use crate::registry::{Limits, Rules};

const TTL: Duration = Duration::from_secs(10);

fn listed(service: &str, id: &str, weight: u32, draining: bool) -> Listed {
    Listed {
        instance: Arc::new(Instance {
            service: service.parse().unwrap(),
            id: id.parse().unwrap(),
            address: SocketAddr::from(([10, 0, 0, 1], 8080)).into(),
            scheme: Scheme::Http,
            weight,
            zone: None,
            tags: BTreeSet::new(),
            metadata: BTreeMap::new(),
            ttl: Some(TTL),
            check: CheckOverride::default(),
            generation: None,
        }),
        draining,
        fitness: Fitness::Fit,
    }
}

fn key(service: &str, id: &str) -> Key {
    (service.parse().unwrap(), id.parse().unwrap())
}

fn listing(all: impl IntoIterator<Item = Listed>) -> Listing {
    let mut listing = Listing::new();
    for listed in all {
        let instance = &listed.instance;
        let (service, id) = (instance.service.clone(), instance.id.clone());
        listing.entry(service).or_default().insert(id, listed);
    }
    listing
}

/// A registry and the mirror it follows by.
struct Scene {
    mirror: Mirror,
    state: State,
}

impl Scene {
    fn new() -> Self {
        Self {
            mirror: Mirror::default(),
            state: State::restore(Recovered::default(), Instant::now(), Revision(0)),
        }
    }

    /// Carries out what the mirror asks for.
    fn settle(&mut self) -> Vec<Event> {
        let commands = self.mirror.all_commands(self.state.snapshot());
        self.carry_out(&commands)
    }

    fn carry_out(&mut self, commands: &[Command]) -> Vec<Event> {
        let rules = Rules {
            ttl: TTL,
            min_ttl: TTL,
            max_ttl: TTL,
            allow: vec!["0.0.0.0/0".parse().unwrap()],
            allow_paths: Vec::new(),
            own: Vec::new(),
            own_paths: Vec::new(),
            limits: Limits::default(),
        };
        let actor = registry_a();
        let context = Context {
            rules: &rules,
            actor: &actor,
            now: Instant::now(),
            at: SystemTime::UNIX_EPOCH,
        };
        let events = commands.iter();
        let events = events.map(|command| self.state.apply(command, context).unwrap().1);
        events
            .map(|event| event.expect("only what differs is commanded"))
            .collect()
    }

    fn snapshot(&mut self, all: impl IntoIterator<Item = Listed>) -> Vec<Shrunk> {
        let shrunk = self
            .mirror
            .told_everything(listing(all), self.state.snapshot());
        self.settle();
        shrunk
    }

    fn here(&mut self, listed: Listed) -> Vec<Event> {
        let key = self.mirror.told_here(listed);
        let commands = self.mirror.commands([&key], self.state.snapshot());
        self.carry_out(&commands)
    }

    fn gone(&mut self, key: &Key) -> Vec<Event> {
        self.mirror.told_gone(key);
        let commands = self.mirror.commands([key], self.state.snapshot());
        self.carry_out(&commands)
    }

    /// Those whose leases are not renewed lose them.
    fn leases_run_out(&mut self) {
        let doubted: Vec<_> = self
            .members()
            .into_keys()
            .filter(|key| !self.mirror.vouches_for(key))
            .map(|(service, id)| Command::Deregister {
                service,
                id,
                generation: None,
            })
            .collect();
        self.carry_out(&doubted);
        self.mirror.forget_gone(self.state.snapshot());
        assert!(self.mirror.doubted.is_empty());
    }

    /// Weight and drain of every member.
    fn members(&self) -> BTreeMap<Key, (u32, bool)> {
        let services = self.state.snapshot().services.values();
        let members = services.flat_map(|members| members.instances.values());
        members
            .map(|member| {
                let instance = &member.instance;
                let key = (instance.service.clone(), instance.id.clone());
                (key, (instance.weight, member.draining))
            })
            .collect()
    }

    fn ids(&self, service: &str) -> Vec<String> {
        let members = self.members().into_keys();
        let members = members.filter(|(of, _)| of.as_str() == service);
        members.map(|(_, id)| id.to_string()).collect()
    }
}

fn web(ids: &str) -> Vec<Listed> {
    let ids = ids.split_terminator(' ');
    ids.map(|id| listed("web", id, 1, false)).collect()
}

#[test]
fn a_change_there_is_one_change_here_and_none_where_nothing_differs() {
    let mut scene = Scene::new();
    scene.snapshot(web("a"));
    let change = |events: Vec<Event>| events.iter().map(|event| event.change).collect::<Vec<_>>();
    assert_eq!(change(scene.here(listed("web", "a", 1, false))), []);
    let heavier = scene.here(listed("web", "a", 2, false));
    assert_eq!(change(heavier), [Change::Registered]);
    assert_eq!(
        change(scene.here(listed("web", "a", 2, true))),
        [Change::Drained]
    );
    assert_eq!(
        change(scene.here(listed("web", "a", 2, false))),
        [Change::Undrained]
    );
    let both = scene.here(listed("web", "b", 1, true));
    assert_eq!(change(both.clone()), [Change::Registered]);
    assert!(both[0].member.draining);
    assert_eq!(both[0].member.recalled, Some(Fitness::Fit));
    assert_eq!(both[0].actor, registry_a());
    assert_eq!(change(scene.gone(&key("web", "b"))), [Change::Deregistered]);
    assert_eq!(change(scene.gone(&key("web", "b"))), []);
}

#[test]
fn until_the_registry_has_spoken_nobody_is_one_too_many() {
    let mut scene = Scene::new();
    scene.snapshot(web("a b"));
    scene.mirror = Mirror::default();
    assert_eq!(scene.mirror.all_commands(scene.state.snapshot()), []);
    assert!(scene.mirror.vouches_for(&key("web", "a")));
}

#[test]
fn an_earlier_life_that_the_registry_lists_again_is_believed() {
    let mut scene = Scene::new();
    let life = |generation| {
        let mut listed = listed("web", "a", 1, false);
        Arc::make_mut(&mut listed.instance).generation = generation;
        listed
    };
    scene.snapshot([life(Some(9))]);
    scene.here(life(Some(3)));
    let member = scene.state.snapshot().member("web", "a").cloned().unwrap();
    assert_eq!(member.instance.generation, Some(3));
}

#[test]
fn a_snapshot_takes_up_to_half_of_a_service_and_doubts_more() {
    let mut scene = Scene::new();
    scene.snapshot(web("a b c d"));
    assert_eq!(scene.snapshot(web("a b")), []);
    assert_eq!(scene.ids("web"), ["a", "b"]);

    scene.snapshot(web("a b c d e"));
    let shrunk = scene.snapshot(web("a b"));
    let service = "web".parse().unwrap();
    assert_eq!(
        shrunk,
        [Shrunk {
            service,
            missing: 3,
            of: 5
        }]
    );
    assert_eq!(scene.ids("web"), ["a", "b", "c", "d", "e"]);
    let vouched = |scene: &Scene, id| scene.mirror.vouches_for(&key("web", id));
    assert!(vouched(&scene, "a") && !vouched(&scene, "c"));

    scene.here(listed("web", "c", 1, false));
    assert!(vouched(&scene, "c"), "listed again");
    scene.gone(&key("web", "d"));
    assert_eq!(
        scene.ids("web"),
        ["a", "b", "c", "e"],
        "an event is believed"
    );
    scene.leases_run_out();
    assert_eq!(scene.ids("web"), ["a", "b", "c"]);
}

#[test]
fn a_doubted_member_is_not_taken_by_a_later_snapshot_that_lacks_fewer() {
    let mut scene = Scene::new();
    scene.snapshot(web("a b c d"));
    scene.snapshot(web("a"));
    scene.snapshot(web("a b"));
    assert_eq!(scene.ids("web"), ["a", "b", "c", "d"]);
    assert!(scene.mirror.vouches_for(&key("web", "b")), "listed again");
    scene.gone(&key("web", "c"));
    assert_eq!(scene.ids("web"), ["a", "b", "d"], "an event is believed");
    scene.leases_run_out();
    assert_eq!(scene.ids("web"), ["a", "b"]);
}

#[test]
fn each_service_is_judged_by_itself() {
    let mut scene = Scene::new();
    let api = |id: &str| listed("api", id, 1, false);
    scene.snapshot(web("a b c").into_iter().chain([api("x")]));
    let shrunk = scene.snapshot(web("a b"));
    assert_eq!(shrunk.len(), 1);
    assert_eq!(scene.ids("web"), ["a", "b"]);
    assert_eq!(scene.ids("api"), ["x"]);
    assert_eq!(scene.snapshot([]).len(), 2);
    assert_eq!(scene.ids("web"), ["a", "b"]);
}

const SERVICES: [&str; 2] = ["web", "api"];
const IDS: [&str; 5] = ["a", "b", "c", "d", "e"];

#[derive(Clone, Debug)]
enum Step {
    Here(Key, u32, bool),
    Gone(Key),
    /// The connection is lost, this many of the steps before it were not heard, and comes back.
    Snapshot,
    /// What was heard so far is acted on; otherwise it waits for the next.
    Settle,
    /// The connection goes down: nothing is heard until the next snapshot.
    Deaf,
    LeasesRunOut,
}

fn step() -> impl Strategy<Value = Step> {
    let any_key = || {
        let select = (
            prop::sample::select(&SERVICES[..]),
            prop::sample::select(&IDS[..]),
        );
        select.prop_map(|(service, id)| key(service, id))
    };
    prop_oneof![
        8 => (any_key(), 1..3_u32, any::<bool>()).prop_map(|(key, weight, draining)| Step::Here(key, weight, draining)),
        4 => any_key().prop_map(Step::Gone),
        2 => Just(Step::Snapshot),
        4 => Just(Step::Settle),
        2 => Just(Step::Deaf),
        1 => Just(Step::LeasesRunOut),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_there_it_becomes_so_here(steps in prop::collection::vec(step(), 0..60)) {
        let mut remote: BTreeMap<Key, (u32, bool)> = BTreeMap::new();
        let all = |remote: &BTreeMap<Key, (u32, bool)>| {
            listing(remote.iter().map(|((service, id), (weight, draining))| {
                listed(service.as_str(), id.as_str(), *weight, *draining)
            }))
        };
        let mut scene = Scene::new();
        scene.snapshot([]);
        let mut hears = true;
        for step in steps {
            match step {
                Step::Here(key, weight, draining) => {
                    if hears {
                        scene.mirror.told_here(listed(key.0.as_str(), key.1.as_str(), weight, draining));
                    }
                    remote.insert(key, (weight, draining));
                }
                Step::Gone(key) => {
                    if hears {
                        scene.mirror.told_gone(&key);
                    }
                    remote.remove(&key);
                }
                Step::Snapshot => {
                    scene.settle();
                    let before = scene.members();
                    let shrunk = scene.mirror.told_everything(all(&remote), scene.state.snapshot());
                    scene.settle();
                    hears = true;
                    let after = scene.members();
                    for service in SERVICES {
                        let of = |members: &BTreeMap<Key, (u32, bool)>| {
                            members.keys().filter(|key| key.0.as_str() == service).cloned().collect::<BTreeSet<_>>()
                        };
                        let lost = of(&before).difference(&of(&after)).count();
                        prop_assert!(lost * 2 <= of(&before).len(), "{service} lost {lost}");
                        let named = shrunk.iter().any(|shrunk| shrunk.service.as_str() == service);
                        prop_assert!(!(named && lost > 0));
                    }
                }
                Step::Settle => {
                    scene.settle();
                }
                Step::Deaf => hears = false,
                Step::LeasesRunOut => scene.leases_run_out(),
            }
            if hears {
                let mut settled = Scene { mirror: Mirror::default(), state: scene.state.clone() };
                std::mem::swap(&mut settled.mirror, &mut scene.mirror);
                settled.settle();
                let here = settled.members();
                std::mem::swap(&mut settled.mirror, &mut scene.mirror);
                for (key, shown) in &remote {
                    prop_assert_eq!(here.get(key), Some(shown), "{:?}", key);
                }
                for key in here.keys().filter(|key| !remote.contains_key(key)) {
                    prop_assert!(!scene.mirror.vouches_for(key), "{key:?} is one too many");
                }
            }
        }
        if !hears {
            scene.mirror.told_everything(all(&remote), scene.state.snapshot());
        }
        scene.settle();
        scene.leases_run_out();
        prop_assert_eq!(scene.members(), remote);
    }
}

fn registry_a() -> Actor {
    Actor::Registry {
        url: "http://a:8500".into(),
        here: false,
    }
}
