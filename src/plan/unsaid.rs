//! What is another and has no words of its own. Nothing may change unsaid, and nothing may be said that
//! does not change: parts are compared by what is in force, however it is written.

use std::collections::BTreeSet;

use crate::api::access::Access;
use crate::config::{Config, ControlPlane};
use crate::names::ServiceName;

use super::{Change, Plan, RouteChanges};

/// Settings that stand in one part and belong to another.
const ELSEWHERE: [&str; 2] = ["proxy.zone", "registry.admission"];

/// The parts that are others, though nothing in `plan` is about them.
pub(super) fn changes(old: &Config, new: &Config, plan: &Plan) -> Vec<Change> {
    let (before, after) = (&old.policies, &new.policies);
    let planes = [
        ("proxy", old.proxy != new.proxy),
        (
            "registry",
            in_force(&old.registry) != in_force(&new.registry),
        ),
        ("telemetry", old.telemetry != new.telemetry),
        ("defaults", before.default != after.default),
    ];
    let unsaid = planes
        .into_iter()
        .filter(|(part, is_other)| *is_other && !is_told(part, plan));
    let mut paths: Vec<_> = unsaid.map(|(part, _)| part.to_owned()).collect();
    let services: BTreeSet<&ServiceName> = (before.services.keys())
        .chain(after.services.keys())
        .collect();
    let others = services
        .into_iter()
        .map(ServiceName::as_str)
        .filter(|name| {
            let is_told = || plan.services.iter().any(|told| told.service == *name);
            before.of(name) != after.of(name) && !is_told()
        });
    paths.extend(others.map(|name| format!("services.{name}")));
    if old.routing.routes != new.routing.routes && plan.routes == RouteChanges::default() {
        paths.push("routes".to_owned());
    }
    let change = |path| Change {
        path,
        from: None,
        to: None,
        effect: Some("something in it is another that plans have no words for".to_owned()),
    };
    paths.into_iter().map(change).collect()
}

/// The registry's settings without what has no effect, or has it elsewhere.
fn in_force(registry: &ControlPlane) -> ControlPlane {
    let mut registry = registry.clone();
    // Where callboard itself listens.
    registry.rules.own.clear();
    registry.rules.own_paths.clear();
    if let Access::Tokens(tokens) = &mut registry.access {
        tokens.sort_by(|one, other| one.name().cmp(other.name()));
    }
    registry
}

fn is_told(part: &str, plan: &Plan) -> bool {
    let is_about = |change: &Change| {
        let below = change.path.strip_prefix(part);
        below.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
            && !ELSEWHERE.contains(&change.path.as_str())
    };
    plan.changes.iter().any(is_about)
}

#[cfg(test)]
mod tests {
    use crate::plan::{Present, compare};

    use super::*;

    fn config(text: &str) -> Config {
        Config::parse("f", text).unwrap().config
    }

    fn unsaid(old: &str, new: &str, plan: &Plan) -> Vec<String> {
        let changes = changes(&config(old), &config(new), plan);
        changes.into_iter().map(|change| change.path).collect()
    }

    #[test]
    fn what_nothing_is_said_of_is_named_by_its_part() {
        let new = "{proxy: {threads: 3, zone: a}, registry: {admission: trust, limits: {services: 7}}, \
                   telemetry: {metrics: off}, defaults: {drain: 5s}, \
                   services: {web: {balance: maglev}, same: {drain: 30s}}, \
                   routes: [{match: {path: /a}, service: web}]}";
        let parts = [
            "proxy",
            "registry",
            "telemetry",
            "defaults",
            "services.web",
            "routes",
        ];
        assert_eq!(unsaid("{}", new, &Plan::default()), parts);
        let plan = compare(&config("{}"), &config(new), &Present::default());
        assert_eq!(unsaid("{}", new, &plan), [""; 0]);
        assert!(
            plan.changes
                .iter()
                .all(|change| change.from.is_some() || change.to.is_some())
        );
        // What belongs to another part says nothing of this one.
        let zone = |path: &str| Change {
            path: path.to_owned(),
            from: None,
            to: None,
            effect: None,
        };
        let plan = Plan {
            changes: vec![zone("proxy.zone"), zone("registry.admission")],
            ..Plan::default()
        };
        assert_eq!(unsaid("{}", new, &plan), parts);
    }

    #[test]
    fn what_is_written_in_another_way_is_no_change() {
        let hash = |digit: &str| format!("sha256: {}, scopes: [read]", digit.repeat(64));
        let (a, b) = (hash("a"), hash("b"));
        for (old, new) in [
            (
                "{}".to_owned(),
                "{services: {web: {balance: least_request}}}".to_owned(),
            ),
            (
                "{defaults: {drain: 5s}, services: {web: {}}}".to_owned(),
                "{defaults: {drain: 5s}}".to_owned(),
            ),
            (
                format!("{{registry: {{auth: {{tokens: [{{name: a, {a}}}, {{name: b, {b}}}]}}}}}}"),
                format!("{{registry: {{auth: {{tokens: [{{name: b, {b}}}, {{name: a, {a}}}]}}}}}}"),
            ),
        ] {
            let plan = compare(&config(&old), &config(&new), &Present::default());
            assert!(!plan.changes_anything(), "{plan:?}");
        }
        // Of where callboard listens, one part is told.
        let elsewhere = config("{proxy: {listen: [\"127.0.0.1:7\"]}}");
        let plan = compare(&config("{}"), &elsewhere, &Present::default());
        assert!(
            plan.changes
                .iter()
                .all(|change| change.path.starts_with("proxy.listen")),
            "{plan:?}"
        );
        let [old, new] = [".a", ".b"].map(|suffix| {
            config(&format!(
                "{{host_suffix: {suffix}, defaults: {{tls: {{server_name: x.test}}}}}}"
            ))
        });
        let plan = compare(&old, &new, &Present::default());
        let paths: Vec<_> = plan
            .changes
            .iter()
            .map(|change| change.path.as_str())
            .collect();
        assert_eq!(paths, ["host_suffix"]);
    }
}
