//! `telemetry`: what is told of requests, and where to.

use super::raw;
use super::report::{Path, Report};
use super::variants;
use crate::telemetry::{Metrics, Settings, access_log, explain, trace};

/// What is told.
pub(super) fn telemetry(raw: &raw::Telemetry, report: &mut Report) -> Settings {
    let path = Path::default().key("telemetry");
    let default = Settings::default();
    Settings {
        metrics: match &raw.metrics {
            None => default.metrics,
            Some(variants::MetricsOrOff::Off) => Metrics {
                requests: false,
                ..default.metrics
            },
            Some(variants::MetricsOrOff::Settings(raw)) => Metrics {
                instances: (raw.instances.as_ref()).map_or(default.metrics.instances, |raw| raw.0),
                ..default.metrics
            },
        },
        access_log: match &raw.access_log {
            None | Some(variants::AccessLog::Off) => None,
            Some(variants::AccessLog::Settings(raw)) => Some(access_log(raw)),
        },
        traces: match &raw.traces {
            None | Some(variants::Traces::Off) => None,
            Some(variants::Traces::Settings(raw)) => traces(raw, &path.key("traces"), report),
        },
        explain: match &raw.explain {
            None => default.explain,
            Some(variants::Explain::Off) => None,
            Some(variants::Explain::Settings(raw)) => Some(explain(raw)),
        },
    }
}

fn access_log(raw: &raw::AccessLogSettings) -> access_log::Settings {
    let default = access_log::Settings::default();
    access_log::Settings {
        to: raw.path.as_ref().map_or(default.to, |raw| raw.0.clone()),
        format: raw.format.as_ref().map_or(default.format, |raw| raw.0),
        fields: (raw.fields.as_ref()).map_or(default.fields, |raw| {
            raw.0.iter().map(|field| field.0.clone()).collect()
        }),
        sample: raw.sample.as_ref().map_or(default.sample, |raw| raw.0),
    }
}

fn traces(raw: &raw::TracesSettings, path: &Path, report: &mut Report) -> Option<trace::Settings> {
    let Some(endpoint) = &raw.endpoint else {
        if report.whole(path) {
            let message = "has no endpoint (expected for example endpoint: http://127.0.0.1:4318)";
            report.error(path, message);
        }
        return None;
    };
    Some(trace::Settings {
        endpoint: endpoint.0.clone(),
        sample: raw.sample.as_ref().map_or(trace::SAMPLE, |raw| raw.0),
        limit: raw.limit.as_ref().map_or(trace::LIMIT, |raw| raw.0),
        name: (raw.name.as_ref()).map_or_else(|| "callboard".to_owned(), |raw| raw.0.clone()),
    })
}

fn explain(raw: &raw::ExplainSettings) -> explain::Settings {
    let default = explain::Settings::default();
    explain::Settings {
        sample: raw.sample.as_ref().map_or(default.sample, |raw| raw.0),
        kept: raw.kept.as_ref().map_or(default.kept, |raw| raw.0),
        clients: (raw.clients.as_ref()).map_or(default.clients, |raw| {
            raw.0.iter().map(|network| network.0).collect()
        }),
    }
}
