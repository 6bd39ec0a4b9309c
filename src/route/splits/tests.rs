//! Splits that are set, kept and reset.

use std::fs;
use std::path::Path;

use super::*;

fn split(sides: &[(&str, u32)]) -> Vec<Destination> {
    let side = |(service, weight): &(&str, u32)| Destination {
        service: service.parse().unwrap(),
        weight: *weight,
    };
    sides.iter().map(side).collect()
}

fn routing(routes: &[(&str, &[(&str, u32)])]) -> Routing {
    let route = |(name, sides): &(&str, &[(&str, u32)])| Route {
        name: Some((*name).to_owned()),
        destinations: split(sides),
        ..Route::default()
    };
    Routing {
        routes: routes.iter().map(route).collect(),
        ..Routing::default()
    }
}

fn in_force(splits: &Splits, name: &str) -> (Vec<Destination>, bool) {
    let live = splits.live();
    let shown = live.named(name).unwrap();
    (shown.route.destinations.clone(), shown.overridden)
}

const FILE: &[(&str, u32)] = &[("web", 95), ("next", 5)];

fn at(path: &Path) -> Splits {
    Splits::kept_at(path.to_owned(), routing(&[("web", FILE), ("cart", FILE)]))
}

#[test]
fn a_split_that_was_set_outlives_the_process_until_it_is_reset() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("not/there/yet/splits.json");
    let half = split(&[("web", 1), ("next", 1)]);
    at(&path).set("web", half.clone(), |_| true, &"me").unwrap();
    let again = at(&path);
    assert_eq!(in_force(&again, "web"), (half, true));
    assert_eq!(in_force(&again, "cart"), (split(FILE), false));
    again.reset("web", |_| true, &"me").unwrap();
    assert_eq!(in_force(&again, "web"), (split(FILE), false));
    assert_eq!(in_force(&at(&path), "web"), (split(FILE), false));
}

#[test]
fn a_file_that_changed_its_mind_on_a_route_wins_and_others_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("splits.json");
    let splits = at(&path);
    let half = split(&[("web", 1), ("next", 1)]);
    for name in ["web", "cart"] {
        splits.set(name, half.clone(), |_| true, &"me").unwrap();
    }
    let changed: &[(&str, u32)] = &[("web", 90), ("next", 10)];
    splits.configure(routing(&[("web", changed), ("cart", FILE)]));
    assert_eq!(in_force(&splits, "web"), (split(changed), false));
    assert_eq!(in_force(&splits, "cart"), (half, true));
    splits.configure(routing(&[("web", FILE)]));
    // What ended does not come back with the file that it was made for.
    let back = at(&path);
    assert_eq!(in_force(&back, "web"), (split(FILE), false));
    assert_eq!(in_force(&back, "cart"), (split(FILE), false));
}

#[test]
fn a_damaged_file_is_set_aside_and_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("splits.json");
    for damage in [
        "",
        "{",
        "[]",
        "{\"web\": 7}",
        "\u{0}",
        r#"{"web": {"file": [], "split": []}}"#,
        r#"{"web": {"file": [], "split": [{"service": "../x", "weight": 1}]}}"#,
    ] {
        fs::write(&path, damage).unwrap();
        let splits = at(&path);
        assert_eq!(in_force(&splits, "web"), (split(FILE), false), "{damage}");
        assert!(!path.exists(), "{damage}");
        let one = split(&[("web", 1)]);
        splits.set("web", one.clone(), |_| true, &"me").unwrap();
        assert_eq!(in_force(&at(&path), "web"), (one, true));
    }
    let aside = fs::read_dir(folder.path()).unwrap().count() - 1;
    assert_eq!(aside, 7);
}

#[cfg(unix)]
#[test]
fn a_file_that_cannot_be_read_is_set_aside_before_the_next_change() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("splits.json");
    // A folder can be moved and not read, by whatever user.
    fs::create_dir(&path).unwrap();
    fs::write(path.join("inside"), "kept").unwrap();
    let splits = at(&path);
    let one = split(&[("web", 1)]);
    splits.set("web", one.clone(), |_| true, &"me").unwrap();
    assert_eq!(in_force(&at(&path), "web"), (one, true));
    let aside = folder.path().join("splits.json.damaged-1/inside");
    assert_eq!(fs::read_to_string(aside).unwrap(), "kept");
}

#[test]
fn a_split_that_cannot_be_kept_is_not_put_in_force() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let splits = at(&folder.path().join("file/splits.json"));
    let set = splits.set("web", split(&[("web", 1)]), |_| true, &"me");
    assert!(matches!(set, Err(SplitError::NotKept(_))), "{set:?}");
    assert_eq!(in_force(&splits, "web"), (split(FILE), false));
}

#[test]
fn a_split_is_set_only_for_routes_with_that_name_and_whoever_saw_it() {
    let splits = Splits::new(routing(&[("web", FILE)]));
    let one = split(&[("web", 1)]);
    let unknown = splits.set("cart", one.clone(), |_| true, &"me");
    assert!(matches!(unknown, Err(SplitError::Unknown(_))));
    let stale = splits.set("web", one.clone(), |seen| seen == one, &"me");
    assert!(matches!(stale, Err(SplitError::Stale(_))));
    let fresh = splits.set("web", one.clone(), |seen| seen == split(FILE), &"me");
    assert!(fresh.is_ok());
}
