//! Tokens for tests: the secret follows from the name.

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::Callboard;

/// The secret of the token with this name.
pub(crate) fn secret(name: &str) -> String {
    format!("secret-of-{name}-0123456789")
}

/// The line of `registry:` that configures tokens, each a name and its scopes.
pub(crate) fn auth(tokens: &[(&str, &str)]) -> String {
    let tokens = tokens.iter().map(|(name, scopes)| {
        let hash = Sha256::digest(secret(name));
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{{name: {name}, sha256: {hash}, scopes: [{scopes}]}}")
    });
    let tokens: Vec<_> = tokens.collect();
    format!("auth: {{tokens: [{}]}}", tokens.join(", "))
}

/// The status, and the problem's type if it is one.
pub(crate) type Outcome = (u16, Option<String>);

/// Sends a call with the token of this name.
pub(crate) async fn call(
    callboard: &Callboard,
    token: Option<&str>,
    (method, path, body): (&str, &str, Value),
) -> reqwest::Response {
    let url = format!("{}{path}", callboard.registry);
    let mut request = (callboard.client).request(method.parse().unwrap(), url);
    if let Some(name) = token {
        request = request.bearer_auth(secret(name));
    }
    if !body.is_null() {
        request = request.json(&body);
    }
    request.send().await.unwrap()
}

/// What comes of a call.
pub(crate) async fn outcome(
    callboard: &Callboard,
    token: Option<&str>,
    of: (&str, &str, Value),
) -> Outcome {
    let reply = call(callboard, token, of).await;
    let status = reply.status().as_u16();
    if status < 400 {
        return (status, None);
    }
    let problem: Value = reply.json().await.unwrap();
    let kind = problem["type"].as_str().unwrap();
    (
        status,
        kind.strip_prefix("urn:callboard:problem:")
            .map(str::to_owned),
    )
}
