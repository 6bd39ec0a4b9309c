//! What a command comes to: looks, and changes nothing.

use std::sync::Arc;

use crate::instance::Instance;
use crate::names::{InstanceId, ServiceName};
use crate::registry::command::{Command, Refusal};
use crate::registry::event::{Actor, Change};
use crate::registry::limits::Counts;
use crate::registry::rules::within_limits;
use crate::registry::snapshot::{Fitness, Member, Snapshot};

use super::Context;
use super::why::differences;

/// What is to happen.
pub(super) enum Decision {
    /// The membership changes.
    Step(Step),
    /// The member is already as asked.
    Already(Arc<Member>),
}

/// How a member changes.
pub(super) enum Step {
    /// It is there, as described.
    Register(Arc<Instance>),
    /// It is there, as another registry shows it.
    Mirror {
        instance: Arc<Instance>,
        draining: bool,
        fitness: Fitness,
    },
    /// It is described otherwise.
    Patch(Arc<Instance>),
    /// It drains, or no longer does.
    Drain(bool),
    /// It is gone.
    SignOut {
        /// Whether it drained before.
        drained: bool,
    },
}

impl Step {
    /// What the event says about it.
    pub(super) fn change(&self) -> Change {
        match self {
            Self::Register(_) | Self::Mirror { .. } => Change::Registered,
            Self::Patch(_) => Change::Patched,
            Self::Drain(true) => Change::Drained,
            Self::Drain(false) => Change::Undrained,
            Self::SignOut { .. } => Change::Deregistered,
        }
    }

    /// What the event says of the reason, in view of the member as it was.
    pub(super) fn why(&self, before: Option<&Member>, actor: &Actor) -> Option<String> {
        match (self, before) {
            (Self::Register(instance), Some(before)) => signed_in_again(before, instance, actor),
            (Self::Patch(instance), Some(before)) => differences(&before.instance, instance),
            (Self::SignOut { drained: true }, _) => Some("its drain ended".to_owned()),
            _ => None,
        }
    }
}

/// What a registration came to for a member that was there already.
fn signed_in_again(before: &Member, instance: &Instance, actor: &Actor) -> Option<String> {
    let drain = before.draining.then(|| "ended its drain".to_owned());
    let owner = match (&before.owner, actor.token()) {
        (None, Some(token)) => Some(format!("now belongs to token {token:?}")),
        _ => None,
    };
    let differences = differences(&before.instance, instance);
    let told: Vec<_> = [drain, owner, differences].into_iter().flatten().collect();
    (!told.is_empty()).then(|| told.join(", "))
}

/// Weighs `command` against the membership; `counts` are those of a service's newcomer.
pub(super) fn decide(
    snapshot: &Snapshot,
    counts: impl FnOnce(&ServiceName) -> Counts,
    command: &Command,
    Context { rules, actor, .. }: Context<'_>,
) -> Result<Decision, Refusal> {
    let (service, id) = command.about();
    let member = snapshot.member(service.as_str(), id.as_str());
    let found = || {
        let member = member.ok_or_else(|| not_found(service, id))?;
        member.guard(actor).map(|()| member)
    };
    let step = match command {
        Command::Register(instance) => {
            rules.admit(instance, actor)?;
            if let Some(member) = member {
                member.guard(actor)?;
                member.fence(instance.generation)?;
                let owned = member.owner.is_some() || actor.token().is_none();
                if !member.draining && owned && *member.instance == *instance {
                    return Ok(Decision::Already(member.clone()));
                }
            } else {
                rules.limits.admit_one_more(counts(service))?;
            }
            Step::Register(Arc::new(sharing_name(instance, snapshot)))
        }
        Command::Mirror {
            instance,
            draining,
            fitness,
        } => {
            rules.admit(instance, actor)?;
            match member {
                Some(member) if *member.instance == **instance => {
                    if member.draining == *draining {
                        return Ok(Decision::Already(member.clone()));
                    }
                    Step::Drain(*draining)
                }
                _ => Step::Mirror {
                    instance: Arc::clone(instance),
                    draining: *draining,
                    fitness: *fitness,
                },
            }
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
            Step::Patch(Arc::new(patched))
        }
        Command::Drain {
            draining,
            generation,
            ..
        } => {
            let member = found()?;
            member.fence(*generation)?;
            match (member.draining, *draining) {
                (before, asked) if before != asked => Step::Drain(asked),
                _ => return Ok(Decision::Already(member.clone())),
            }
        }
        Command::Deregister { generation, .. } => {
            found()?.fence(*generation)?;
            Step::SignOut { drained: false }
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
            Step::SignOut { drained: true }
        }
    };
    Ok(Decision::Step(step))
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
