//! What became of requests, by service.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use crate::figures::histogram::Histogram;
use crate::figures::traffic::{CLASSES, Refused, Traffic};
use crate::grpc;
use crate::names::ServiceName;
use crate::telemetry::Telemetry;

use super::page::Encoder;

/// `callboard_requests_…` and what else is counted while requests are served. Services that had none
/// are left out.
pub(super) struct Requests {
    services: Vec<(ServiceName, Arc<Traffic>)>,
    telemetry: Arc<Telemetry>,
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.services).finish()
    }
}

impl Requests {
    pub(super) fn new(
        mut services: Vec<(ServiceName, Arc<Traffic>)>,
        telemetry: Arc<Telemetry>,
    ) -> Self {
        services.retain(|(_, traffic)| has_figures(traffic));
        Self {
            services,
            telemetry,
        }
    }
}

fn has_figures(traffic: &Traffic) -> bool {
    !traffic.routes().is_empty() || load(&traffic.ejections) > 0
}

fn load(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

impl Collector for Requests {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.encode_ends(&mut encoder)?;
        self.encode_times(&mut encoder)?;
        self.encode_counts(&mut encoder)?;
        self.encode_refusals(&mut encoder)?;
        self.encode_calls(&mut encoder)?;
        self.encode_others(&mut encoder)
    }
}

impl Requests {
    fn encode_ends(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help =
            "Requests, by the class of the status their client was told; none if it left first";
        let mut requests = encoder.counter("requests", None, help)?;
        for (service, traffic) in &self.services {
            for (route, counts) in &*traffic.routes() {
                for (class, count) in CLASSES.iter().zip(counts.read()) {
                    if count > 0 {
                        let labels = [("service", service.as_str()), ("route", route)];
                        let [service, route] = labels;
                        requests.counter(&[service, route, ("code", class)], count)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn encode_times(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        type Of = fn(&Traffic) -> &Histogram;
        let histograms: [(&str, &str, Of); 3] = [
            (
                "request_duration",
                "From a request's arrival to the end of its answer",
                |traffic| &traffic.durations,
            ),
            (
                "upstream_duration",
                "From the beginning of a try to the head of its instance's answer",
                |traffic| &traffic.upstream,
            ),
            (
                "added_latency",
                "From a request's arrival to the head of its answer, less the try that won: what \
                 callboard, waiting for an instance and tries that failed have added",
                |traffic| &traffic.added,
            ),
        ];
        for (name, help, of) in histograms {
            let mut all = encoder.histogram(name, help)?;
            for (service, traffic) in &self.services {
                let reading = of(traffic).read();
                if reading.count() > 0 {
                    all.histogram(&[("service", service.as_str())], &reading)?;
                }
            }
        }
        Ok(())
    }

    fn encode_counts(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        type Of = fn(&Traffic) -> &AtomicU64;
        let counters: [(&str, &str, Of); 4] = [
            (
                "request_retries",
                "Further tries of requests that a try has failed",
                |traffic| &traffic.retries,
            ),
            (
                "request_retries_denied",
                "Further tries that were not made because the retry budget was used up",
                |traffic| &traffic.retries_denied,
            ),
            (
                "request_hedges",
                "Requests of which a second instance was asked because the first took long",
                |traffic| &traffic.hedges,
            ),
            (
                "ejections",
                "Ejections of instances that failed their requests",
                |traffic| &traffic.ejections,
            ),
        ];
        for (name, help, of) in counters {
            let mut all = encoder.counter(name, None, help)?;
            for (service, traffic) in &self.services {
                all.counter(&[("service", service.as_str())], load(of(traffic)))?;
            }
        }
        Ok(())
    }

    fn encode_refusals(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Requests that got no instance, by what kept them from one";
        let mut refused = encoder.counter("requests_refused", None, help)?;
        for (service, traffic) in &self.services {
            for why in Refused::ALL {
                let labels = [("service", service.as_str()), ("reason", why.as_str())];
                refused.counter(&labels, traffic.refused(why))?;
            }
        }
        Ok(())
    }

    fn encode_calls(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Calls of gRPC, by the status they ended with; CANCELLED if their client left";
        let mut calls = encoder.counter("grpc_responses", None, help)?;
        for (service, traffic) in &self.services {
            for (code, count) in grpc::Code::all().zip(traffic.calls()) {
                if count > 0 {
                    let labels = [("service", service.as_str()), ("grpc_code", code.as_str())];
                    calls.counter(&labels, count)?;
                }
            }
        }
        Ok(())
    }

    fn encode_others(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Requests that led to no service, by the class of their status";
        let mut unrouted = encoder.counter("requests_unrouted", None, help)?;
        for (class, count) in CLASSES.iter().zip(self.telemetry.unrouted().read()) {
            if count > 0 || *class == "4xx" {
                unrouted.counter(&[("code", class)], count)?;
            }
        }
        let help = "What was refused before it was a request, by the status it was answered with";
        let mut malformed = encoder.counter("requests_malformed", None, help)?;
        for (status, count) in self.telemetry.malformed().read() {
            malformed.counter(&[("code", &status.to_string())], count)?;
        }
        let help = "Copies of requests for mirrors that were to be made and were not";
        let mut unmirrored = encoder.counter("mirrors_dropped", None, help)?;
        unmirrored.counter(&[], load(self.telemetry.unmirrored()))
    }
}
