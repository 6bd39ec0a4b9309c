//! What another configuration would change, told before it does.
//!
//! Two configurations are compared by what is in force under them, not by their texts: every setting is
//! written out under its key ([`settings`]), defaults and all, so that a value that is spelled out where
//! it was a default is no change, and one that a service has from `defaults` is a change of the service.
//! With [`Present`], who is signed in, a plan also says what that means for them: only what follows from
//! the settings and the membership, never what traffic may do.
//!
//! Architecture invariant: a plan changes nothing. It is made of copies.

mod call;
mod instances;
mod keys;
mod policies;
mod present;
mod routing;
mod settings;
mod unsaid;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::config::{Config, Diagnostic, Loaded};

pub use call::{Running, routes};
pub use present::{Candidate, Present};
use settings::Settings;

/// The longest configuration that is planned for a caller, in bytes.
pub const MAX_TEXT: usize = 1 << 20;
/// The most entries of any list of a plan; what is beyond is counted in `omitted`.
pub const MAX_ENTRIES: usize = 1_000;

/// What would change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Plan {
    /// Whether the configuration would be accepted. If not, `errors` says why and nothing else is told.
    pub valid: bool,
    /// What is wrong with it, in the order of the text.
    pub errors: Vec<Fault>,
    /// What would be accepted and should be known, in the order of the text.
    pub warnings: Vec<String>,
    /// The keys whose new value only a restart puts in force.
    pub restart: Vec<String>,
    /// Each setting with another value. Of services, only what differs from the change of `defaults`;
    /// what all of it makes of a service is in `services`.
    pub changes: Vec<Change>,
    /// The services whose policy is another, whether they are configured or only signed in.
    pub services: Vec<ServiceChange>,
    /// The configured routes.
    pub routes: RouteChanges,
    /// The instances that something changes for.
    pub instances: Vec<InstanceEffect>,
    /// How many changes, services and instances are left out, beyond the first thousand of each.
    pub omitted: usize,
}

/// Something that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Fault {
    /// Counted from 1; 0 if it is about the text as a whole.
    pub line: usize,
    /// Counted from 1, in characters; 0 if it is about the text as a whole.
    pub column: usize,
    /// What is wrong, and what was expected.
    pub message: String,
}

/// A setting with another value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct Change {
    /// The key, as in the configuration: `services.web.balance`.
    pub path: String,
    /// Its value now; null if it has none.
    #[schema(required)]
    pub from: Option<String>,
    /// Its value then; null if it will have none.
    #[schema(required)]
    pub to: Option<String>,
    /// What that brings about, where it is not plain.
    #[schema(required)]
    pub effect: Option<String>,
}

/// A service whose policy is another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ServiceChange {
    /// The service.
    pub service: String,
    /// How many instances it has now.
    pub instances: usize,
    /// Each setting of its policy with another value: `balance: least_request → maglev`.
    pub changes: Vec<String>,
    /// What that brings about, where it is not plain.
    #[schema(required)]
    pub effect: Option<String>,
}

/// What becomes of the configured routes, each by its name, or else by what it matches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RouteChanges {
    /// New ones.
    pub added: Vec<String>,
    /// Those that are gone.
    pub removed: Vec<String>,
    /// Those that do something else: `shop: → web ⇒ → web-next`.
    pub changed: Vec<String>,
    /// Those that are tried earlier or later than others that stay: the first that matches wins.
    pub moved: Vec<String>,
}

/// An instance that something changes for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InstanceEffect {
    /// Its service.
    pub service: String,
    /// Its id.
    pub id: String,
    /// What changes.
    pub effect: String,
}

impl Plan {
    /// The plan of putting what was read of a file in the place of `old`, with what is known of who is
    /// there.
    pub fn of(old: &Config, read: Result<Loaded, Vec<Diagnostic>>, present: &Present) -> Self {
        match read {
            Ok(Loaded { config, warnings }) => Self {
                warnings: warnings.iter().map(told).collect(),
                ..compare(old, &config, present)
            },
            Err(errors) => Self {
                errors: errors.into_iter().map(Fault::from).collect(),
                ..Self::default()
            },
        }
    }

