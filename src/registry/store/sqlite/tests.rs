//! The store on real files, driven the way the writer drives it.

mod compaction;
mod damage;
mod history;
mod model;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::*;
use crate::instance::Instance;
use crate::registry::command::{Command, Patch};
use crate::registry::event::Actor;
use crate::registry::fixtures::{instance, recovered, rules};
use crate::registry::snapshot::Revision;
use crate::registry::state::{Context, State};
use crate::registry::store::Remembered;

/// A registry over a store, with a clock of its own.
struct World {
    folder: tempfile::TempDir,
    settings: Settings,
    store: SqliteStore,
    state: State,
    events: Vec<Event>,
    actor: Actor,
    clock: SystemTime,
}

impl World {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings {
            path: folder.path().join("a.db"),
            // Nothing here pulls the plug.
            sync: Sync::Normal,
            ..Settings::default()
        };
        change(&mut settings);
        let mut store = SqliteStore::open(settings.clone()).unwrap();
        assert_eq!(store.recover().unwrap().members, []);
        Self {
            folder,
            settings,
            store,
            state: State::restore(Recovered::default(), Instant::now(), Revision(0)),
            events: Vec::new(),
            actor: Actor::Callboard,
            clock: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000),
        }
    }

    /// Carries out commands as one batch; what is refused leaves no trace.
    fn submit(&mut self, commands: impl IntoIterator<Item = Command>) -> Result<(), StoreError> {
        let mut draft = self.state.clone();
        let mut events = Vec::new();
        for command in commands {
            let context = Context {
                rules: &rules(),
                actor: &self.actor,
                now: Instant::now(),
                at: self.clock,
            };
            if let Ok((_, event)) = draft.apply(&command, context) {
                events.extend(event);
            }
        }
        if !events.is_empty() {
            self.store.append(&events, self.state.snapshot())?;
        }
        self.state = draft;
        self.events.extend(events);
        Ok(())
    }

    fn register(&mut self, service: &str, id: &str) {
        self.submit([Command::Register(instance(service, id))])
            .unwrap();
    }

    /// Registers `count` instances of `web`, each at a weight of its own.
    fn register_many(&mut self, count: u32) {
        let instances = (1..=count).map(|number| Instance {
            weight: number,
            ..instance("web", &format!("i-{number:04}"))
        });
        self.submit(instances.map(Command::Register)).unwrap();
    }

    fn drain(&mut self, service: &str, id: &str) {
        let (service, id) = (service.parse().unwrap(), id.parse().unwrap());
        self.submit([Command::Drain {
            service,
            id,
            draining: true,
            generation: None,
        }])
        .unwrap();
    }

    fn deregister(&mut self, service: &str, id: &str) {
        let (service, id) = (service.parse().unwrap(), id.parse().unwrap());
        self.submit([Command::Deregister {
            service,
            id,
            generation: None,
        }])
        .unwrap();
    }

    /// What a fold of the events comes to, and so what a restart should bring back.
    fn expected(&self) -> Recovered {
        recovered(&self.events)
    }

    fn restart(&mut self) -> Recovered {
        self.restart_after(|_| {})
    }

    /// Closes the file, lets `meanwhile` loose on it, and opens it again.
    fn restart_after(&mut self, meanwhile: impl FnOnce(&std::path::Path)) -> Recovered {
        self.close();
        meanwhile(&self.settings.path);
        self.store = SqliteStore::open(self.settings.clone()).unwrap();
        self.store.recover().unwrap()
    }

    /// Moves the store to a file somewhere else, so that the real one is closed.
    fn close(&mut self) {
        let elsewhere = Settings {
            path: self.folder.path().join("elsewhere/b.db"),
            ..self.settings.clone()
        };
        if !matches!(&self.store.settings, settings if settings.path == elsewhere.path) {
            self.store = SqliteStore::open(elsewhere).unwrap();
        }
    }

    fn sql(&self, sql: &str) {
        let db = rusqlite::Connection::open(&self.settings.path).unwrap();
        db.execute_batch(sql).unwrap();
    }

    fn count(&self, table: &str) -> i64 {
        let db = rusqlite::Connection::open(&self.settings.path).unwrap();
        let query = format!("SELECT count(*) FROM {table}");
        db.query_row(&query, [], |row| row.get(0)).unwrap()
    }

    /// The files that were set aside.
    fn kept(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths
            .filter(|path| path.to_string_lossy().contains(".damaged-"))
            .filter(|path| !path.to_string_lossy().ends_with("-wal"))
            .filter(|path| !path.to_string_lossy().ends_with("-shm"))
            .collect()
    }
}

/// By name, without how they were found.
fn names(members: &[Remembered]) -> Vec<String> {
    let name = |member: &Remembered| format!("{}/{}", member.instance.service, member.instance.id);
    members.iter().map(name).collect()
}

