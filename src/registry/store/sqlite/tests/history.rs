//! Reading the history.

use super::*;
use crate::registry::journal::{JournalError, Query};

fn everything() -> Query {
    Query {
        limit: usize::MAX,
        ..Query::default()
    }
}

/// All there is to an event, to compare.
pub(super) fn shown(event: &Event) -> impl PartialEq + std::fmt::Debug + use<> {
    (
        event.revision,
        event.at,
        event.actor.clone(),
        event.change,
        event.why.clone(),
        Remembered::from(&*event.member),
    )
}

#[test]
fn events_are_told_newest_first_as_they_happened() {
    let mut world = World::new();
    world.actor = Actor::Peer {
        address: "fd00::1".parse().unwrap(),
        token: Some(Arc::from("ci")),
        admin: true,
    };
    world.register("web", "a");
    world.drain("web", "a");
    world.actor = Actor::Callboard;
    world.deregister("web", "a");
    let told = world.store.journal().events(&everything()).unwrap();
    let told: Vec<_> = told.iter().rev().map(shown).collect();
    let happened: Vec<_> = world.events.iter().map(shown).collect();
    assert_eq!(told, happened);
}

#[test]
fn a_query_is_answered_as_a_search_of_all_events_would() {
    let mut world = World::new();
    let start = world.clock;
    for round in 0..4 {
        for service in ["web", "orders"] {
            for id in ["a", "b"] {
                world.register(service, id);
                world.deregister(service, id);
            }
        }
        world.clock = start + Duration::from_secs(round);
    }
    let middle = world.events[world.events.len() / 2].revision;
    let journal = world.store.journal();
    for mask in 0..32 {
        let given = |bit: u32| mask & (1 << bit) != 0;
        let query = Query {
            service: given(0).then(|| "web".parse().unwrap()),
            id: given(1).then(|| "a".parse().unwrap()),
            since: given(2).then(|| start + Duration::from_secs(1)),
            until: given(3).then(|| start + Duration::from_secs(2)),
            before: given(4).then_some(middle),
            limit: 5,
        };
        let found = journal.events(&query).unwrap();
        let all = world.events.iter().rev();
        let expected = all.filter(|event| query.admits(event)).take(5);
        let found: Vec<_> = found.iter().map(|event| event.revision).collect();
        let expected: Vec<_> = expected.map(|event| event.revision).collect();
        assert_eq!(found, expected, "{query:?}");
    }
}

#[test]
fn a_damaged_event_is_left_out_and_does_not_count() {
    let mut world = World::new();
    world.register_many(3);
    world.sql("UPDATE events SET why = 'somebody wrote here' WHERE id = 'i-0002'");
    let query = Query {
        limit: 2,
        ..Query::default()
    };
    let told = world.store.journal().events(&query).unwrap();
    let ids: Vec<_> = told
        .iter()
        .map(|event| event.member.instance.id.as_str())
        .collect();
    assert_eq!(ids, ["i-0003", "i-0001"]);
}

#[test]
fn a_reader_does_not_keep_the_writer_waiting() {
    let mut world = World::new();
    world.register_many(10);
    let db = rusqlite::Connection::open(&world.settings.path).unwrap();
    db.execute_batch("BEGIN").unwrap();
    let count = || -> i64 {
        db.query_row("SELECT count(*) FROM events", [], |row| row.get(0))
            .unwrap()
    };
    assert_eq!(count(), 10);
    world.register("web", "b");
    assert_eq!(count(), 10, "it reads what was there when it began");
    assert_eq!(
        world.store.journal().events(&everything()).unwrap().len(),
        11
    );
}

#[test]
fn a_history_that_cannot_be_read_is_an_error_and_readable_again_later() {
    let mut world = World::new();
    world.register("web", "a");
    let journal = Arc::new(Reader::new(world.folder.path().join("not/there.db")));
    let error = journal.events(&everything()).unwrap_err();
    assert!(matches!(&error, JournalError::Failed(text) if text.contains("there.db")));
    assert!(
        error
            .to_string()
            .starts_with("the journal cannot be read: ")
    );
    fs::create_dir(world.folder.path().join("not")).unwrap();
    world.close();
    fs::copy(
        &world.settings.path,
        world.folder.path().join("not/there.db"),
    )
    .unwrap();
    assert_eq!(journal.events(&everything()).unwrap().len(), 1);
}
