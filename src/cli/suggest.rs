//! Names that may have been meant.

use serde_json::Value;

use crate::client::{Call, Client, Error, segment};

use super::remote::Failure;

/// From where on two names are taken for the same with a slip; 1.0 is equal.
const SIMILAR: f64 = 0.6;

/// What a name is one of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Among<'a> {
    /// The services of a registry.
    Services,
    /// The instances of this service.
    Instances(&'a str),
    /// The routes that have a name.
    Routes,
}

/// The failure of a call about `name`; if the registry knows no such thing, with what may have been
/// meant.
pub(super) async fn failure(
    error: Error,
    client: &Client,
    name: &str,
    among: Among<'_>,
) -> Failure {
    match &error {
        Error::Refused { detail, .. } if error.is_unknown() => {
            let meant = meant(client, name, among).await;
            Failure::Unknown(format!("{detail}{meant}"))
        }
        _ => error.into(),
    }
}

/// What may have been meant by `name`, as words to put behind a message; nothing if nothing is like
/// it, or the registry does not say.
pub(super) async fn meant(client: &Client, name: &str, among: Among<'_>) -> String {
    let known = names(client, among).await;
    match (among, known.as_slice()) {
        (Among::Instances(service), []) => {
            let services = names(client, Among::Services).await;
            alike(service, &services)
        }
        (_, known) => alike(name, known),
    }
}

/// Those of a kind; none if the registry does not say.
async fn names(client: &Client, among: Among<'_>) -> Vec<String> {
    let (path, field) = match among {
        Among::Services => ("/api/v1/services".to_owned(), "service"),
        Among::Routes => ("/api/v1/routes".to_owned(), "name"),
        Among::Instances(service) => {
            let path = format!("/api/v1/services/{}/instances", segment(service));
            (path, "id")
        }
    };
    let Ok(answer) = client.call(Call::get(&path)).await else {
        return Vec::new();
    };
    let listed: Vec<Value> = client.read(&answer).unwrap_or_default();
    let names = listed.iter().filter_map(|one| one.get(field)?.as_str());
    names.map(str::to_owned).collect()
}

fn alike(name: &str, known: &[String]) -> String {
    let likeness = known
        .iter()
        .map(|known| (strsim::normalized_damerau_levenshtein(name, known), known));
    let similar = likeness.filter(|(likeness, known)| *likeness >= SIMILAR && *known != name);
    match similar.max_by(|a, b| a.0.total_cmp(&b.0)) {
        Some((_, best)) => format!("; did you mean {best}?"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_slip_is_recognized() {
        let known = ["orders", "orders-next", "payments"].map(str::to_owned);
        for (name, best) in [
            ("order", "; did you mean orders?"),
            ("oders", "; did you mean orders?"),
            ("paymenst", "; did you mean payments?"),
            ("orders-nxt", "; did you mean orders-next?"),
            ("web", ""),
            ("", ""),
        ] {
            assert_eq!(alike(name, &known), best);
        }
    }
}
