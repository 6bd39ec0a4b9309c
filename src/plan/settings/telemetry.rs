//! What is told of requests.

use crate::plan::words::{list, percent, switch};
use crate::telemetry::access_log::{self, Format, Target};
use crate::telemetry::{self, Metrics, explain, trace};

use super::secrets::without_secrets;
use super::{Place, Setting, put_fields};

impl Setting for telemetry::Settings {
    fn write(&self, mut at: Place<'_>) {
        put_fields!(at, self => telemetry::Settings {
            metrics, access_log: Part, traces: Part, explain: Part
        });
    }
}

/// A part that is on or off, with its settings below it.
struct Part<'a, T>(&'a Option<T>);

impl<T: Setting> Setting for Part<'_, T> {
    fn write(&self, mut at: Place<'_>) {
        at.is(switch(&self.0.is_some()));
        if let Some(settings) = self.0 {
            settings.write(at);
        }
    }
}

impl Setting for Metrics {
    fn write(&self, mut at: Place<'_>) {
        put_fields!(at, self => Metrics { instances; requests });
        at.is(switch(requests));
    }
}

impl Setting for access_log::Settings {
    fn write(&self, mut at: Place<'_>) {
        put_fields!(at, self => access_log::Settings {
            fields: list, sample: percent; to, format
        });
        match to {
            Target::Stdout => at.put("path", "stdout"),
            Target::File(path) => at.put("path", &path.display().to_string()),
        }
        let format = match format {
            Format::Json => "json",
            Format::Combined => "combined",
        };
        at.put("format", format);
    }
}

impl Setting for trace::Settings {
    fn write(&self, mut at: Place<'_>) {
        put_fields!(at, self => trace::Settings {
            endpoint: |url: &String| without_secrets(url), sample: percent, limit, name
        });
    }
}

impl Setting for explain::Settings {
    fn write(&self, mut at: Place<'_>) {
        put_fields!(at, self => explain::Settings { sample: percent, kept, clients: list });
    }
}
