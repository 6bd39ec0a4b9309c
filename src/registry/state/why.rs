//! What the journal says of the reason for a change, where the kind of change does not tell it: what
//! is different now.
//!
//! People read it, so it is kept short: a value is cut, and of many differences the first few are
//! told. The whole is in the members that the events carry.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::time::Duration;

use crate::instance::Instance;
use crate::units::format_duration;

/// The most characters of a text that somebody chose freely.
const MAX_TEXT: usize = 64;
/// The most differences that are told.
const MAX_TOLD: usize = 8;

/// How `new` differs from `old`, such as `weight 1 → 5, zone "a" → "b"`; `None` if it does not.
pub(super) fn differences(old: &Instance, new: &Instance) -> Option<String> {
    let mut told = Told::default();
    told.change("address", &old.address, &new.address);
    told.change("weight", old.weight, new.weight);
    let zone = |instance: &Instance| quoted_or_none(instance.zone.as_deref());
    told.change("zone", zone(old), zone(new));
    let generation =
        |instance: &Instance| (instance.generation).map_or_else(none, |n| n.to_string());
    told.change("generation", generation(old), generation(new));
    let lease = |ttl: Option<Duration>| ttl.map_or_else(none, format_duration);
    told.change("lease", lease(old.ttl), lease(new.ttl));
    if old.scheme != new.scheme {
        told.0.push("another scheme".to_owned());
    }
    if old.check != new.check {
        told.0.push("another check".to_owned());
    }
    told.tags(&old.tags, &new.tags);
    told.metadata(&old.metadata, &new.metadata);
    told.text()
}

#[derive(Default)]
struct Told(Vec<String>);

impl Told {
    fn change<T: Display + PartialEq>(&mut self, what: &str, old: T, new: T) {
        if old != new {
            self.0.push(format!("{what} {old} → {new}"));
        }
    }

    fn tags(&mut self, old: &BTreeSet<String>, new: &BTreeSet<String>) {
        let gone = old.difference(new).map(|tag| ("without", tag));
        let come = new.difference(old).map(|tag| ("with", tag));
        let tags = gone.chain(come);
        self.0
            .extend(tags.map(|(how, tag)| format!("{how} tag {}", quoted(tag))));
    }

    fn metadata(&mut self, old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) {
        let keys: BTreeSet<_> = old.keys().chain(new.keys()).collect();
        for key in keys {
            let [before, after] = [old, new].map(|metadata| metadata.get(key));
            if before != after {
                let [before, after] =
                    [before, after].map(|value| quoted_or_none(value.map(String::as_str)));
                self.0
                    .push(format!("metadata {} {before} → {after}", quoted(key)));
            }
        }
    }

    fn text(mut self) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        let untold = self.0.len().saturating_sub(MAX_TOLD);
        self.0.truncate(MAX_TOLD);
        let told = self.0.join(", ");
        Some(match untold {
            0 => told,
            more => format!("{told} and {more} more"),
        })
    }
}

fn none() -> String {
    "none".to_owned()
}

fn quoted_or_none(text: Option<&str>) -> String {
    text.map_or_else(none, quoted)
}

/// In quotes, with what a terminal would act on escaped.
fn quoted(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use crate::instance::check::CheckOverride;
    use crate::registry::fixtures::instance;

    use super::*;

    /// What is told of an instance that `change` is made to.
    fn told(change: impl FnOnce(&mut Instance)) -> Option<String> {
        let old = instance("web", "a");
        let mut new = old.clone();
        change(&mut new);
        differences(&old, &new)
    }

    #[test]
    fn the_same_again_is_no_difference() {
        assert_eq!(told(|_| {}), None);
    }

    #[test]
    fn every_field_is_told_old_and_new() {
        type Edit = fn(&mut Instance);
        let cases: [(Edit, &str); 10] = [
            (
                |new| new.address = "10.0.0.6:8080".parse().unwrap(),
                "address 10.0.0.1:8080 → 10.0.0.6:8080",
            ),
            (|new| new.weight = 5, "weight 1 → 5"),
            (|new| new.zone = Some("none".into()), "zone none → \"none\""),
            (|new| new.generation = Some(7), "generation none → 7"),
            (|new| new.ttl = None, "lease 10s → none"),
            (|new| new.check = CheckOverride::off(), "another check"),
            (
                |new| new.tags = ["v2".to_owned()].into(),
                "without tag \"v1\", with tag \"v2\"",
            ),
            (
                |new| new.metadata = [("build".to_owned(), "8".to_owned())].into(),
                "metadata \"build\" \"7\" → \"8\"",
            ),
            (
                |new| new.metadata = [("a".to_owned(), "\u{1b}[2J".to_owned())].into(),
                "metadata \"a\" none → \"\\u{1b}[2J\", metadata \"build\" \"7\" → none",
            ),
            (
                |new| (new.weight, new.ttl) = (0, Some(Duration::from_secs(30))),
                "weight 1 → 0, lease 10s → 30s",
            ),
        ];
        for (edit, expected) in cases {
            assert_eq!(told(edit).as_deref(), Some(expected));
        }
    }

    #[test]
    fn a_long_value_is_cut_and_many_differences_are_counted() {
        let long = "ä".repeat(65);
        let why = told(|new| new.zone = Some(long)).unwrap();
        assert_eq!(why, format!("zone none → \"{}\"…", "ä".repeat(64)));
        let why = told(|new| new.tags.extend((10..20).map(|n| format!("t{n}")))).unwrap();
        assert!(why.ends_with(", with tag \"t17\" and 2 more"), "{why}");
    }
}
