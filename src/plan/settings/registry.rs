//! The control plane's settings.

use crate::api::access::{Access, Scope, Token};
use crate::api::guard::Rates;
use crate::config::{ControlPlane, Store};
use crate::plan::words::{bytes, list, or_off};
use crate::pull;
use crate::registry::store::sqlite::{self, Sync};
use crate::registry::{AllowedPath, Limits, Rules};

use super::{Place, Setting, put_fields};

impl Setting for ControlPlane {
    fn write(&self, mut at: Place<'_>) {
        put_fields!(at, self => ControlPlane {
            store; listen, rules, pull, access, rates, connections, tls
        });
        at.put("listen", &listen.to_string());
        let Rules {
            ttl,
            min_ttl,
            max_ttl,
            allow,
            allow_paths,
            // Where callboard itself listens is no setting of this part.
            own: _,
            own_paths: _,
            limits,
        } = rules;
        at.put("lease.ttl", ttl);
        at.put("lease.min", min_ttl);
        at.put("lease.max", max_ttl);
        let paths = allow_paths.iter().map(|path| match path {
            AllowedPath::Socket(path) | AllowedPath::Folder(path) => {
                format!("unix:{}", path.display())
            }
        });
        let networks = allow.iter().map(ToString::to_string);
        at.put("allow", &list(networks.chain(paths)));
        at.put("limits", limits);
        at.put("limits", rates);
        at.put("limits.connections", connections);
        if let Some(pull) = pull {
            at.put("pull", pull);
        }
        at.put("auth", access);
        at.put("tls", if tls.is_some() { "on" } else { "none" });
        if let Some(tls) = tls {
            at.put("tls", tls);
        }
    }
}

impl Setting for Store {
    fn write(&self, mut at: Place<'_>) {
        match self {
            Self::Memory => at.put("kind", "memory"),
            Self::Sqlite(settings) => {
                at.put("kind", "sqlite");
                at.put("sqlite", settings);
            }
        }
    }
}

impl Setting for sqlite::Settings {
    fn write(&self, mut at: Place<'_>) {
        put_fields!(at, self => sqlite::Settings { history, max_size: bytes; path, sync });
        at.put("path", &path.display().to_string());
        let sync = match sync {
            Sync::Full => "full",
            Sync::Normal => "normal",
        };
        at.put("sync", sync);
    }
}

impl Setting for Limits {
    fn write(&self, mut at: Place<'_>) {
        put_fields!(at, self => Limits { services, instances, instances_per_service });
    }
}

impl Setting for Rates {
    fn write(&self, mut at: Place<'_>) {
        let Self {
            per_token,
            per_peer,
        } = self;
        at.put(
            "per_token",
            &or_off(per_token.as_ref(), ToString::to_string),
        );
        at.put("per_peer", &or_off(per_peer.as_ref(), ToString::to_string));
    }
}

impl Setting for pull::Settings {
    fn write(&self, mut at: Place<'_>) {
        put_fields!(at, self => pull::Settings { from: list; token, ca });
        // What it is must not be told, nor can it be told from what it was.
        at.put("token", if token.is_some() { "given" } else { "none" });
        at.put("ca", &format!("{} certificates", ca.len()));
    }
}

impl Setting for Access {
    fn write(&self, mut at: Place<'_>) {
        match self {
            Self::Anybody => at.is("none"),
            Self::Tokens(tokens) => {
                at.is("tokens");
                for token in tokens {
                    at.put(format_args!("tokens.{}", token.name()), token);
                }
            }
        }
    }
}

impl Setting for Token {
    fn write(&self, mut at: Place<'_>) {
        let scopes = self.scopes().iter().map(|scope| match scope {
            Scope::Admin => "admin".to_owned(),
            Scope::Read => "read".to_owned(),
            Scope::Service(name) => format!("register:{name}"),
            Scope::Services(prefix) => format!("register:{prefix}*"),
        });
        at.put("scopes", &list(scopes));
    }
}
