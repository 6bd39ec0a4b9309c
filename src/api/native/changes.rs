//! What changed between two moments, for those who follow along.
//!
//! A follower is not sent a log of events but the difference between what it was last told and what
//! is true now. One that reads slowly therefore skips what came and went in between, and the most
//! that can pile up for it is one line per instance. Snapshots are persistent maps, and
//! [`imbl::OrdMap::diff`] passes over whatever two of them share, so that the difference costs about
//! as much as there are changes.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;

use crate::names::{InstanceId, ServiceName};
use crate::registry::snapshot::{Member, Members, Revision, Snapshot};
use crate::registry::watch::Missed;

/// What a follower knows: the members of the services it follows.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// The index up to which it knows everything.
    pub(super) index: Revision,
    services: OrdMap<ServiceName, Arc<Members>>,
}

/// One difference.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// The member is new, or anything observable about it has changed.
    Upsert(Arc<Member>),
    /// The member is gone.
    Remove(ServiceName, InstanceId),
}

impl Seen {
    /// What `snapshot` shows of one service, or of all. Of one, it keeps no other alive.
    pub(super) fn of(snapshot: &Snapshot, only: Option<&ServiceName>) -> Self {
        match only {
            None => Self {
                index: snapshot.revision,
                services: snapshot.services.clone(),
            },
            Some(service) => Self {
                index: snapshot.revision_of(service.as_str()),
                services: snapshot
                    .members(service.as_str())
                    .map(|members| OrdMap::unit(service.clone(), Arc::clone(members)))
                    .unwrap_or_default(),
            },
        }
    }

    /// Every member, or every one that comes after `last`.
    pub(super) fn members(&self, last: Option<&Member>) -> impl Iterator<Item = &Arc<Member>> {
        let last = last.map(|member| (&member.instance.service, &member.instance.id));
        let same = last.and_then(|(service, id)| Some((self.services.get(service)?, id)));
        let same = same.into_iter().flat_map(|(members, id)| {
            let rest = members
                .instances
                .range::<_, InstanceId>((Excluded(id), Unbounded));
            rest.map(|(_, member)| member)
        });
        let after = last.map_or(Unbounded, |(service, _)| Excluded(service));
        let later = self.services.range::<_, ServiceName>((after, Unbounded));
        same.chain(later.flat_map(|(_, members)| members.instances.values()))
    }

    fn knows(&self, service: &ServiceName, id: &InstanceId) -> bool {
        let members = self.services.get(service);
        members.is_some_and(|members| members.instances.contains_key(id))
    }

    /// What it takes to get from this to `now`.
    pub(super) fn until(&self, now: &Self) -> VecDeque<Change> {
        let nobody = Members::default();
        let mut changes = VecDeque::new();
        for service in self.services.diff(&now.services) {
            match service {
                DiffItem::Add(service, new) => differ(service, &nobody, new, &mut changes),
                DiffItem::Update {
                    old: (service, old),
                    new: (_, new),
                } => differ(service, old, new, &mut changes),
                DiffItem::Remove(service, old) => differ(service, old, &nobody, &mut changes),
            }
        }
        changes
    }

    /// What it takes to get to `missed.now` for somebody who followed `only` this service, or all.
    pub(super) fn made_up(missed: &Missed, only: Option<&ServiceName>) -> VecDeque<Change> {
        let [base, now] = [&missed.base, &missed.now].map(|snapshot| Self::of(snapshot, only));
        let gone: BTreeSet<_> = missed
            .departed()
            .filter(|(service, id)| {
                only.is_none_or(|only| only == *service) && !now.knows(service, id)
            })
            .collect();
        let mut changes: VecDeque<_> = gone
            .into_iter()
            .map(|(service, id)| Change::Remove(service.clone(), id.clone()))
            .collect();
        // The base may be older than what they know.
        let news = |member: &Arc<Member>| member.observed > missed.knows;
        let differences = base.until(&now).into_iter();
        changes.extend(differences.filter(|change| change.upserted().is_some_and(news)));
        changes
    }
}