    fn unreadable(message: String) -> Self {
        let fault = Fault {
            line: 0,
            column: 0,
            message,
        };
        Self {
            errors: vec![fault],
            ..Self::default()
        }
    }

    /// Whether anything would change.
    pub fn changes_anything(&self) -> bool {
        !(self.restart.is_empty()
            && self.changes.is_empty()
            && self.services.is_empty()
            && self.routes == RouteChanges::default())
    }

    fn shorten(mut self) -> Self {
        self.omitted = cut(&mut self.changes) + cut(&mut self.services) + cut(&mut self.instances);
        let RouteChanges {
            added,
            removed,
            changed,
            moved,
        } = &mut self.routes;
        self.omitted += cut(added) + cut(removed) + cut(changed) + cut(moved);
        self
    }
}

impl From<Diagnostic> for Fault {
    fn from(found: Diagnostic) -> Self {
        Self {
            line: found.line,
            column: found.column,
            message: found.message,
        }
    }
}

/// What putting `new` in the place of `old` changes, for everybody and for those who are `present`.
pub fn compare(old: &Config, new: &Config, present: &Present) -> Plan {
    let restart = old.restart_needed(new);
    let mut changes = differences("", &settings::planes(old), &settings::planes(new));
    for path in settings::secrets(old, new) {
        let [from, to] = ["as it is", "another one"].map(|text| Some(text.to_owned()));
        let effect = None;
        changes.push(Change {
            path,
            from,
            to,
            effect,
        });
    }
    for change in &mut changes {
        change.effect = effect(change, new, present, &restart);
    }
    let (services, of_services) = policies::changes(old, new, present);
    changes.extend(of_services);
    let (routes, splits) = routing::changes(&old.routing, &new.routing, present);
    changes.extend(splits);
    let mut plan = Plan {
        valid: true,
        restart,
        changes,
        services,
        routes,
        instances: instances::effects(old, new, present),
        ..Plan::default()
    };
    let unsaid = unsaid::changes(old, new, &plan);
    plan.changes.extend(unsaid);
    plan.shorten()
}

/// Each key whose value is another, below `prefix`.
fn differences(prefix: &str, old: &Settings, new: &Settings) -> Vec<Change> {
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    (keys.into_iter())
        .filter(|key| old.get(*key) != new.get(*key))
        .map(|key| Change {
            path: format!("{prefix}{key}"),
            from: old.get(key).cloned(),
            to: new.get(key).cloned(),
            effect: None,
        })
        .collect()
}

/// What a change of the planes brings about.
fn effect(change: &Change, new: &Config, present: &Present, restart: &[String]) -> Option<String> {
    let path = change.path.as_str();
    let below = |key: &String| {
        path.strip_prefix(key.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    if restart.iter().any(below) && !path.contains(".tls.") {
        return Some("in force after a restart".to_owned());
    }
    let limits = &new.registry.rules.limits;
    let count = present.services.values().map(Vec::len);
    let beyond = match path {
        "registry.limits.services" => (present.services.len(), limits.services),
        "registry.limits.instances" => (count.sum(), limits.instances),
        "registry.limits.instances_per_service" => {
            (count.max().unwrap_or(0), limits.instances_per_service)
        }
        "registry.lease.ttl" | "registry.lease.min" | "registry.lease.max" => {
            return Some("for registrations from then on; leases that run stay as they are".into());
        }
        _ => return None,
    };
    let (there, most) = beyond;
    (there > most).then(|| format!("there are {there} now: they stay, and newcomers are refused"))
}

fn told(warning: &Diagnostic) -> String {
    let Diagnostic {
        line,
        column,
        message,
        ..
    } = warning;
    match line {
        0 => message.clone(),
        _ => format!("{line}:{column}: {message}"),
    }
}

/// Cuts a list to the most entries; says how many were too many.
fn cut<T>(list: &mut Vec<T>) -> usize {
    let surplus = list.len().saturating_sub(MAX_ENTRIES);
    list.truncate(MAX_ENTRIES);
    surplus
}

/// Counts equal labels up, so that each stands for one thing.
fn numbered(labels: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen = BTreeMap::<String, usize>::new();
    labels
        .map(|label| {
            let count = seen.entry(label.clone()).or_default();
            *count += 1;
            match *count {
                1 => label,
                again => format!("{label} ({again})"),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests;
