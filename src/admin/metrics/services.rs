//! What services and their instances are doing now.

use std::cmp::Reverse;
use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use crate::cluster::clusters::Clusters;
use crate::health::availability::Availability;
use crate::instance::Instance;
use crate::names::{InstanceId, ServiceName};

use super::page::Encoder;

/// `callboard_instances`, `callboard_instance_…` and what else is measured rather than counted.
#[derive(Debug, Default)]
pub(super) struct Services {
    services: Vec<Service>,
    /// By service and id.
    instances: Vec<Busy>,
    /// How many instances have no figures of their own.
    omitted: u64,
}

#[derive(Debug)]
struct Service {
    name: ServiceName,
    in_flight: u64,
    queued: u32,
    held: u32,
    panic: bool,
    retries: u32,
    retries_allowed: Option<u64>,
    availability: [u32; Availability::ALL.len()],
}

/// One instance.
#[derive(Debug)]
struct Busy {
    instance: Arc<Instance>,
    served: u64,
    in_flight: u32,
}

impl Busy {
    fn name(&self) -> (&ServiceName, &InstanceId) {
        (&self.instance.service, &self.instance.id)
    }

    fn labels(&self) -> [(&str, &str); 2] {
        let (service, id) = self.name();
        [("service", service.as_str()), ("instance", id.as_str())]
    }
}

impl Services {
    /// What they are doing now, with figures of their own for at most so many of the `instances`: those
    /// that were given the most requests, which seldom are others than a moment before.
    pub(super) fn read(clusters: &Clusters, instances: usize) -> Self {
        let map = clusters.all();
        let mut read = Self::default();
        for (name, cluster) in map.iter().filter(|(_, cluster)| !cluster.is_stranger()) {
            let now = cluster.read();
            read.services.push(Service {
                name: name.clone(),
                in_flight: cluster.in_flight(),
                queued: now.queued,
                held: now.held,
                panic: now.panic,
                retries: cluster.retries_under_way(),
                retries_allowed: cluster.retries_allowed(),
                availability: now.availability,
            });
            read.instances
                .extend(now.endpoints.iter().map(|endpoint| Busy {
                    instance: Arc::clone(&endpoint.instance),
                    served: endpoint.served(),
                    in_flight: endpoint.in_flight(),
                }));
        }
        read.services.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        read.omitted = keep_busiest(&mut read.instances, instances) as u64;
        read
    }
}

/// Keeps the `most` instances that were given the most requests, in order of their names; says how many
/// were left out.
fn keep_busiest(instances: &mut Vec<Busy>, most: usize) -> usize {
    let omitted = instances.len().saturating_sub(most);
    if omitted > 0 {
        let rank = |busy: &Busy| Reverse(busy.served + u64::from(busy.in_flight));
        instances.select_nth_unstable_by(most, |a, b| {
            rank(a).cmp(&rank(b)).then_with(|| a.name().cmp(&b.name()))
        });
        instances.truncate(most);
    }
    instances.sort_unstable_by(|a, b| a.name().cmp(&b.name()));
    omitted
}

impl Collector for Services {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.encode_load(&mut encoder)?;
        self.encode_health(&mut encoder)?;
        self.encode_instances(&mut encoder)
    }
}

impl Services {
    fn encode_load(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Requests, tunnels and connections of TCP listeners that instances have in hand";
        let mut in_flight = encoder.gauge("requests_in_flight", None, help)?;
        for service in &self.services {
            in_flight.gauge(&[("service", service.name.as_str())], service.in_flight)?;
        }
        let help = "Requests that wait: in the queue of a limit, or held for an instance to come";
        let mut waiting = encoder.gauge("requests_waiting", None, help)?;
        for service in &self.services {
            let name = ("service", service.name.as_str());
            waiting.gauge(&[name, ("reason", "queue")], u64::from(service.queued))?;
            waiting.gauge(&[name, ("reason", "hold")], u64::from(service.held))?;
        }
        let help = "Further tries under way, which the retry budget limits";
        let mut retries = encoder.gauge("retry_budget_used", None, help)?;
        for service in &self.services {
            let labels = [("service", service.name.as_str())];
            retries.gauge(&labels, u64::from(service.retries))?;
        }
        let help = "Further tries that may be under way now; none where the budget is off";
        let mut allowed = encoder.gauge("retry_budget_allowed", None, help)?;
        for service in &self.services {
            if let Some(most) = service.retries_allowed {
                allowed.gauge(&[("service", service.name.as_str())], most)?;
            }
        }
        Ok(())
    }

    fn encode_health(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Instances, by availability";
        let mut instances = encoder.gauge("instances", None, help)?;
        for service in &self.services {
            for (availability, count) in Availability::ALL.iter().zip(service.availability) {
                if count > 0 || *availability == Availability::Ready {
                    let name = ("service", service.name.as_str());
                    let labels = [name, ("availability", availability.as_str())];
                    instances.gauge(&labels, u64::from(count))?;
                }
            }
        }
        let help = "Whether a service is in panic (1): too few of its instances are available";
        let mut panic = encoder.gauge("panic", None, help)?;
        for service in &self.services {
            panic.gauge(
                &[("service", service.name.as_str())],
                u64::from(service.panic),
            )?;
        }
        Ok(())
    }

    fn encode_instances(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Requests that an instance was given and has done with";
        let mut requests = encoder.counter("instance_requests", None, help)?;
        for busy in &self.instances {
            requests.counter(&busy.labels(), busy.served)?;
        }
        let help = "Requests that an instance has in hand";
        let mut in_flight = encoder.gauge("instance_requests_in_flight", None, help)?;
        for busy in &self.instances {
            in_flight.gauge(&busy.labels(), u64::from(busy.in_flight))?;
        }
        let help = "Instances without figures of their own (telemetry.metrics.instances)";
        let mut omitted = encoder.gauge("instances_without_figures", None, help)?;
        omitted.gauge(&[], self.omitted)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn busy(id: usize, served: u64) -> Busy {
        let instance = Instance {
            service: "web".parse().unwrap(),
            id: format!("i-{id}").parse().unwrap(),
            address: std::net::SocketAddr::from(([127, 0, 0, 1], 80)).into(),
            scheme: Default::default(),
            weight: 1,
            zone: None,
            tags: Default::default(),
            metadata: Default::default(),
            ttl: None,
            check: Default::default(),
            generation: None,
        };
        Busy {
            instance: Arc::new(instance),
            served,
            in_flight: 0,
        }
    }

    proptest! {
        #[test]
        fn the_busiest_are_kept_and_shown_in_order_of_their_names(
            served in proptest::collection::vec(0..20_u64, 0..40),
            most in 0..50_usize,
        ) {
            let mut instances: Vec<_> =
                served.iter().enumerate().map(|(id, served)| busy(id, *served)).collect();
            let omitted = keep_busiest(&mut instances, most);
            prop_assert_eq!(instances.len() + omitted, served.len());
            prop_assert_eq!(instances.len(), most.min(served.len()));
            prop_assert!(instances.is_sorted_by(|a, b| a.name() < b.name()));
            let mut best = served;
            best.sort_unstable_by_key(|count| Reverse(*count));
            best.truncate(most);
            let kept: u64 = instances.iter().map(|busy| busy.served).sum();
            prop_assert_eq!(kept, best.iter().sum::<u64>());
        }
    }
}
