//! What changes for single instances.

use crate::cluster::policy::Policy;
use crate::config::Config;
use crate::health::availability::Availability;
use crate::registry::event::Actor;

use super::present::{Candidate, Present};
use super::{InstanceEffect, settings};

/// Every instance that something changes for, by service and id.
pub(super) fn effects(old: &Config, new: &Config, present: &Present) -> Vec<InstanceEffect> {
    let mut effects = Vec::new();
    for (service, there) in &present.services {
        let [before, after] = [old, new].map(|config| config.policies.of(service.as_str()));
        for candidate in there {
            let found = [
                checked(before, after, candidate),
                pardoned(before, after, candidate),
                refused(old, new, candidate),
            ];
            effects.extend(found.into_iter().flatten().map(|effect| InstanceEffect {
                service: service.to_string(),
                id: candidate.instance.id.to_string(),
                effect,
            }));
        }
    }
    effects
}

fn checked(old: &Policy, new: &Policy, candidate: &Candidate) -> Option<String> {
    let [before, after] =
        [old, new].map(|policy| candidate.instance.check.over(policy.check.as_ref()));
    if before == after {
        return None;
    }
    Some(match (&before, &after) {
        (_, None) if candidate.availability == Availability::Unhealthy => {
            "not probed any more, so it takes requests again".to_owned()
        }
        (_, None) => "not probed any more".to_owned(),
        (_, Some(check)) => format!("probed by {} from then on", settings::check_text(check)),
    })
}

fn pardoned(old: &Policy, new: &Policy, candidate: &Candidate) -> Option<String> {
    let is_out = candidate.availability == Availability::Ejected;
    (is_out && old.outlier.is_some() && new.outlier.is_none())
        .then(|| "takes requests again: ejection is turned off".to_owned())
}

/// Whoever is there stays, but has to come back one day.
fn refused(old: &Config, new: &Config, candidate: &Candidate) -> Option<String> {
    let admits = |config: &Config| {
        let rules = &config.registry.rules;
        rules.admit(&candidate.instance, &Actor::Callboard)
    };
    match (admits(old), admits(new)) {
        (Ok(()), Err(refusal)) => Some(format!(
            "stays, and is refused when it registers next: {refusal}"
        )),
        _ => None,
    }
}
