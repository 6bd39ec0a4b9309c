//! What a service's requests and instances go by.

use crate::balance::Balance;
use crate::cluster::policy::{
    Hedge, Hold, Limits, Panic, Policy, ProxyVersion, Retry, RetryOn, Reuse, SlowStart, Timeouts,
};
use crate::health::outlier::Outlier;
use crate::instance::check::{Check, CheckKind};
use crate::plan::words::{bytes, duration, list, or_off, percent, size, statuses};

use super::{Place, Setting, put_fields};

impl Setting for Policy {
    fn write(&self, mut at: Place<'_>) {
        put_fields!(at, self => Policy {
            timeouts,
            retry,
            outlier,
            panic_threshold: percent,
            panic,
            slow_start,
            load_reports,
            prefer_zone,
            limits,
            hold,
            max_body: off_or(bytes),
            reuse,
            drain,
            tls,
            proxy_protocol,
            check: off_or(check_text);
            balance
        });
        let Balance {
            algorithm,
            hash_on,
            bounded_load,
        } = balance;
        at.put("balance", algorithm.as_str());
        at.put("hash_on", &hash_on.to_string());
        at.put("bounded_load", bounded_load);
    }
}

impl Setting for Timeouts {
    fn write(&self, mut at: Place<'_>) {
        put_fields!(at, self => Timeouts {
            connect, first_byte, between_bytes, request, total, idle, tunnel
        });
    }
}

impl Setting for Retry {
    fn write(&self, mut at: Place<'_>) {
        put_fields!(at, self => Retry {
            attempts,
            budget: off_or(percent),
            budget_min,
            on,
            buffer: size,
            hedge
        });
    }
}

impl Setting for RetryOn {
    fn write(&self, mut at: Place<'_>) {
        let Self {
            connect,
            reset,
            timeout,
            statuses: answers,
        } = self;
        let causes = [(connect, "connect"), (reset, "reset"), (timeout, "timeout")];
        let causes = causes.into_iter().filter(|(on, _)| **on);
        let causes = causes.map(|(_, cause)| cause.to_owned());
        at.is(list(causes.chain(statuses(answers))));
    }
}

impl Setting for Hedge {
    fn write(&self, mut at: Place<'_>) {
        match self {
            Self::After(time) => at.is(format_args!("after {}", duration(time))),
            Self::Percentile(share) => {
                at.is(format_args!(
                    "after p{}",
                    percent(share).trim_end_matches('%')
                ));
            }
        }
    }
}

impl Setting for Outlier {
    fn write(&self, mut at: Place<'_>) {
        put_fields!(at, self => Outlier {
            consecutive_failures,
            failure_ratio: off_or(percent),
            min_requests,
            interval,
            base_ejection,
            max_ejection,
            max_ejected: percent
        });
    }
}

impl Setting for SlowStart {
    fn write(&self, mut at: Place<'_>) {
        put_fields!(at, self => SlowStart { window, aggression });
    }
}

impl Setting for Limits {
    fn write(&self, mut at: Place<'_>) {
        put_fields!(at, self => Limits {
            in_flight, in_flight_per_instance, queue, queue_timeout, adaptive
        });
    }
}

impl Setting for Hold {
    fn write(&self, mut at: Place<'_>) {
        let Self { timeout, max } = self;
        let timeout = duration(timeout);
        at.is(format_args!("{{timeout: {timeout}, max: {max}}}"));
    }
}

impl Setting for Panic {
    fn write(&self, mut at: Place<'_>) {
        at.is(match self {
            Self::Spread => "spread",
            Self::Fail => "fail",
        });
    }
}

impl Setting for Reuse {
    fn write(&self, mut at: Place<'_>) {
        at.is(match self {
            Self::Safe => "safe",
            Self::Always => "always",
        });
    }
}

impl Setting for ProxyVersion {
    fn write(&self, mut at: Place<'_>) {
        at.is(match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        });
    }
}

/// A check as one value: what is asked belongs together.
pub(in crate::plan) fn check_text(check: &Check) -> String {
    let Check {
        kind,
        interval,
        timeout,
        fall,
        rise,
    } = check;
    let kind = match kind {
        CheckKind::Tcp => "tcp: {}".to_owned(),
        CheckKind::Http(http) => {
            let expect = list(statuses(&http.expect));
            format!("http: {{path: {}, expect: {expect}}}", http.path)
        }
        CheckKind::Grpc(grpc) if grpc.service.is_empty() => "grpc: {}".to_owned(),
        CheckKind::Grpc(grpc) => format!("grpc: {{service: {}}}", grpc.service),
    };
    let [interval, timeout] = [interval, timeout].map(duration);
    format!("{{{kind}, interval: {interval}, timeout: {timeout}, fall: {fall}, rise: {rise}}}")
}

fn off_or<T>(write: impl Fn(&T) -> String) -> impl Fn(&Option<T>) -> String {
    move |value| or_off(value.as_ref(), &write)
}
