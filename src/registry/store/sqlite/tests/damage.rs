//! Files that were truncated, overwritten or removed: callboard starts and takes changes all the
//! same, keeps what can be read, and invents nothing.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::*;

/// A world with some history in a file of many pages.
fn populated() -> World {
    let mut world = World::new();
    world.register_many(400);
    for id in ["i-0001", "i-0200", "i-0400"] {
        world.drain("web", id);
    }
    world.deregister("web", "i-0300");
    world
}

/// Whatever came back has been true once, and is there once.
fn nothing_is_invented(world: &World, restored: &Recovered) {
    for member in &restored.members {
        let mut ever = world
            .events
            .iter()
            .map(|event| Remembered::from(&*event.member));
        assert!(ever.any(|ever| ever == *member), "{member:?}");
    }
    let mut names = names(&restored.members);
    names.sort();
    names.dedup();
    assert_eq!(names.len(), restored.members.len());
}

/// Changes are taken, and survive the next restart with what came back in this one.
fn goes_on(world: &mut World, restored: &Recovered) {
    world.state = State::restore(restored.clone(), Instant::now(), Revision(1 << 40));
    world.events.clear();
    world.register("later", "a");
    world.drain("later", "a");
    let again = world.restart();
    let expected = [names(&world.expected().members), names(&restored.members)].concat();
    assert_eq!(names(&again.members), expected);
    assert!(again.last > restored.last);
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

fn truncate(path: &Path, length: u64) {
    let file = File::options().write(true).open(path).unwrap();
    file.set_len(length).unwrap();
}

fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    let mut file = File::options().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(bytes).unwrap();
}

#[test]
fn a_row_that_cannot_be_believed_is_set_aside_and_the_others_come_back() {
    for change in [
        "instance = replace(instance, '10.0.0.1', '10.0.0.2')",
        "instance = 'gibberish'",
        "instance = ''",
        "id = 'i-0003'",
        "draining = 1",
        "checksum = 0",
        "registered_at = -1",
    ] {
        let mut world = World::new();
        world.register_many(3);
        let restored = world.restart_after(|path| {
            let db = rusqlite::Connection::open(path).unwrap();
            let sql = format!("UPDATE events SET {change} WHERE id = 'i-0002'");
            assert_eq!(db.execute(&sql, []).unwrap(), 1);
        });
        assert_eq!(
            names(&restored.members),
            ["web/i-0001", "web/i-0003"],
            "{change}"
        );
        assert_eq!(restored.last, world.expected().last);
        assert_eq!((world.count("damaged"), world.count("members")), (1, 2));
        assert_eq!(world.kept(), [] as [PathBuf; 0]);
        goes_on(&mut world, &restored);
    }
}

#[test]
fn a_member_without_its_event_has_to_register_again() {
    let mut world = World::new();
    world.register_many(3);
    let restored = world.restart_after(|path| {
        let db = rusqlite::Connection::open(path).unwrap();
        db.execute("DELETE FROM events WHERE id = 'i-0002'", [])
            .unwrap();
        db.execute(
            "UPDATE members SET revision = revision - 1 WHERE id = 'i-0003'",
            [],
        )
        .unwrap();
    });
    assert_eq!(names(&restored.members), ["web/i-0001"]);
    goes_on(&mut world, &restored);
}

#[test]
fn of_a_truncated_file_the_rest_is_saved() {
    let mut most = 0;
    for share in [0, 1, 99, 100, 300, 500, 700, 900, 999] {
        let mut world = populated();
        let restored = world.restart_after(|path| truncate(path, length(path) * share / 1_000));
        nothing_is_invented(&world, &restored);
        most = most.max(restored.members.len());
        goes_on(&mut world, &restored);
        // SQLite takes what is missing of a last page for zeros.
        let noticed = world.kept().len() == 1 || restored == world.expected();
        assert!(noticed || share == 0 || share == 999, "{share}/1000");
    }
    assert!(most > 100, "no more than {most} of 399 were saved");
}