#[test]
fn everything_about_a_member_survives_a_restart() {
    let mut world = World::new();
    world.actor = Actor::Peer {
        address: "10.9.8.7".parse().unwrap(),
        token: Some(Arc::from("deployer")),
        admin: false,
    };
    world.register("web", "a");
    world.register("orders", "a");
    world.clock += Duration::from_millis(1_001);
    world.drain("web", "a");
    world.deregister("orders", "a");
    world.register("web", "b");
    let restored = world.restart();
    assert_eq!(restored.members, world.expected().members);
    assert_eq!(restored.last, world.expected().last);
    assert!(restored.members[0].draining);
    assert_eq!(restored.members[0].owner.as_deref(), Some("deployer"));
}

#[test]
fn the_last_revision_is_known_even_when_its_event_is_not() {
    let mut world = World::new();
    world.register("web", "a");
    world.deregister("web", "a");
    let last = world.expected().last;
    let later = world.clock + Duration::from_secs(30 * 24 * 60 * 60);
    while world.store.compact(later).unwrap() {}
    assert_eq!(world.count("events"), 0);
    assert_eq!(world.restart().last, last);
}

#[test]
fn how_an_instance_was_found_stays_until_it_is_another() {
    let mut world = World::new();
    let found = |world: &mut World| world.restart().members[0].fitness;
    let note = |world: &mut World, fitness| {
        let (service, id) = ("web".parse().unwrap(), "a".parse().unwrap());
        world.store.note(&[(service, id, fitness)]);
    };
    world.register("web", "a");
    assert_eq!(found(&mut world), Fitness::Unproven);
    note(&mut world, Fitness::Fit);
    assert_eq!(found(&mut world), Fitness::Fit);
    note(&mut world, Fitness::Failing);
    world.drain("web", "a");
    assert_eq!(found(&mut world), Fitness::Failing);

    note(&mut world, Fitness::Fit);
    let mut same = instance("web", "a");
    same.weight = 7;
    world.submit([Command::Register(same.clone())]).unwrap();
    assert_eq!(found(&mut world), Fitness::Fit);
    for change in [
        (|instance: &mut Instance| instance.address = "10.0.0.2:8080".parse().unwrap())
            as fn(&mut Instance),
        |instance| instance.generation = Some(1),
        |instance| instance.check.enabled = Some(false),
    ] {
        change(&mut same);
        world.submit([Command::Register(same.clone())]).unwrap();
        assert_eq!(found(&mut world), Fitness::Unproven);
        note(&mut world, Fitness::Fit);
    }
    world.deregister("web", "a");
    world.submit([Command::Register(same)]).unwrap();
    assert_eq!(found(&mut world), Fitness::Unproven);
}

#[test]
fn what_was_found_within_a_batch_goes_by_the_event_before() {
    let mut world = World::new();
    world.register("web", "a");
    let (service, id) = ("web".parse().unwrap(), "a".parse().unwrap());
    world.store.note(&[(service, id, Fitness::Fit)]);
    let elsewhere = Instance {
        address: "10.0.0.2:8080".parse().unwrap(),
        ..instance("web", "a")
    };
    // It went away and came back: nothing is known of what it came back as.
    world
        .submit([elsewhere, instance("web", "a")].map(Command::Register))
        .unwrap();
    assert_eq!(world.restart().members[0].fitness, Fitness::Unproven);
}

#[test]
fn without_room_a_batch_is_refused_whole_and_the_next_with_room_is_kept() {
    let mut world = World::new();
    world.register("web", "a");
    let limit = |world: &mut World, pages: i64| {
        let db = world.store.db().unwrap();
        db.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
            .unwrap();
    };
    limit(&mut world, 1);
    let many = || (0..500).map(|id| Command::Register(instance("web", &format!("i-{id}"))));
    let refused = world.submit(many()).unwrap_err();
    assert!(matches!(refused, StoreError::Full(_)), "{refused:?}");
    world
        .store
        .note(&[("web".parse().unwrap(), "a".parse().unwrap(), Fitness::Fit)]);
    limit(&mut world, 1_000_000);
    world.submit(many()).unwrap();
    assert_eq!(
        names(&world.restart().members),
        names(&world.expected().members)
    );
    assert_eq!(world.count("events"), 501);
}

#[test]
fn a_second_store_on_the_same_file_is_refused_while_others_may_read_it() {
    let mut world = World::new();
    world.register("web", "a");
    let refused = SqliteStore::open(world.settings.clone()).unwrap_err();
    assert!(refused.to_string().contains("in use by another callboard"));
    assert_eq!(world.count("members"), 1);
    world.register("web", "b");
}

#[test]
fn a_revision_beyond_what_a_column_holds_is_refused() {
    let mut world = World::new();
    world.register("web", "a");
    let event = Event {
        revision: Revision(u64::MAX),
        ..world.events[0].clone()
    };
    let refused = world.store.append(&[event], &Snapshot::default());
    assert!(matches!(refused, Err(StoreError::Failed(_))), "{refused:?}");
    assert_eq!(world.restart().members.len(), 1);
}
