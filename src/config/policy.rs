//! Policies: the built-in one, with `defaults` laid over it key by key, and over that each of
//! `services`.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::handshakes;
use super::raw;
use super::report::{Path, Report};
use super::retry;
use super::scalar::{Name, Scalar, quoted};
use super::shape::{Section, Several};
use super::variants::{
    Check as RawCheck, Hold as RawHold, Outlier as RawOutlier, Retry as RawRetry,
};
use crate::balance::{Algorithm, Balance};
use crate::cluster::policy::{Admission, Hold, Limits, Policies, Policy, SlowStart, Timeouts};
use crate::instance::check::{Check, CheckKind, CheckOverride, GrpcCheck, HttpCheck};
use crate::units::format_duration;

/// Every service's policy.
pub(super) fn policies(
    defaults: &raw::Policy,
    services: &[(String, Section<raw::Policy>)],
    admission: Admission,
    zone: Option<String>,
    host_suffix: &str,
    report: &mut Report,
) -> Policies {
    let path = Path::default().key("defaults");
    let default = laid_over(&Policy::default(), defaults, host_suffix, &path, report);

    let all = Path::default().key("services");
    let mut by_name = HashMap::new();
    for (key, Section(raw)) in services {
        let path = all.key(key);
        let policy = laid_over(&default, raw, host_suffix, &path, report);
        warn_of_unused_hashing(&policy.balance, raw, &path, report);
        match Name::parse(key).map(|Name(name)| by_name.entry(name)) {
            Ok(Entry::Vacant(entry)) => {
                entry.insert(policy);
            }
            Ok(Entry::Occupied(entry)) => {
                let message = format!(
                    "{} is {:?} once more; upper and lower case are the same (expected once)",
                    quoted(key),
                    entry.key()
                );
                report.error_at_key(&path, message);
            }
            Err(wrong) => {
                report.error_at_key(&path, format!("{wrong} (expected {})", Name::EXPECTED));
            }
        }
    }
    Policies {
        default,
        services: by_name,
        admission,
        zone,
    }
}

/// `base` with what `raw` names in its place.
fn laid_over(
    base: &Policy,
    raw: &raw::Policy,
    host_suffix: &str,
    path: &Path,
    report: &mut Report,
) -> Policy {
    Policy {
        balance: Balance {
            algorithm: (raw.balance.as_ref()).map_or(base.balance.algorithm, |raw| raw.0),
            hash_on: (raw.hash_on.as_ref())
                .map_or_else(|| base.balance.hash_on.clone(), |raw| raw.0.clone()),
            bounded_load: (raw.bounded_load.as_ref())
                .map_or(base.balance.bounded_load, |raw| raw.0),
        },
        check: match &raw.check {
            None => base.check.clone(),
            Some(RawCheck::Off) => None,
            Some(RawCheck::Settings(raw)) => {
                let path = path.key("check");
                check_over(base.check.as_ref(), raw, &path, report)
            }
        },
        timeouts: timeouts_over(base.timeouts, &raw.timeouts.0),
        retry: match &raw.retry {
            None => base.retry.clone(),
            Some(RawRetry::Off) => retry::off(&base.retry),
            Some(RawRetry::Settings(raw)) => {
                retry::retry_over(&base.retry, raw, &path.key("retry"), report)
            }
        },
        reuse: raw.reuse.as_ref().map_or(base.reuse, |raw| raw.0),
        outlier: match &raw.outlier {
            None => base.outlier,
            Some(RawOutlier::Off) => None,
            Some(RawOutlier::Settings(raw)) => {
                let base = base.outlier.unwrap_or_default();
                Some(retry::outlier_over(base, raw, &path.key("outlier"), report))
            }
        },
        panic: raw.panic.as_ref().map_or(base.panic, |raw| raw.0),
        slow_start: raw
            .slow_start
            .as_ref()
            .map_or(base.slow_start, |raw| SlowStart {
                window: (raw.0.window.as_ref()).map_or(base.slow_start.window, |raw| raw.0),
                aggression: (raw.0.aggression.as_ref())
                    .map_or(base.slow_start.aggression, |raw| raw.0),
            }),
        load_reports: (raw.load_reports.as_ref()).map_or(base.load_reports, |raw| raw.0),
        prefer_zone: raw
            .prefer_zone
            .as_ref()
            .map_or(base.prefer_zone, |raw| raw.0),
        limits: limits_over(&base.limits, &raw.limits.0),
        hold: match &raw.hold {
            None => base.hold,
            Some(RawHold::Off) => None,
            Some(RawHold::Settings(raw)) => {
                let base = base.hold.unwrap_or_default();
                Some(Hold {
                    timeout: raw.timeout.as_ref().map_or(base.timeout, |raw| raw.0),
                    max: raw.max.as_ref().map_or(base.max, |raw| raw.0),
                })
            }
        },
        max_body: raw.max_body.as_ref().map_or(base.max_body, |raw| raw.0),
        panic_threshold: (raw.panic_threshold.as_ref()).map_or(base.panic_threshold, |raw| raw.0),
        drain: (raw.drain.as_ref()).map_or(base.drain, |raw| raw.0),
        tls: handshakes::client_over(&base.tls, &raw.tls.0, host_suffix, &path.key("tls"), report),
        proxy_protocol: (raw.proxy_protocol.as_ref()).map_or(base.proxy_protocol, |raw| raw.0),
    }
}

