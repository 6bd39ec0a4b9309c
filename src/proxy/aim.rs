//! Where a request goes, and by which rules.

use std::sync::Arc;

use pingora_proxy::Session;

use crate::cluster::Cluster;
use crate::cluster::pick::Nobody;
use crate::cluster::queue::Refusal;
use crate::names::ServiceName;
use crate::route::path::has_dot_segment;
use crate::route::table::{Found, Request};
use crate::telemetry::explain::{Policy, Routed};
use crate::tls::Identity;

use super::asked::Asked;
use super::context::{Context, Target};
use super::counters::Counters;
use super::failure::Failure;
use super::rules::Rules;
use super::{DataPlane, connection, hash_key, mirror};

impl DataPlane {
    /// Finds out where a request goes and what it is known by.
    pub(super) fn aim(&self, asked: Asked<'_>, context: &mut Context) -> Result<Target, Failure> {
        let settings = self.settings.load();
        context.identify(asked, &settings.trusted_proxies);
        let watch = self.telemetry.watch(asked.fields, context.client);
        if watch.explained {
            context.tried.explain();
        }
        context.trail.begin(watch);
        let path = asked.path();
        if !asked.names_host() {
            return Err(Failure::bad_host());
        }
        if has_dot_segment(path) {
            return Err(Failure::dot_segment());
        }
        let request = Request {
            host: asked.host(),
            path,
            method: asked.method,
            headers: asked.fields,
            client: asked.identity.map_or(&[], Identity::names),
        };
        let client = context.client;
        let live = self.splits.live();
        let found = live.table.find(&request, |route| {
            hash_key::draw(route.split_on.as_ref(), asked, client)
        });
        if let Some(notes) = context.trail.notes() {
            let split_on = (found.as_ref())
                .and_then(|found| found.route)
                .and_then(|route| route.split_on.as_ref())
                .filter(|part| hash_key::has(part, asked));
            notes.routed = Some(Routed {
                why: live.table.explain(&request, found.as_ref()),
                by: split_on.map_or_else(|| "chance".into(), |part| part.to_string().into()),
            });
        }
        let found = found.ok_or_else(|| Failure::no_route(&request))?;
        let cluster = self.cluster(&found, context)?;
        let arrived = context.arrived();
        context.aimed(&found, cluster.name(), || {
            Counters::of(&cluster, found.label, self.telemetry.unrouted(), arrived)
        });
        if context.call.is_none() {
            context.copy = found
                .route
                .and_then(|route| mirror::draw(route, asked, found.strip));
        }
        let policy = cluster.policy();
        let overrides = found.route.map(|route| &route.overrides);
        let mut rules = overrides.map_or_else(
            || Rules::of(&policy),
            |over| Rules::laid_over(&policy, over),
        );
        if let Some(call) = &context.call {
            call.govern(&mut rules.timeouts);
        }
        let balance = &policy.balance;
        let hash = hash_key::of(&balance.hash_on, asked, context.client);
        if let Some(notes) = context.trail.notes() {
            notes.copied_to = (context.copy.as_ref()).map(|copy| copy.service().as_str().into());
            notes.policy = Some(Policy {
                algorithm: balance.algorithm,
                hash_on: balance.hash_on.to_string().into(),
                hash: balance.algorithm.hashes().then_some(hash),
                has_part: hash_key::has(&balance.hash_on, asked),
            });
        }
        Ok(Target {
            hash,
            strip: found.strip,
            rules,
            policy,
            cluster,
        })
    }

    /// The cluster of the service found, be it only to be held in.
    fn cluster(&self, found: &Found<'_>, context: &mut Context) -> Result<Arc<Cluster>, Failure> {
        if let Some(cluster) = self.clusters.find(&found.service) {
            return Ok(cluster);
        }
        let policies = self.clusters.policies();
        let known = found.route.is_some() || policies.services.contains_key(&*found.service);
        if let Some(cluster) = self.clusters.expect(&found.service, known) {
            return Ok(cluster);
        }
        if !known {
            return Err(Failure::unknown_service(&found.service));
        }
        if let Ok(service) = found.service.parse() {
            let arrived = context.arrived();
            context.aimed(found, &service, || {
                let counters = Counters::new(self.clusters.traffic(&service), found.label, arrived);
                counters.refused(Refusal::Nobody(Nobody::Available));
                counters
            });
        }
        Err(Failure::nobody_available(&found.service))
    }
}

impl Context {
    /// The request has a service, and counts in `counters` if it does.
    fn aimed(
        &mut self,
        found: &Found<'_>,
        service: &ServiceName,
        counters: impl FnOnce() -> Counters,
    ) {
        self.trail.aimed(found, service, counters);
        if let (Some(_), Some(counters)) = (&self.call, self.trail.counters()) {
            counters.call();
        }
    }
}

/// Holds the request's body to the limit of its service or route.
pub(super) fn limit_body(session: &Session, rules: &Rules) -> Result<(), Failure> {
    if let Some(most) = most_of_body(Asked::of(session), rules)? {
        connection::limit_body(session, most);
    }
    Ok(())
}

/// The most bytes that the request's body may have, if there is a limit.
///
/// # Errors
/// When its head says that it has more.
pub(super) fn most_of_body(asked: Asked<'_>, rules: &Rules) -> Result<Option<u64>, Failure> {
    let Some(most) = rules.max_body else {
        return Ok(None);
    };
    if asked.content_length().is_some_and(|length| length > most) {
        return Err(Failure::body_too_long(most));
    }
    Ok(Some(most))
}
