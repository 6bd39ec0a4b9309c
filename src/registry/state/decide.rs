//! What a command comes to: looks, and changes nothing.

use std::sync::Arc;

use crate::instance::Instance;
use crate::names::{InstanceId, ServiceName};
use crate::registry::command::{Command, Refusal};
use crate::registry::event::Change;
use crate::registry::rules::{Rules, within_limits};
use crate::registry::snapshot::{Member, Snapshot};

/// What is to happen.
pub(super) enum Decision {
    /// The membership changes.
    Change(Change),
    /// The member is already as asked.
    Already(Arc<Member>),
}

/// Weighs `command` against the membership.
pub(super) fn decide(
    snapshot: &Snapshot,
    command: &Command,
    rules: &Rules,
) -> Result<Decision, Refusal> {
    let (service, id) = command.about();
    let member = snapshot.member(service.as_str(), id.as_str());
    let found = || member.ok_or_else(|| not_found(service, id));
    let change = match command {
        Command::Register(instance) => {
            rules.admit(instance)?;
            if let Some(member) = member {
                member.fence(instance.generation)?;
                if !member.draining && *member.instance == *instance {
                    return Ok(Decision::Already(member.clone()));
                }
            }
            Change::Registered(Arc::new(sharing_name(instance, snapshot)))
        }
        Command::Patch {
            patch, if_match, ..
        } => {
            let member = found()?;
            if let Some(given) = *if_match
                && given != member.modified
            {
                return Err(Refusal::Stale {
                    given,
                    current: member.modified,
                });
            }
            let patched = patch.over(&member.instance);
            within_limits(&patched)?;
            if patched == *member.instance {
                return Ok(Decision::Already(member.clone()));
            }
            Change::Patched(Arc::new(patched))
        }
        Command::Drain { draining, .. } => {
            let member = found()?;
            match (member.draining, *draining) {
                (false, true) => Change::Drained,
                (true, false) => Change::Undrained,
                _ => return Ok(Decision::Already(member.clone())),
            }
        }
        Command::Deregister { generation, .. } => {
            found()?.fence(*generation)?;
            Change::Deregistered
        }
        Command::FinishDrain { generation, .. } => {
            let member = found()?;
            member.fence(*generation)?;
            if !member.draining {
                return Err(Refusal::NotDraining {
                    service: service.to_string(),
                    id: id.to_string(),
                });
            }
            Change::Deregistered
        }
    };
    Ok(Decision::Change(change))
}

/// The refusal of a command about a member that is not there.
pub(super) fn not_found(service: &ServiceName, id: &InstanceId) -> Refusal {
    Refusal::NotFound {
        service: service.to_string(),
        id: id.to_string(),
    }
}

/// A copy whose service name is the one text all of the service's members share.
fn sharing_name(instance: &Instance, snapshot: &Snapshot) -> Instance {
    let mut instance = instance.clone();
    if let Some((service, _)) = snapshot.services.get_key_value(&instance.service) {
        instance.service = service.clone();
    }
    instance
}