impl Change {
    /// The member, unless it is gone.
    pub(super) fn upserted(&self) -> Option<&Arc<Member>> {
        match self {
            Self::Upsert(member) => Some(member),
            Self::Remove(..) => None,
        }
    }
}

fn differ(service: &ServiceName, old: &Members, new: &Members, changes: &mut VecDeque<Change>) {
    changes.extend(old.instances.diff(&new.instances).map(|item| match item {
        DiffItem::Add(_, member) => Change::Upsert(Arc::clone(member)),
        DiffItem::Update {
            new: (_, member), ..
        } => Change::Upsert(Arc::clone(member)),
        DiffItem::Remove(id, _) => Change::Remove(service.clone(), id.clone()),
    }));
}

#[cfg(test)]
mod tests {
    use crate::api::native::view::tests::member;

    use super::*;

    /// A snapshot of `(service, id, revision)`.
    fn snapshot(members: &[(&str, &str, u64)]) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for (service, id, revision) in members {
            let name: ServiceName = service.parse().unwrap();
            let mut of_service = snapshot
                .members(service)
                .map(|members| Members::clone(members))
                .unwrap_or_default();
            let member = member(service, id, *revision);
            of_service.revision = of_service.revision.max(member.observed);
            of_service
                .instances
                .insert(member.instance.id.clone(), member);
            snapshot.revision = snapshot.revision.max(of_service.revision);
            snapshot.services.insert(name, Arc::new(of_service));
        }
        snapshot
    }

    fn changes(old: &Snapshot, new: &Snapshot, only: Option<&str>) -> Vec<String> {
        let only = only.map(|service| service.parse().unwrap());
        let [old, new] = [old, new].map(|snapshot| Seen::of(snapshot, only.as_ref()));
        old.until(&new)
            .into_iter()
            .map(|change| match change {
                Change::Upsert(member) => {
                    format!("+{}/{}", member.instance.service, member.instance.id)
                }
                Change::Remove(service, id) => format!("-{service}/{id}"),
            })
            .collect()
    }

    #[test]
    fn what_came_changed_and_went_is_told_and_nothing_else() {
        let old = snapshot(&[("a", "1", 1), ("a", "2", 2), ("b", "1", 3), ("c", "1", 4)]);
        let new = snapshot(&[("a", "1", 1), ("a", "3", 6), ("b", "1", 5), ("d", "1", 7)]);
        assert_eq!(
            changes(&old, &new, None),
            ["-a/2", "+a/3", "+b/1", "-c/1", "+d/1"]
        );
        assert!(changes(&old, &old.clone(), None).is_empty());
    }

    #[test]
    fn a_follower_of_one_service_hears_of_no_other() {
        let old = snapshot(&[("a", "1", 1), ("b", "1", 2)]);
        let new = snapshot(&[("a", "1", 3), ("b", "1", 4), ("b", "2", 5)]);
        assert_eq!(changes(&old, &new, Some("b")), ["+b/1", "+b/2"]);
        assert_eq!(changes(&old, &new, Some("c")), [""; 0]);
        let seen = Seen::of(&new, Some(&"a".parse().unwrap()));
        assert_eq!(seen.index, Revision(3));
        assert_eq!(seen.members(None).count(), 1);
    }

    #[test]
    fn members_are_gone_through_from_wherever_one_stopped() {
        let members = [("a", "1", 1), ("a", "2", 2), ("b", "1", 3), ("c", "1", 4)];
        let seen = Seen::of(&snapshot(&members), None);
        let all: Vec<_> = seen.members(None).cloned().collect();
        assert_eq!(all.len(), members.len());
        for (place, last) in all.iter().enumerate() {
            let rest: Vec<_> = seen.members(Some(last)).cloned().collect();
            assert_eq!(rest, all[place + 1..]);
        }
    }

    #[test]
    fn what_came_and_went_in_between_is_skipped() {
        let old = snapshot(&[("a", "1", 1)]);
        let mut later = old.clone();
        later.revision = Revision(9);
        assert!(changes(&old, &later, None).is_empty());
        assert_eq!(Seen::of(&later, None).index, Revision(9));
    }
}
