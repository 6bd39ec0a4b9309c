//! From what the followed registry lists to what the registry here must be told. Pure: knows no
//! stream, clock or store.
//!
//! What is told is taken in first, and the commands come from comparing the two memberships where
//! they may differ. So it does not matter how tellings are put together, a command that the store
//! refused is simply due again, and there is one rule instead of one for each event.
//!
//! Trip conditions of doubt: a snapshot lacks more than half of the members a service has here. A
//! registry that lost its memory, or is only just getting it back, looks like that, and much less
//! often a service that shrank so far while the connection was down. The missing members stay, and
//! their leases are no longer renewed: the evidence of lease and probe decides on each. One that
//! leaves by an event of its own is never doubted.
//!
//! Recovery conditions: the member is listed again, or gone.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::names::{InstanceId, ServiceName};
use crate::registry::command::Command;
use crate::registry::snapshot::{Member, Snapshot};

use super::wire::{Listed, Listing};

/// One instance by name.
pub(super) type Key = (ServiceName, InstanceId);

/// What the followed registry last said.
#[derive(Debug, Default)]
pub(super) struct Mirror {
    /// Whom it lists; `None` until it has said so. Then nobody here is one too many.
    listing: Option<Listing>,
    /// Who is not listed and stays until the lease runs out.
    doubted: BTreeSet<Key>,
}

/// A service that a snapshot takes too much from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shrunk {
    pub(super) service: ServiceName,
    /// How many of its members are missing.
    pub(super) missing: usize,
    /// How many it has here.
    pub(super) of: usize,
}

impl Mirror {
    /// Takes in a snapshot. Names the services whose missing members are doubted.
    pub(super) fn told_everything(&mut self, listing: Listing, local: &Snapshot) -> Vec<Shrunk> {
        let mut shrunk = Vec::new();
        let lists = |service: &ServiceName, id: &InstanceId| {
            let listed = listing.get(service);
            listed.is_some_and(|ids| ids.contains_key(id))
        };
        // Once in doubt, a member stays so, however few of the others are missing by now.
        self.doubted.retain(|(service, id)| !lists(service, id));
        for (service, members) in &local.services {
            let ids = members.instances.keys();
            let missing: Vec<_> = ids.filter(|id| !lists(service, id)).collect();
            let of = members.instances.len();
            if missing.len() * 2 > of {
                shrunk.push(Shrunk {
                    service: service.clone(),
                    missing: missing.len(),
                    of,
                });
                let doubted = missing.into_iter().map(|id| (service.clone(), id.clone()));
                self.doubted.extend(doubted);
            }
        }
        self.listing = Some(listing);
        shrunk
    }

    /// Takes in that an instance is there as described.
    pub(super) fn told_here(&mut self, listed: Listed) -> Key {
        let instance = &listed.instance;
        let key = (instance.service.clone(), instance.id.clone());
        self.doubted.remove(&key);
        if let Some(listing) = &mut self.listing {
            let members = listing.entry(key.0.clone()).or_default();
            members.insert(key.1.clone(), listed);
        }
        key
    }

    /// Takes in that an instance is not there.
    pub(super) fn told_gone(&mut self, key: &Key) {
        self.doubted.remove(key);
        if let Some(listing) = &mut self.listing
            && let Some(members) = listing.get_mut(&key.0)
        {
            members.remove(&key.1);
            if members.is_empty() {
                listing.remove(&key.0);
            }
        }
    }

    /// What brings `local` in line for these instances.
    pub(super) fn commands<'a>(
        &self,
        keys: impl IntoIterator<Item = &'a Key>,
        local: &Snapshot,
    ) -> Vec<Command> {
        keys.into_iter()
            .filter_map(|(service, id)| {
                let member = local.member(service.as_str(), id.as_str());
                self.command(service, id, member.map(|member| &**member))
            })
            .collect()
    }

    /// What brings all of `local` in line.
    pub(super) fn all_commands(&self, local: &Snapshot) -> Vec<Command> {
        let Some(listing) = &self.listing else {
            return Vec::new();
        };
        let mut commands = Vec::new();
        for (service, members) in &local.services {
            let unlisted = members.instances.iter().filter(|(id, _)| {
                let listed = listing.get(service);
                !listed.is_some_and(|listed| listed.contains_key(*id))
            });
            commands.extend(
                unlisted.filter_map(|(id, member)| self.command(service, id, Some(member))),
            );
        }
        for (service, listed) in listing {
            let members = local.members(service.as_str());
            commands.extend(listed.keys().filter_map(|id| {
                let member = members.and_then(|members| members.instances.get(id));
                self.command(service, id, member.map(|member| &**member))
            }));
        }
        commands
    }

    /// Who is not listed and no longer there need not be doubted any more.
    pub(super) fn forget_gone(&mut self, local: &Snapshot) {
        self.doubted
            .retain(|(service, id)| local.member(service.as_str(), id.as_str()).is_some());
    }

    /// Those whose leases are not to be renewed here.
    pub(super) fn doubted(&self) -> &BTreeSet<Key> {
        &self.doubted
    }

    fn vouches_for(&self, key: &Key) -> bool {
        self.doubted.is_empty() || !self.doubted.contains(key)
    }

    fn command(
        &self,
        service: &ServiceName,
        id: &InstanceId,
        member: Option<&Member>,
    ) -> Option<Command> {
        let listing = self.listing.as_ref()?;
        let listed = listing.get(service).and_then(|members| members.get(id));
        match (listed, member) {
            (Some(listed), Some(member)) if is_so(member, listed) => None,
            (Some(listed), _) => Some(Command::Mirror {
                instance: listed.instance.clone(),
                draining: listed.draining,
                fitness: listed.fitness,
            }),
            (None, Some(_)) if self.vouches_for(&(service.clone(), id.clone())) => {
                Some(Command::Deregister {
                    service: service.clone(),
                    id: id.clone(),
                    generation: None,
                })
            }
            (None, _) => None,
        }
    }
}

/// Whether the member is as listed. What is mirrored is shared, so that it need not be looked at.
fn is_so(member: &Member, listed: &Listed) -> bool {
    let (here, there) = (&member.instance, &listed.instance);
    member.draining == listed.draining && (Arc::ptr_eq(here, there) || here == there)
}

#[cfg(test)]
mod tests;
