//! An explanation as it is kept.

use std::mem::size_of;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{Method, StatusCode, Version};

use crate::address::Address;
use crate::cluster::explain::{Candidate, Sight};
use crate::names::InstanceId;
use crate::telemetry::record::{Attempt, Outcome, Record};

use super::notes::{Notes, Tried};

/// The most bytes that are kept of a target, a host or an error.
const KEPT: usize = 1_024;

/// Why a request went where it went. Times are counted from its arrival.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// What the request is called.
    pub id: Box<str>,
    /// When it came.
    pub arrived: SystemTime,
    /// Whether its client asked for this.
    pub is_asked: bool,
    /// From its arrival to the end of its answer.
    pub took: Duration,
    /// To the head of its answer.
    pub head: Option<Duration>,
    /// Who sent it.
    pub client: IpAddr,
    /// Its method.
    pub method: Method,
    /// The host that it named.
    pub host: Option<String>,
    /// The path, and the names of the query's parameters.
    pub target: String,
    /// The version of HTTP.
    pub version: Version,
    /// What it was answered.
    pub status: Option<StatusCode>,
    /// Why callboard answered it itself: an error type of RFC 9209 and what happened.
    pub error: Option<(Box<str>, String)>,
    /// The route it came by.
    pub route: Option<Box<str>>,
    /// The service that led to.
    pub service: Option<Box<str>>,
    /// The attempts.
    pub tries: Vec<Try>,
    /// All else that was noted.
    pub notes: Notes,
}

/// One attempt.
#[derive(Clone, Debug)]
pub struct Try {
    /// The instance.
    pub instance: InstanceId,
    /// Where it is.
    pub address: Address,
    /// When it was picked.
    pub began: Duration,
    /// When there was a connection, and whether it had been kept.
    pub connected: Option<(Duration, bool)>,
    /// When it ended.
    pub ended: Option<Duration>,
    /// What came of it.
    pub outcome: Outcome,
    /// What was noted of it.
    pub noted: Tried,
}

impl Explanation {
    /// Puts together what is known of a request.
    pub fn new(record: &Record<'_>, mut notes: Notes, is_asked: bool) -> Self {
        let mut noted = std::mem::take(&mut notes.tried).into_iter();
        let tries = (record.attempts.iter())
            .map(|attempt| Try::new(attempt, noted.next().unwrap_or_default()));
        Self {
            id: record.id.into(),
            arrived: record.arrived,
            is_asked,
            took: record.took,
            head: record.head,
            client: record.client,
            method: record.method.clone(),
            host: record.host.map(beginning),
            target: without_values(record.target),
            version: record.version,
            status: record.status,
            error: (record.failure).map(|failure| (failure.kind.into(), beginning(failure.detail))),
            route: record.route.map(Into::into),
            service: record.service.map(Into::into),
            tries: tries.collect(),
            notes,
        }
    }

    /// The registry's revision that its first pick went by.
    pub fn revision(&self) -> Option<u64> {
        self.sights().next().map(|sight| sight.revision)
    }

    /// What its picks saw.
    pub fn sights(&self) -> impl Iterator<Item = &Sight> {
        let refused = self.notes.refused.as_ref();
        (self.tries.iter())
            .filter_map(|attempt| attempt.noted.sight.as_ref())
            .chain(refused.and_then(|refused| refused.sight.as_ref()))
    }

    /// About how many bytes it takes.
    pub(super) fn size(&self) -> usize {
        /// What an allocation, or a short text of its own, comes to.
        const PIECE: usize = 64;
        let of_sights = (self.sights())
            .map(|sight| sight.candidates.len() * (size_of::<Candidate>() + PIECE))
            .sum::<usize>();
        let of_tries = (self.tries.iter())
            .map(|attempt| {
                let said = match &attempt.outcome {
                    Outcome::Failed { detail, .. } => detail.len(),
                    _ => 0,
                };
                let next = attempt.noted.next.as_ref().map_or(0, String::len);
                size_of::<Try>() + said + next + PIECE
            })
            .sum::<usize>();
        let of_route = self.notes.routed.as_ref().map_or(0, |routed| {
            let why = &routed.why;
            let matched = why.matched.iter().map(|text| text.len() + PIECE);
            let passed = (why.passed_over.iter()).map(|passed| passed.because.len() + 2 * PIECE);
            let sides = why.sides.len() * 2 * PIECE;
            matched.chain(passed).sum::<usize>() + sides + why.strip.len()
        });
        let texts = [self.host.as_deref(), Some(&*self.target)];
        let of_texts = texts.into_iter().flatten().map(str::len).sum::<usize>();
        size_of::<Self>() + self.id.len() + of_texts + of_sights + of_tries + of_route + 8 * PIECE
    }
}

