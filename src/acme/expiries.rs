//! When certificates end, for those who watch over it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;

/// The end of each name's certificate, for names that have one. Cheap to clone; all clones are the
/// same.
#[derive(Clone, Debug, Default)]
pub struct Expiries(Arc<ArcSwap<BTreeMap<String, SystemTime>>>);

impl Expiries {
    /// As of now.
    pub fn by_name(&self) -> Arc<BTreeMap<String, SystemTime>> {
        self.0.load_full()
    }

    /// Notes that the certificate for `name` ends at `until`.
    pub(super) fn note(&self, name: &str, until: SystemTime) {
        self.0.rcu(|before| {
            let mut after = BTreeMap::clone(before);
            after.insert(name.to_owned(), until);
            after
        });
    }

    /// Forgets all names but those that `wanted` says.
    pub(super) fn keep(&self, wanted: impl Fn(&str) -> bool) {
        self.0.rcu(|before| {
            let mut after = BTreeMap::clone(before);
            after.retain(|name, _| wanted(name));
            after
        });
    }
}