fn timeouts_over(base: Timeouts, raw: &raw::Timeouts) -> Timeouts {
    Timeouts {
        connect: raw.connect.as_ref().map_or(base.connect, |raw| raw.0),
        first_byte: raw.first_byte.as_ref().map_or(base.first_byte, |raw| raw.0),
        between_bytes: (raw.between_bytes.as_ref()).map_or(base.between_bytes, |raw| raw.0),
        request: raw.request.as_ref().map_or(base.request, |raw| raw.0),
        total: raw.total.as_ref().map_or(base.total, |raw| raw.0),
        idle: raw.idle.as_ref().map_or(base.idle, |raw| raw.0),
        tunnel: raw.tunnel.as_ref().map_or(base.tunnel, |raw| raw.0),
    }
}

fn limits_over(base: &Limits, raw: &raw::InFlightLimits) -> Limits {
    Limits {
        in_flight: raw.in_flight.as_ref().map_or(base.in_flight, |raw| raw.0),
        in_flight_per_instance: (raw.in_flight_per_instance.as_ref())
            .map_or(base.in_flight_per_instance, |raw| raw.0),
        queue: raw.queue.as_ref().map_or(base.queue, |raw| raw.0),
        queue_timeout: (raw.queue_timeout.as_ref()).map_or(base.queue_timeout, |raw| raw.0),
        adaptive: raw.adaptive.as_ref().map_or(base.adaptive, |raw| raw.0),
    }
}

fn check_over(
    base: Option<&Check>,
    raw: &raw::CheckSettings,
    path: &Path,
    report: &mut Report,
) -> Option<Check> {
    let kind = match (&raw.tcp, &raw.http, &raw.grpc) {
        (None, None, None) => None,
        (Some(_), None, None) => Some(CheckKind::Tcp),
        (None, Some(Section(http)), None) => {
            let base = base.map(|base| &base.kind);
            http_over(base, http, &path.key("http"), report).map(CheckKind::Http)
        }
        (None, None, Some(Section(grpc))) => {
            let service = grpc.service.as_ref().map(|raw| raw.0.clone());
            Some(CheckKind::Grpc(GrpcCheck {
                service: service.unwrap_or_default(),
            }))
        }
        _ => {
            let message = "has more than one of tcp, http and grpc (expected one of them)";
            report.error(path, message);
            None
        }
    };
    let over = CheckOverride {
        enabled: None,
        kind,
        interval: raw.interval.as_ref().map(|raw| raw.0),
        timeout: raw.timeout.as_ref().map(|raw| raw.0),
        fall: raw.fall.as_ref().map(|raw| raw.0),
        rise: raw.rise.as_ref().map(|raw| raw.0),
    };
    let check = over.over(base);
    if let Some(check) = &check
        && check.timeout > check.interval
        && report.whole(path)
    {
        let message = format!(
            "a probe may take {}, longer than the interval of {} (expected at most the interval)",
            format_duration(check.timeout),
            format_duration(check.interval)
        );
        report.warning(path, message);
    }
    check
}

/// An HTTP check that takes what it does not name from `base`, if that is one.
fn http_over(
    base: Option<&CheckKind>,
    raw: &raw::HttpCheck,
    path: &Path,
    report: &mut Report,
) -> Option<HttpCheck> {
    let base = match base {
        Some(CheckKind::Http(base)) => Some(base),
        _ => None,
    };
    let Some(check_path) =
        (raw.path.as_ref().map(|raw| raw.0.clone())).or_else(|| base.map(|base| base.path.clone()))
    else {
        if report.whole(path) {
            report.error(path, "has no path (expected for example path: /health)");
        }
        return None;
    };
    let mut check = HttpCheck::new(check_path);
    match &raw.expect {
        Some(Several(statuses)) if !statuses.is_empty() => {
            check.expect = statuses.iter().map(|raw| raw.0.clone()).collect();
        }
        Some(_) if report.whole(&path.key("expect")) => {
            report.error(
                &path.key("expect"),
                "is empty (expected a status or a range of them such as 200-399)",
            );
        }
        _ => check.expect = base.map_or(check.expect, |base| base.expect.clone()),
    }
    Some(check)
}

/// What only the hash algorithms use does nothing for a service that uses another. In `defaults` it
/// waits for the services that do.
fn warn_of_unused_hashing(balance: &Balance, raw: &raw::Policy, path: &Path, report: &mut Report) {
    if matches!(balance.algorithm, Algorithm::RingHash | Algorithm::Maglev) {
        return;
    }
    for (key, given) in [
        ("hash_on", raw.hash_on.is_some()),
        ("bounded_load", raw.bounded_load.is_some()),
    ] {
        if given {
            report.warning(
                &path.key(key),
                "has no effect on this service (expected with balance: ring_hash or maglev)",
            );
        }
    }
}
