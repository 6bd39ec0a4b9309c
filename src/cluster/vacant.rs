//! Clusters without instances, kept for the requests that are held for one.
//!
//! Whoever is held waits in the line of a cluster, so there must be one before anybody has registered,
//! and it must stay when the last instance leaves. Services that are configured are as many as the
//! configuration has, but names also come from whoever registers and, with the default routes,
//! from whoever sends a request. So the number that is kept is bounded: the oldest goes for which nobody
//! waits, and when there is no such one a name that only requests know is not taken on.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::names::ServiceName;

use super::Cluster;

/// The most services that are kept.
const KNOWN: usize = 1_024;
/// The most names that only requests know.
const STRANGERS: usize = 256;
/// How many are looked at to find one for which nobody waits.
const LOOKS: usize = 8;

/// The services without instances whose clusters are kept.
#[derive(Debug, Default)]
pub(super) struct Vacant {
    known: VecDeque<ServiceName>,
    strangers: VecDeque<ServiceName>,
}

/// Whether there is room for one more.
pub(super) struct Room {
    /// Who has to go for it.
    pub(super) evicted: Option<ServiceName>,
    /// Whether there is.
    pub(super) granted: bool,
}

impl Vacant {
    /// Keeps one more. `cluster` finds those that are kept.
    pub(super) fn keep(
        &mut self,
        service: &ServiceName,
        stranger: bool,
        cluster: impl Fn(&ServiceName) -> Option<Arc<Cluster>>,
    ) -> Room {
        // It may have come and gone between two publications, and has one place all the same.
        self.forget(service);
        let (names, most) = if stranger {
            (&mut self.strangers, STRANGERS)
        } else {
            (&mut self.known, KNOWN)
        };
        let awaited = |name: &ServiceName| cluster(name).is_some_and(|it| it.is_awaited());
        let mut evicted = None;
        if names.len() >= most {
            evicted = pop_idle(names, awaited);
        }
        // Of known services there may be more: each then has a request that is held.
        let granted = !stranger || names.len() < most;
        if granted {
            names.push_back(service.clone());
        }
        Room { evicted, granted }
    }

    /// A service has instances again.
    pub(super) fn forget(&mut self, service: &ServiceName) {
        self.known.retain(|name| name != service);
        self.strangers.retain(|name| name != service);
    }

    /// Gives up those that `gone` names, and gives them.
    pub(super) fn give_up(&mut self, gone: impl Fn(&ServiceName) -> bool) -> Vec<ServiceName> {
        let mut given_up = Vec::new();
        for names in [&mut self.known, &mut self.strangers] {
            names.retain(|name| {
                let gone = gone(name);
                if gone {
                    given_up.push(name.clone());
                }
                !gone
            });
        }
        given_up
    }
}

fn pop_idle(
    names: &mut VecDeque<ServiceName>,
    awaited: impl Fn(&ServiceName) -> bool,
) -> Option<ServiceName> {
    for _ in 0..LOOKS {
        let name = names.pop_front()?;
        if !awaited(&name) {
            return Some(name);
        }
        names.push_back(name);
    }
    None
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::cluster::clusters::Clusters;
    use crate::cluster::pick::Tried;
    use crate::cluster::policy::{Hold, Policies, Policy};
    use crate::health::probe::Prober;

    fn policies(hold: bool) -> Policies {
        let default = Policy {
            hold: hold.then(Hold::default),
            ..Policy::default()
        };
        Policies {
            default,
            ..Policies::default()
        }
    }

    fn clusters() -> Clusters {
        Clusters::new(policies(true), Prober::new(1).0, ())
    }

    #[test]
    fn of_names_that_only_requests_know_few_are_kept_and_the_oldest_goes_first() {
        let clusters = clusters();
        assert!(clusters.expect("known", true).is_some());
        for number in 0..2 * STRANGERS {
            let cluster = clusters.expect(&format!("name-{number}"), false);
            assert!(cluster.is_some_and(|cluster| cluster.is_stranger()));
        }
        assert_eq!(clusters.all().len(), STRANGERS + 1);
        assert!(clusters.find("known").is_some_and(|it| !it.is_stranger()));
        assert!(clusters.find("name-0").is_none());
        assert!(clusters.expect("no name/", false).is_none());
    }

    #[test]
    fn whoever_leaves_twice_is_kept_once() {
        let mut vacant = Vacant::default();
        for stranger in [false, true, false] {
            let room = vacant.keep(&"web".parse().unwrap(), stranger, |_| None);
            assert!(room.granted && room.evicted.is_none());
        }
        assert_eq!((vacant.known.len(), vacant.strangers.len()), (1, 0));
    }

    #[tokio::test]
    async fn nobody_goes_for_whom_requests_wait() {
        let clusters = clusters();
        let mut waiting = Vec::new();
        for number in 0..STRANGERS {
            let cluster = clusters.expect(&format!("name-{number}"), false).unwrap();
            let deadline = Instant::now() + Duration::from_secs(60);
            waiting.push(tokio::spawn({
                let cluster = Arc::clone(&cluster);
                async move { cluster.acquire(0, &Tried::default(), deadline).await }
            }));
            while !cluster.is_awaited() {
                tokio::task::yield_now().await;
            }
        }
        assert!(clusters.expect("one-more", false).is_none());
        assert!(clusters.expect("known", true).is_some());
        waiting[0].abort();
        assert!((&mut waiting[0]).await.is_err());
        let looked_at_all = 0..=STRANGERS / LOOKS;
        let found = looked_at_all.filter_map(|_| clusters.expect("one-more", false));
        assert_eq!(found.take(1).count(), 1);
        assert!(clusters.find("name-0").is_none());
        assert!(clusters.find("name-1").is_some());
    }

    #[test]
    fn when_nothing_is_held_any_more_nothing_is_kept() {
        let clusters = clusters();
        assert!(clusters.expect("web", true).is_some());
        clusters.configure(policies(false));
        assert!(clusters.find("web").is_none());
        assert!(clusters.expect("web", true).is_none());
    }
}