impl Try {
    fn new(attempt: &Attempt, noted: Tried) -> Self {
        Self {
            instance: attempt.instance.id.clone(),
            address: attempt.instance.address.clone(),
            began: attempt.began,
            connected: attempt.connected,
            ended: attempt.ended,
            outcome: match &attempt.outcome {
                Outcome::Failed { kind, detail } => Outcome::Failed {
                    kind,
                    detail: beginning(detail),
                },
                outcome => outcome.clone(),
            },
            noted,
        }
    }
}

/// The beginning of `text`.
fn beginning(text: &str) -> String {
    if text.len() <= KEPT {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(KEPT / 4).collect();
    short.push('…');
    short
}

/// A target with the values of its query's parameters left out: they may be secrets.
fn without_values(target: &str) -> String {
    let Some((path, query)) = target.split_once('?') else {
        return beginning(target);
    };
    let mut kept = beginning(path);
    let mut separator = '?';
    for pair in query.split('&') {
        let Some((name, value)) = pair.split_once('=') else {
            // It may be a value without a name.
            kept.push(separator);
            kept.push_str(if pair.is_empty() { "" } else { "*" });
            separator = '&';
            continue;
        };
        if kept.len() + name.len() > 2 * KEPT {
            kept.push('…');
            break;
        }
        kept.push(separator);
        kept.push_str(name);
        kept.push_str(if value.is_empty() { "=" } else { "=*" });
        separator = '&';
    }
    kept
}

/// For those who test what keeps explanations.
#[cfg(test)]
pub(super) fn example(id: &str, target: &str) -> Explanation {
    let record = Record {
        id,
        arrived: SystemTime::UNIX_EPOCH,
        took: Duration::from_millis(3),
        head: None,
        client: IpAddr::from([10, 0, 0, 1]),
        peer: None,
        secured: false,
        method: &Method::GET,
        target,
        stripped: 0,
        host: Some("shop"),
        version: Version::HTTP_11,
        headers: &http::HeaderMap::new(),
        status: Some(StatusCode::OK),
        answer: None,
        received: 0,
        sent: 0,
        route: None,
        service: Some("web"),
        failure: None,
        code: None,
        trace: None,
        attempts: &[],
        client_left: false,
    };
    Explanation::new(&record, Notes::default(), false)
}

impl Explanation {
    /// The one it stands for when lists are cut by service.
    pub fn is_of(&self, service: &str) -> bool {
        self.service.as_deref() == Some(service)
    }

    /// The instance that was asked last.
    pub fn instance(&self) -> Option<&InstanceId> {
        self.tries.last().map(|attempt| &attempt.instance)
    }
}

/// Shared by the ring and whoever reads it.
pub(super) type Shared = Arc<Explanation>;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_values_of_a_query_are_not_kept() {
        for (target, kept) in [
            ("/x", "/x"),
            ("/x?token=s3cret&flag=&q=1", "/x?token=*&flag=&q=*"),
            ("/x?s3cret", "/x?*"),
            ("/x?a=b=s3cret?s3cret", "/x?a=*"),
            ("/x?", "/x?"),
            ("/x?&a=s3cret", "/x?&a=*"),
        ] {
            assert_eq!(without_values(target), kept, "{target}");
        }
    }

    proptest! {
        #[test]
        fn whatever_the_target_is_what_is_kept_of_it_is_bounded(target in "/[a-zé?&=]{0,6000}") {
            let kept = without_values(&target);
            prop_assert!(kept.len() <= 8 * KEPT);
            prop_assert!(example("x", &target).size() <= 16 * KEPT);
        }
    }
}
