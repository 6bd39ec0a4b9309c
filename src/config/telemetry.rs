//! `telemetry`: what is told of requests, and where to.

use http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, SET_COOKIE};

use super::raw;
use super::report::{Path, Report};
use super::variants;
use crate::telemetry::access_log::Field;
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
            Some(variants::AccessLog::Settings(raw)) => {
                Some(access_log(raw, &path.key("access_log"), report))
            }
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

fn access_log(
    raw: &raw::AccessLogSettings,
    path: &Path,
    report: &mut Report,
) -> access_log::Settings {
    let default = access_log::Settings::default();
    let fields = raw.fields.iter().flat_map(|fields| &fields.0);
    for (position, field) in fields.clone().enumerate() {
        let place = path.key("fields").item(position);
        if fields
            .clone()
            .take(position)
            .any(|other| other.0 == field.0)
        {
            report.error(
                &place,
                format!("{} is given twice (expected once)", field.0),
            );
        } else if holds_secrets(&field.0) {
            let what = "what clients sign in with";
            report.warning(
                &place,
                format!("{} writes {what} to the access log", field.0),
            );
        }
    }
    access_log::Settings {
        to: raw.path.as_ref().map_or(default.to, |raw| raw.0.clone()),
        format: raw.format.as_ref().map_or(default.format, |raw| raw.0),
        fields: (raw.fields.as_ref()).map_or(default.fields, |raw| {
            raw.0.iter().map(|field| field.0.clone()).collect()
        }),
        sample: raw.sample.as_ref().map_or(default.sample, |raw| raw.0),
    }
}

/// Whether whoever reads a line with this field can pass for the client.
fn holds_secrets(field: &Field) -> bool {
    match field {
        Field::Header(name) => [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE].contains(name),
        Field::Answer(name) => *name == SET_COOKIE,
        _ => false,
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

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use crate::config::scalar::{LogField, Scalar};

    use super::*;

    fn told(fields: &str) -> Vec<String> {
        let text = format!("telemetry: {{access_log: {{fields: [{fields}]}}}}");
        let told = match Config::parse("f", &text) {
            Ok(loaded) => loaded.warnings,
            Err(errors) => errors,
        };
        told.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn fields_of_the_access_log_that_are_none_are_told_with_what_was_meant() {
        let told = told("time, stauts, status, time, colour");
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[0].contains("\"stauts\" is unknown, did you mean status? (expected time,"));
        assert!(
            told[1].contains("fields[3]: time is given twice"),
            "{told:?}"
        );
        assert!(
            told[2].contains("\"colour\" is unknown (expected time,"),
            "{told:?}"
        );
    }

    #[test]
    fn fields_that_hold_secrets_are_warned_of() {
        assert_eq!(told("time, header:X-A, answer:ETag"), [""; 0]);
        let told = told("header:Cookie, answer:set-cookie");
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].contains("header:cookie writes what clients sign in with"));
    }

    #[test]
    fn every_field_is_among_what_is_expected() {
        for name in Field::names() {
            assert!(LogField::EXPECTED.contains(&format!("{name},")), "{name}");
        }
    }
}
