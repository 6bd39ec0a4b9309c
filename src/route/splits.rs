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

mod live;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Guard};
use log::{error, info, warn};
use serde::{Deserialize, Serialize};

use super::kept::Kept;
use super::{Destination, Route, Routing};

pub use live::{Live, Shown};

/// The most sides of a split.
pub const MAX_SIDES: usize = 64;

/// The handle that requests, the control plane and a reload share.
#[derive(Debug)]
pub struct Splits {
    live: ArcSwap<Live>,
    /// Held by whoever changes `live`; with it goes the file that changes are kept in, if any.
    changing: Mutex<Option<Kept>>,
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
mod tests;
