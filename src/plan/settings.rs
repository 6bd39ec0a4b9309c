//! A configuration written out: every setting with its value under its key.
//!
//! Each struct is taken apart by name, so that a setting that is added to one does not compile until
//! it is written out here. Secrets are not: of a token, its name and scopes, and that it is another.

mod policy;
mod proxy;
mod registry;
mod secrets;
mod telemetry;
mod tls;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use crate::cluster::policy::{Admission, Policy};
use crate::config::Config;
use crate::route::{DefaultRoutes, Routing};

use super::words::{duration, switch};

pub(super) use policy::check_text;
pub(super) use secrets::secrets;

/// Values by key.
pub(super) type Settings = BTreeMap<String, String>;

/// Everything but the policies of services and the routes.
pub(super) fn planes(config: &Config) -> Settings {
    let Config {
        proxy,
        registry,
        telemetry,
        policies,
        routing,
    } = config;
    let mut settings = Settings::new();
    let mut at = Place::top(&mut settings);
    at.put("proxy", proxy);
    at.put("proxy.zone", policies.zone.as_deref().unwrap_or("none"));
    at.put("registry", registry);
    let admission = match policies.admission {
        Admission::Probe => "probe",
        Admission::Trust => "trust",
    };
    at.put("registry.admission", admission);
    at.put("telemetry", telemetry);
    let Routing {
        routes: _,
        default_routes,
    } = routing;
    at.put("default_routes", &switch(&default_routes.is_some()));
    if let Some(DefaultRoutes { host_suffix }) = default_routes {
        at.put("host_suffix", host_suffix);
    }
    settings
}

/// One service's policy, or the default one.
pub(super) fn policy(policy: &Policy) -> Settings {
    let mut settings = Settings::new();
    policy.write(Place::top(&mut settings));
    settings
}

/// What can be written out: a value, or a struct of such.
trait Setting {
    fn write(&self, at: Place<'_>);
}

/// Where a setting is written to.
struct Place<'a> {
    key: String,
    into: &'a mut Settings,
}

impl<'a> Place<'a> {
    fn top(into: &'a mut Settings) -> Self {
        let key = String::new();
        Self { key, into }
    }

    /// Writes what has this name in this place.
    fn put(&mut self, name: impl Display, setting: &(impl Setting + ?Sized)) {
        setting.write(self.below(name));
    }

    fn below(&mut self, name: impl Display) -> Place<'_> {
        let key = match self.key.as_str() {
            "" => name.to_string(),
            key => format!("{key}.{name}"),
        };
        Place {
            key,
            into: self.into,
        }
    }

    /// Writes this for the place itself.
    fn is(&mut self, value: impl Display) {
        self.into.insert(self.key.clone(), value.to_string());
    }
}

/// Writes a struct out, each field under its own name: `field: how` as `how` makes of it, and those
/// behind the semicolon not at all, but has them ready to be written by hand. It has to name them all.
macro_rules! put_fields {
    (
        $at:ident, $from:expr => $name:path {
            $($field:ident $(: $how:expr)?),* $(,)? $(; $($own:ident),+)?
        }
    ) => {
        let $name { $($field,)* $($($own,)+)? } = $from;
        $($at.put(stringify!($field), put_fields!(@ $field $(, $how)?));)*
    };
    (@ $field:ident) => { $field };
    (@ $field:ident, $how:expr) => { &$how($field) };
}
use put_fields;

/// None is `off`.
impl<T: Setting> Setting for Option<T> {
    fn write(&self, mut at: Place<'_>) {
        match self {
            Some(setting) => setting.write(at),
            None => at.is("off"),
        }
    }
}

impl<T: Setting + ?Sized> Setting for Arc<T> {
    fn write(&self, at: Place<'_>) {
        T::write(self, at);
    }
}

macro_rules! values {
    ($($kind:ty: $how:expr;)+) => {
        $(impl Setting for $kind {
            fn write(&self, mut at: Place<'_>) {
                at.is($how(self));
            }
        })+
    };
}

values! {
    str: str::to_owned;
    String: String::clone;
    u32: u32::to_string;
    u64: u64::to_string;
    usize: usize::to_string;
    f64: f64::to_string;
    bool: switch;
    Duration: duration;
}
