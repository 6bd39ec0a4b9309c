//! Why there is no certificate yet.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use instant_acme::{Error, Problem};

/// The problem of an account that the server does not know (RFC 8555, section 6.7).
const NO_ACCOUNT: &str = "urn:ietf:params:acme:error:accountDoesNotExist";

/// What kept a try from succeeding.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    /// For operators: what failed, and what the server said.
    pub(super) what: String,
    pub(super) kind: Kind,
    /// How long the server asks to be left alone.
    pub(super) asked: Option<Duration>,
}

/// What can be done about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The server did not see that callboard answers to the name; it may, in another way.
    Unproven,
    /// The account is not known at the server; another one is needed.
    NoAccount,
    /// Nothing but trying again.
    Other,
}

impl Failure {
    pub(super) fn new(kind: Kind, what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            kind,
            asked: None,
        }
    }

    /// The same, of a server that would not look in this way, unless it knows the account no more.
    pub(super) fn unproven(mut self) -> Self {
        if self.kind == Kind::Other {
            self.kind = Kind::Unproven;
        }
        self
    }

    /// The same, of a step that was about `what`.
    pub(super) fn during(self, what: &str) -> Self {
        Self {
            what: format!("{what}: {}", self.what),
            ..self
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (kind, what, asked) = match &error {
            Error::Api(problem) if problem.r#type.as_deref() == Some(NO_ACCOUNT) => {
                (Kind::NoAccount, said(problem), None)
            }
            Error::Api(problem) => (Kind::Other, said(problem), None),
            Error::Timeout(Some(at)) => {
                let asked = at.saturating_duration_since(Instant::now());
                (Kind::Other, error.to_string(), Some(asked))
            }
            _ => (Kind::Other, error.to_string(), None),
        };
        Self { what, kind, asked }
    }
}

/// Does `work`, whose panic is a failure like others: the library gives up on some answers of a server in
/// this way, and there are other names.
pub(super) async fn unhurt<T>(
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let outcome = AssertUnwindSafe(work).catch_unwind().await;
    outcome.unwrap_or_else(|_| {
        let what = "the server's answer makes no sense (see the panic above)";
        Err(Failure::new(Kind::Other, what))
    })
}

/// What the server says, as one line.
pub(super) fn said(problem: &Problem) -> String {
    let text = problem.to_string();
    let text = text.strip_prefix("API error: ").unwrap_or(&text);
    // It is the server's text, and goes to the log.
    let line = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(1_000)
        .collect::<String>();
    format!("the server says: {line}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(kind: &str, detail: &str) -> Problem {
        let json = serde_json::json!({"type": kind, "detail": detail});
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn an_account_that_is_not_known_is_told_from_other_problems() {
        let unknown = Failure::from(Error::Api(problem(NO_ACCOUNT, "who?")));
        assert_eq!(unknown.kind, Kind::NoAccount);
        let limited = problem("urn:ietf:params:acme:error:rateLimited", "too many");
        let limited = Failure::from(Error::Api(limited));
        assert_eq!(limited.kind, Kind::Other);
        assert_eq!(
            limited.during("order").what,
            "order: the server says: too many (urn:ietf:params:acme:error:rateLimited)"
        );
    }

    #[tokio::test]
    async fn a_panic_is_a_failure() {
        assert_eq!(unhurt(async { Ok(1) }).await.unwrap(), 1);
        let hurt = unhurt(async { panic!("as the library would") });
        assert_eq!(Result::<(), _>::unwrap_err(hurt.await).kind, Kind::Other);
    }

    #[test]
    fn what_the_server_says_stays_one_short_line() {
        let said = said(&problem("t", &"a\r\n\x1b[31m".repeat(1_000)));
        assert!(!said.contains(char::is_control));
        assert!(said.len() < 1_100);
    }
}