#[test]
fn a_file_with_overwritten_bytes_does_not_keep_callboard_from_starting() {
    let mut random = fastrand::Rng::with_seed(7);
    let mut whole = 0;
    for round in 0..40 {
        let mut world = populated();
        let restored = world.restart_after(|path| {
            let end = length(path);
            // Behind the header, whose marks decide whether the file is ours at all.
            let at = random.u64(100..end);
            let count = if round % 2 == 0 {
                1
            } else {
                random.usize(1..9_000)
            };
            let count = count.min((end - at) as usize);
            let bytes: Vec<u8> = (0..count).map(|_| random.u8(..)).collect();
            overwrite(path, at, &bytes);
        });
        nothing_is_invented(&world, &restored);
        whole += usize::from(restored.members.len() == 399);
        goes_on(&mut world, &restored);
    }
    assert!(whole > 5, "only {whole} of 40 came back whole");
}

#[test]
fn between_two_damaged_pages_events_are_saved_as_well() {
    let mut world = World::new();
    world.register_many(2_000);
    let restored = world.restart_after(|path| {
        for share in [2, 3] {
            let page = length(path) / 4_096 * share / 5;
            overwrite(path, page * 4_096, &[0xa5; 4_096]);
        }
    });
    nothing_is_invented(&world, &restored);
    assert!(restored.members.len() > 1_000, "{}", restored.members.len());
}

#[test]
fn a_file_without_a_header_is_kept_under_another_name() {
    let mut world = populated();
    let restored = world.restart_after(|path| overwrite(path, 0, &[0; 100]));
    assert_eq!(restored.members, []);
    let kept = world.kept();
    let name = kept[0].file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("a.db.damaged-2"), "{name}");
    assert!(length(&kept[0]) > 100_000);
    goes_on(&mut world, &restored);
}

#[test]
fn what_a_saved_file_forgot_of_the_past_is_not_made_up() {
    let mut world = populated();
    world.restart_after(|path| {
        let half = length(path) / 2;
        truncate(path, half);
    });
    let web = "web".parse().unwrap();
    let past = world.store.journal().members_at(&web, world.clock);
    assert!(past.is_err(), "{past:?}");
}

#[test]
fn no_change_is_refused_because_the_file_was_damaged_meanwhile() {
    let mut world = populated();
    let path = world.settings.path.clone();
    let db = world.store.db().unwrap();
    db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    overwrite(&path, 4_096, &vec![0xa5; length(&path) as usize - 4_096]);
    let db = world.store.db().unwrap();
    db.execute_batch("PRAGMA shrink_memory").unwrap();

    world.register("web", "during");
    world.register("web", "after");
    assert_eq!(world.kept().len(), 1);
    let mut start = [0; 16];
    File::open(&world.kept()[0])
        .unwrap()
        .read_exact(&mut start)
        .unwrap();
    assert_eq!(&start, b"SQLite format 3\0", "it is kept as it was found");
    let restored = world.restart();
    assert_eq!(names(&restored.members), names(&world.expected().members));
    assert_eq!(restored.members, world.expected().members);
    assert!(restored.last >= world.expected().last);
}

#[test]
fn a_file_that_was_removed_or_emptied_meanwhile_is_made_again() {
    for harm in [
        (|path| fs::remove_file(path).unwrap()) as fn(&Path),
        |path| truncate(path, 0),
        |path| fs::remove_file(path.with_extension("db-wal")).unwrap(),
    ] {
        let mut world = populated();
        harm(&world.settings.path);
        world.register("web", "after");
        let path = world.settings.path.clone();
        let crashed = copy_of(&path);
        let restored = world.restart_after(|_| {
            let _ = fs::remove_file(path.with_extension("db-shm"));
            for (name, content) in crashed {
                fs::write(name, content).unwrap();
            }
        });
        assert_eq!(restored.members, world.expected().members);
    }
}

/// The database and its log as a crash of this moment would leave them.
fn copy_of(path: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    [path.to_owned(), path.with_extension("db-wal")]
        .map(|name| (name.clone(), fs::read(name).unwrap()))
        .into()
}

#[test]
fn a_file_that_was_damaged_twice_is_kept_twice() {
    let mut world = populated();
    for _ in 0..2 {
        let restored = world.restart_after(|path| overwrite(path, 0, &[0; 16]));
        goes_on(&mut world, &restored);
    }
    assert_eq!(world.kept().len(), 2);
}
