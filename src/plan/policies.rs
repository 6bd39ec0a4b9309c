//! What becomes of the policies of services, those included that are only signed in.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::cluster::policy::{Panic, Policy};
use crate::config::Config;
use crate::health::availability::Availability;
use crate::names::ServiceName;

use super::present::{Candidate, Present};
use super::{Change, ServiceChange, differences, keys, settings, words};

/// The services whose policy is another; and the settings with another value, those of a service only
/// as far as they are no consequence of `defaults`.
pub(super) fn changes(
    old: &Config,
    new: &Config,
    present: &Present,
) -> (Vec<ServiceChange>, Vec<Change>) {
    let defaults = between("", &old.policies.default, &new.policies.default);
    let named = (old.policies.services.keys()).chain(new.policies.services.keys());
    let known: BTreeSet<&ServiceName> = named.chain(present.services.keys()).collect();
    let (mut services, mut changes) = (Vec::new(), Vec::new());
    for change in &defaults {
        changes.push(Change {
            path: format!("defaults.{}", change.path),
            ..change.clone()
        });
    }
    for service in known {
        let [before, after] = [old, new].map(|config| config.policies.of(service.as_str()));
        let own = between("", before, after);
        if own.is_empty() {
            continue;
        }
        let further = own.iter().filter(|change| !defaults.contains(change));
        changes.extend(further.map(|change| Change {
            path: format!("services.{service}.{}", change.path),
            ..change.clone()
        }));
        let there = present.of(service);
        services.push(ServiceChange {
            service: service.to_string(),
            instances: there.len(),
            changes: own.iter().map(written).collect(),
            effect: effect(before, after, there),
        });
    }
    (services, changes)
}

fn between(prefix: &str, old: &Policy, new: &Policy) -> Vec<Change> {
    differences(prefix, &settings::policy(old), &settings::policy(new))
}

fn written(change: &Change) -> String {
    let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
    format!(
        "{}: {} → {}",
        change.path,
        value(&change.from),
        value(&change.to)
    )
}

/// What the change of a policy brings about for a service.
fn effect(old: &Policy, new: &Policy, there: &[Candidate]) -> Option<String> {
    let mut effects = Vec::new();
    effects.extend(of_hashing(old, new, there));
    if old.outlier != new.outlier {
        effects.push("failures counted so far are forgotten".to_owned());
    }
    let [before, after] = [old, new].map(|policy| is_in_panic(policy, there));
    if before != after {
        effects.push(
            match after {
                true => "it is in panic from then on: who is unhealthy or ejected serves as well",
                false => "it is in panic no more: checks and ejections are believed again",
            }
            .to_owned(),
        );
    }
    let encrypted = |candidate: &&Candidate| candidate.instance.scheme.is_tls();
    if old.tls != new.tls && there.iter().any(|candidate| encrypted(&candidate)) {
        effects.push("connections made by the old TLS settings get no further requests".to_owned());
    }
    (!effects.is_empty()).then(|| effects.join("; "))
}

fn of_hashing(old: &Policy, new: &Policy, there: &[Candidate]) -> Option<String> {
    let (old, new) = (&old.balance, &new.balance);
    match (old.algorithm.hashes(), new.algorithm.hashes()) {
        (false, true) => Some("requests with the same key go to the same instance".to_owned()),
        (true, false) => Some("requests with the same key go to any instance".to_owned()),
        (true, true) if old.hash_on != new.hash_on => {
            Some("keys are taken from something else, so clients move".to_owned())
        }
        (true, true) if old.algorithm != new.algorithm => {
            let there: Vec<_> = there.iter().map(|one| Arc::clone(&one.instance)).collect();
            let share = keys::moved(old, new, &there)?;
            Some(format!(
                "about {} of the keys move",
                words::percent(&(share.mul_add(100.0, 0.5).floor() / 100.0))
            ))
        }
        _ => None,
    }
}

/// See [`Panic`]. Those that are starting, draining or gone are not counted.
fn is_in_panic(policy: &Policy, there: &[Candidate]) -> bool {
    let weighed = || there.iter().filter(|one| one.instance.weight > 0);
    let is_usable = |one: &&Candidate| {
        matches!(
            one.availability,
            Availability::Ready | Availability::Suspect
        )
    };
    let is_out = |one: &&Candidate| {
        matches!(
            one.availability,
            Availability::Unhealthy | Availability::Ejected
        )
    };
    let (usable, out) = (
        weighed().filter(is_usable).count(),
        weighed().filter(is_out).count(),
    );
    policy.panic == Panic::Spread
        && (usable as f64) < policy.panic_threshold * (usable + out) as f64
}
