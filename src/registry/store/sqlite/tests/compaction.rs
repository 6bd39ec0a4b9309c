//! Which history goes, and what stays.

use super::*;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn compact(world: &mut World, now: SystemTime) {
    for _ in 0..10_000 {
        if !world.store.compact(now).unwrap() {
            return;
        }
    }
    panic!("compaction does not come to an end");
}

#[test]
fn old_history_goes_and_the_membership_since_stays_exact() {
    let mut world = World::new();
    let start = world.clock;
    world.register("web", "stays");
    world.register("web", "leaves");
    world.clock += DAY;
    world.drain("web", "stays");
    world.deregister("web", "leaves");
    world.clock += 9 * DAY;
    world.register("web", "late");
    assert_eq!(world.count("events"), 5);

    compact(&mut world, start + 10 * DAY);
    assert_eq!(world.count("events"), 2, "the drain of one, and the other");
    let web = "web".parse().unwrap();
    let journal = world.store.journal();
    for (days, expected) in [(1, vec!["web/stays"]), (5, vec!["web/stays"])] {
        let members = journal.members_at(&web, start + days * DAY).unwrap();
        assert_eq!(names(&members), expected, "after {days} days");
        assert!(members[0].draining);
    }
    assert_eq!(
        journal.members_at(&web, start),
        Err(crate::registry::journal::JournalError::Forgotten(
            start + DAY
        ))
    );
    assert_eq!(world.restart().members, world.expected().members);
}

#[test]
fn young_history_stays() {
    let mut world = World::new();
    for _ in 0..3 {
        world.register("web", "a");
        world.deregister("web", "a");
    }
    let now = world.clock + 6 * DAY;
    compact(&mut world, now);
    assert_eq!(world.count("events"), 6);
}

#[test]
fn a_file_that_is_too_large_loses_its_oldest_history_first() {
    let mut world = World::with(|settings| settings.max_size = 1 << 19);
    let start = world.clock;
    for round in 0..40 {
        let instances = (0..100).map(|id| Instance {
            weight: round,
            ..instance("web", &format!("i-{id}"))
        });
        world.submit(instances.map(Command::Register)).unwrap();
        world.clock += Duration::from_secs(1);
    }
    assert_eq!(world.count("events"), 4_000);
    let now = world.clock;
    compact(&mut world, now);
    let left = world.count("events");
    assert!((100..4_000).contains(&left), "{left} events are left");
    let web = "web".parse().unwrap();
    let journal = world.store.journal();
    assert!(journal.members_at(&web, start).is_err());
    let lately = journal.members_at(&web, world.clock).unwrap();
    assert!(lately.iter().all(|member| member.instance.weight == 39));
    assert_eq!(world.restart().members, world.expected().members);
    let size = fs::metadata(&world.settings.path).unwrap().len();
    let spare = 256 * 4_096;
    assert!(size < (1 << 19) + spare + 100_000, "{size} bytes are left");
}

#[test]
fn a_membership_that_is_itself_too_large_is_left_alone() {
    let mut world = World::with(|settings| settings.max_size = 0);
    world.register_many(250);
    let now = world.clock;
    compact(&mut world, now);
    assert_eq!(world.restart().members, world.expected().members);
}

#[test]
fn a_step_passes_no_more_than_its_share() {
    let mut world = World::with(|settings| settings.history = Duration::ZERO);
    for _ in 0..60 {
        world.register("web", "a");
        world.deregister("web", "a");
        world.clock += Duration::from_secs(1);
    }
    assert_eq!(world.store.compact(world.clock), Ok(true));
    assert_eq!(world.count("events"), 20);
    assert_eq!(world.store.compact(world.clock), Ok(false));
    assert_eq!(world.count("events"), 0);
}
