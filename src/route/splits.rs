//! The routes in force: those of the file, with the splits that operators set meanwhile.
//!
//! Whoever moves traffic from one release to the next does it in steps, each when the one before has
//! proved itself, and undoes it in a hurry. A split set here is in force for the next request and stays
//! until it is reset, or until the file says something else of that route: then the file wins, because
//! it was written later and by somebody who saw it. Routes are known by the names that the file gives
//! them; one without a name keeps the split of the file.
//!
//! Requests load one immutable [`Live`]. Changes come one at a time and are on the disk before they are
//! in force, if they are to outlive the process.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Guard};
use log::{error, info, warn};
use serde::{Deserialize, Serialize};

use super::kept::Kept;
use super::table::Routes;
use super::{Destination, Route, Routing};

/// The most sides of a split.
pub const MAX_SIDES: usize = 64;

/// The handle that requests, the control plane and a reload share.
#[derive(Debug)]
pub struct Splits {
    live: ArcSwap<Live>,
    /// Held by whoever changes `live`; with it goes the file that changes are kept in, if any.
    changing: Mutex<Option<Kept>>,
}

/// The routes as they are in force.
#[derive(Debug)]
pub struct Live {
    /// What requests are matched against.
    pub table: Routes,
    routing: Arc<Routing>,
    set: Set,
}

/// The splits that were set, by the names of their routes.
pub(super) type Set = BTreeMap<String, Override>;

/// A split in place of the one in the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Override {
    /// What the file said when it was set.
    file: Vec<Destination>,
    split: Vec<Destination>,
}

/// One route as it is in force.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// The route, with the split in force.
    pub route: &'a Route,
    /// Whether that is not the one in the file.
    pub overridden: bool,
}

/// Why a split was not changed.
#[derive(Debug, thiserror::Error)]
pub enum SplitError {
    /// The file names no such route.
    #[error("no route is named {0:?} (expected the name of one in the configuration's routes)")]
    Unknown(String),
    /// The split is not the one the caller has seen.
    #[error("the split of route {0:?} is another one by now (expected the one last seen)")]
    Stale(String),
    /// The change could not be made to last.
    #[error("the split cannot be kept: {0}")]
    NotKept(io::Error),
}

impl Splits {
    /// The routes of the file. What is set is forgotten when the process ends.
    pub fn new(routing: Routing) -> Self {
        Self {
            live: ArcSwap::from_pointee(Live::new(Arc::new(routing), Set::new())),
            changing: Mutex::new(None),
        }
    }

    /// The routes of the file, with what was set in an earlier life and kept at `path`.
    pub fn kept_at(path: PathBuf, routing: Routing) -> Self {
        let mut kept = Kept::at(path);
        let set = kept.read();
        let splits = Self {
            changing: Mutex::new(Some(kept)),
            ..Self::new(routing.clone())
        };
        splits.put(routing, Some(set));
        splits
    }

