//! Who may register, with what, and for how long.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::instance::{Instance, MAX_METADATA, MAX_TAGS, MAX_TEXT, MAX_WEIGHT};
use crate::units::format_duration;

use super::command::Refusal;
use super::event::Actor;
use super::limits::Limits;
use super::paths::AllowedPath;

/// How leases are granted and who may register.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// The lease of a registration that names none.
    pub ttl: Duration,
    /// The shortest lease granted.
    pub min_ttl: Duration,
    /// The longest lease granted.
    pub max_ttl: Duration,
    /// The networks an instance's address must be in.
    pub allow: Vec<IpNet>,
    /// The Unix sockets an instance may listen at besides.
    pub allow_paths: Vec<AllowedPath>,
    /// Where callboard itself listens; never an instance.
    pub own: Vec<(IpNet, u16)>,
    /// The files that are callboard's own; never an instance's socket.
    pub own_paths: Vec<PathBuf>,
    /// How many may be signed in.
    pub limits: Limits,
}

impl Rules {
    /// Whether `actor` may register `instance`: its description is within the limits, its lease is
    /// one that is granted and its address one that is allowed.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] with the first rule it breaks.
    pub fn admit(&self, instance: &Instance, actor: &Actor) -> Result<(), Refusal> {
        within_limits(instance)?;
        self.admit_ttl(instance.ttl)?;
        self.admit_address(instance, actor)
    }

    fn admit_ttl(&self, ttl: Option<Duration>) -> Result<(), Refusal> {
        let granted = self.min_ttl..=self.max_ttl;
        match ttl {
            Some(ttl) if !granted.contains(&ttl) => Err(invalid(
                "lease.ttl",
                format!(
                    "is {} (expected {} to {})",
                    format_duration(ttl),
                    format_duration(self.min_ttl),
                    format_duration(self.max_ttl)
                ),
            )),
            _ => Ok(()),
        }
    }
}

/// Whether a description is within the limits that hold for every instance, always.
///
/// # Errors
/// [`Refusal::Invalid`] with the first limit it breaks.
pub(super) fn within_limits(instance: &Instance) -> Result<(), Refusal> {
    at_most("weight", "", instance.weight as usize, MAX_WEIGHT as usize)?;
    at_most("tags", " entries", instance.tags.len(), MAX_TAGS)?;
    at_most(
        "metadata",
        " entries",
        instance.metadata.len(),
        MAX_METADATA,
    )?;
    short_text("zone", instance.zone.iter())?;
    short_text("tags", instance.tags.iter())?;
    short_text(
        "metadata",
        instance.metadata.keys().chain(instance.metadata.values()),
    )
}

fn at_most(field: &'static str, unit: &str, given: usize, limit: usize) -> Result<(), Refusal> {
    if given <= limit {
        return Ok(());
    }
    let verb = if unit.is_empty() { "is" } else { "has" };
    Err(invalid(
        field,
        format!("{verb} {given}{unit} (expected at most {limit})"),
    ))
}

fn short_text<'a>(
    field: &'static str,
    mut texts: impl Iterator<Item = &'a String>,
) -> Result<(), Refusal> {
    match texts.find(|text| text.len() > MAX_TEXT) {
        None => Ok(()),
        Some(text) => Err(invalid(
            field,
            format!(
                "holds a text of {} bytes (expected at most {MAX_TEXT})",
                text.len()
            ),
        )),
    }
}

pub(super) fn invalid(field: &'static str, problem: String) -> Refusal {
    Refusal::Invalid { field, problem }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::fixtures::{instance, rules};

    fn refused(change: impl FnOnce(&mut Instance)) -> String {
        let mut instance = instance("web", "a");
        change(&mut instance);
        let rules = Rules {
            allow: vec!["10.0.0.0/8".parse().unwrap()],
            ..rules()
        };
        rules
            .admit(&instance, &Actor::Callboard)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn an_instance_at_every_limit_is_admitted() {
        let mut instance = instance("web", "a");
        instance.weight = MAX_WEIGHT;
        instance.ttl = Some(rules().max_ttl);
        instance.zone = Some("z".repeat(MAX_TEXT));
        instance.tags = (0..MAX_TAGS).map(|n| n.to_string()).collect();
        instance.metadata = (0..MAX_METADATA)
            .map(|n| (n.to_string(), "v".repeat(MAX_TEXT)))
            .collect();
        assert_eq!(rules().admit(&instance, &Actor::Callboard), Ok(()));
        instance.ttl = None;
        assert_eq!(rules().admit(&instance, &Actor::Callboard), Ok(()));
    }

    #[test]
    fn a_description_over_a_limit_is_refused_by_field_with_what_was_expected() {
        assert_eq!(
            refused(|i| i.weight = 65_536),
            "weight: is 65536 (expected at most 65535)"
        );
        assert_eq!(
            refused(|i| i.tags = (0..65).map(|n| n.to_string()).collect()),
            "tags: has 65 entries (expected at most 64)"
        );
        assert_eq!(
            refused(|i| i.metadata = (0..65).map(|n| (n.to_string(), String::new())).collect()),
            "metadata: has 65 entries (expected at most 64)"
        );
        for (field, change) in [
            (
                "zone",
                (|i, text| i.zone = Some(text)) as fn(&mut Instance, String),
            ),
            ("tags", |i, text| i.tags = [text].into()),
            ("metadata", |i, text| {
                i.metadata = [(text, String::new())].into();
            }),
            ("metadata", |i, text| {
                i.metadata = [("k".to_owned(), text)].into();
            }),
        ] {
            assert_eq!(
                refused(|i| change(i, "x".repeat(513))),
                format!("{field}: holds a text of 513 bytes (expected at most 512)")
            );
        }
    }

    #[test]
    fn a_lease_outside_the_granted_lengths_is_refused() {
        assert_eq!(
            refused(|i| i.ttl = Some(Duration::from_secs(7_200))),
            "lease.ttl: is 2h (expected 10ms to 1h)"
        );
        assert!(refused(|i| i.ttl = Some(Duration::ZERO)).starts_with("lease.ttl"));
    }
}
