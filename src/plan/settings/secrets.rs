//! Settings whose values are not to be told, only that they are others.

use std::sync::Arc;

use crate::api::access::{Access, Token};
use crate::config::Config;

/// The keys whose value is another, and is not to be told.
pub(in crate::plan) fn secrets(old: &Config, new: &Config) -> Vec<String> {
    let mut keys = Vec::new();
    if let (Some(old), Some(new)) = (&old.telemetry.traces, &new.telemetry.traces)
        && old.endpoint != new.endpoint
        && without_secrets(&old.endpoint) == without_secrets(&new.endpoint)
    {
        keys.push("telemetry.traces.endpoint".to_owned());
    }
    let (old, new) = (&old.registry, &new.registry);
    keys.extend(other_tokens(&old.access, &new.access));
    if let (Some(old), Some(new)) = (&old.pull, &new.pull) {
        let both = old.token.is_some() && new.token.is_some();
        if both && old.token != new.token {
            keys.push("registry.pull.token".to_owned());
        }
        if old.ca.len() == new.ca.len() && old.ca != new.ca {
            keys.push("registry.pull.ca".to_owned());
        }
    }
    keys
}

/// A URL without what may let in whoever reads it: a user with a password, and a query.
pub(super) fn without_secrets(url: &str) -> String {
    let (url, query) = url.split_once('?').unwrap_or((url, ""));
    let query = if query.is_empty() { "" } else { "?…" };
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://…@{host}{path}{query}"),
        None => format!("{url}{query}"),
    }
}

fn other_tokens(old: &Access, new: &Access) -> Vec<String> {
    let (Access::Tokens(old), Access::Tokens(new)) = (old, new) else {
        return Vec::new();
    };
    let is_other = |token: &&Arc<Token>| {
        let mut same_name = old.iter().filter(|before| before.name() == token.name());
        same_name.clone().next().is_some()
            && same_name.all(|before| before.digest() != token.digest())
    };
    let key = |token: &Arc<Token>| format!("registry.auth.tokens.{}", token.name());
    new.iter().filter(is_other).map(key).collect()
}