    /// What is set, as text for [`Splits::inherit`] in another process.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub fn to_text(&self) -> io::Result<String> {
        Ok(serde_json::to_string(&self.live.load().set)?)
    }

    /// Goes by what another process had set, as far as the file says the same of those routes.
    ///
    /// # Errors
    /// When `text` cannot be believed; then nothing changes.
    pub fn inherit(&self, text: &str) -> io::Result<()> {
        let set: Set = serde_json::from_str(text)?;
        if !set.values().all(Override::is_usable) {
            let unusable =
                "a split that was handed over has no side with a weight, or too many sides";
            return Err(io::Error::new(io::ErrorKind::InvalidData, unusable));
        }
        self.put((*self.snapshot().routing).clone(), Some(set));
        Ok(())
    }

    /// The routes in force at this moment, for one request.
    pub fn live(&self) -> Guard<Arc<Live>> {
        self.live.load()
    }

    /// The routes in force at this moment, to keep.
    pub fn snapshot(&self) -> Arc<Live> {
        self.live.load_full()
    }

    /// Puts the routes of a file read anew in force. Splits that were set stay, unless their route is
    /// gone or the file has changed its mind on it.
    pub fn configure(&self, routing: Routing) {
        self.put(routing, None);
    }

    /// Sets the split of the route called `name`, if `agrees` with the one in force; `who` is for the
    /// log. Waits for the disk.
    ///
    /// # Errors
    /// When there is no such route, when `agrees` says no, or when the change cannot be kept.
    pub fn set(
        &self,
        name: &str,
        split: Vec<Destination>,
        agrees: impl FnOnce(&[Destination]) -> bool,
        who: &impl Display,
    ) -> Result<Arc<Live>, SplitError> {
        self.change(name, agrees, who, |set, file| {
            if split == file {
                set.remove(name);
            } else {
                let file = file.to_vec();
                set.insert(name.to_owned(), Override { file, split });
            }
        })
    }

    /// Goes back to the split of the file. Otherwise as [`Splits::set`].
    ///
    /// # Errors
    /// As [`Splits::set`].
    pub fn reset(
        &self,
        name: &str,
        agrees: impl FnOnce(&[Destination]) -> bool,
        who: &impl Display,
    ) -> Result<Arc<Live>, SplitError> {
        self.change(name, agrees, who, |set, _| {
            set.remove(name);
        })
    }

    fn change(
        &self,
        name: &str,
        agrees: impl FnOnce(&[Destination]) -> bool,
        who: &impl Display,
        edit: impl FnOnce(&mut Set, &[Destination]),
    ) -> Result<Arc<Live>, SplitError> {
        let changing = self.changing.lock();
        let mut changing = changing.unwrap_or_else(PoisonError::into_inner);
        let live = self.live.load_full();
        let unknown = || SplitError::Unknown(name.to_owned());
        let before = live.named(name).ok_or_else(unknown)?;
        if !agrees(&before.route.destinations) {
            return Err(SplitError::Stale(name.to_owned()));
        }
        let file = live.routing.named(name).ok_or_else(unknown)?;
        let mut set = live.set.clone();
        edit(&mut set, &file.destinations);
        if set == live.set {
            return Ok(live);
        }
        if let Some(kept) = changing.as_mut() {
            kept.write(&set).map_err(SplitError::NotKept)?;
        }
        let next = Arc::new(Live::new(Arc::clone(&live.routing), set));
        self.live.store(Arc::clone(&next));
        if let Some(after) = next.named(name) {
            info!(
                "route {name}: {who} changed the split from {} to {}{}",
                written(&before.route.destinations),
                written(&after.route.destinations),
                if after.overridden { "" } else { ", the file's" }
            );
        }
        Ok(next)
    }

    /// Puts `routing` in force with what is still meant of `set`, or else of what is set now.
    fn put(&self, routing: Routing, set: Option<Set>) {
        let changing = self.changing.lock();
        let mut changing = changing.unwrap_or_else(PoisonError::into_inner);
        let mut set = set.unwrap_or_else(|| self.live.load().set.clone());
        let before = set.len();
        set.retain(|name, over| {
            let Some(route) = routing.named(name) else {
                warn!("route {name} is gone from the file, and the split that was set with it");
                return false;
            };
            if route.destinations != over.file {
                warn!(
                    "route {name}: the file's split is now {}, which ends the {} that was set",
                    written(&route.destinations),
                    written(&over.split)
                );
                return false;
            }
            info!(
                "route {name}: the split stays at {}, as it was set",
                written(&over.split)
            );
            true
        });
        if set.len() < before
            && let Some(kept) = changing.as_mut()
            && let Err(error) = kept.write(&set)
        {
            error!("splits that no longer hold stay in their file: {error}");
        }
        let next = Live::new(Arc::new(routing), set);
        self.live.store(Arc::new(next));
    }
}

impl Live {
    fn new(routing: Arc<Routing>, set: Set) -> Self {
        let mut effective = (*routing).clone();
        for route in &mut effective.routes {
            let over = route.name.as_ref().and_then(|name| set.get(name));
            if let Some(over) = over {
                route.destinations.clone_from(&over.split);
            }
        }
        Self {
            table: Routes::new(effective),
            routing,
            set,
        }
    }

    /// The configured routes in their order.
    pub fn shown(&self) -> impl Iterator<Item = Shown<'_>> {
        self.table.configured().iter().map(|route| Shown {
            route,
            overridden: (route.name.as_ref()).is_some_and(|name| self.set.contains_key(name)),
        })
    }

    /// The route called `name`.
    pub fn named(&self, name: &str) -> Option<Shown<'_>> {
        self.shown()
            .find(|shown| shown.route.name.as_deref() == Some(name))
    }
}

impl Routing {
    fn named(&self, name: &str) -> Option<&Route> {
        (self.routes.iter()).find(|route| route.name.as_deref() == Some(name))
    }
}

/// Whether requests can be split so.
pub fn is_usable(split: &[Destination]) -> bool {
    split.len() <= MAX_SIDES && split.iter().any(|side| side.weight > 0)
}

impl Override {
    pub(super) fn is_usable(&self) -> bool {
        is_usable(&self.split)
    }
}

fn written(split: &[Destination]) -> String {
    let sides: Vec<_> = split.iter().map(Destination::to_string).collect();
    format!("[{}]", sides.join(", "))
}

#[cfg(test)]
mod tests {
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
}
