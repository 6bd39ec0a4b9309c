//! Active checks as settings: what to ask an instance, how often, and how many answers it takes to
//! change one's mind. `health::probe` carries them out.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::MAX_TEXT;

/// Probing more often than this is load rather than a check.
pub const MIN_INTERVAL: Duration = Duration::from_millis(100);
/// Probing less often than this is no check.
pub const MAX_INTERVAL: Duration = Duration::from_secs(60 * 60);
/// A shorter time to answer fails on a healthy network.
pub const MIN_TIMEOUT: Duration = Duration::from_millis(10);
/// A longer time to answer ties up a probe slot.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(60);

/// A complete active check.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Check {
    /// What to ask.
    pub kind: CheckKind,
    /// The time between two probes; each is moved by up to a tenth either way.
    pub interval: Duration,
    /// How long one probe may take.
    pub timeout: Duration,
    /// How many failures in a row turn a passing instance unhealthy. At least 1.
    pub fall: u32,
    /// How many passes in a row turn an unhealthy instance ready. At least 1.
    pub rise: u32,
}

/// What a probe asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CheckKind {
    /// Does the port accept a connection?
    Tcp,
    /// Does a GET answer with an expected status?
    Http(HttpCheck),
    /// Does the standard health service say that it is serving
    /// ([`grpc.health.v1`](https://github.com/grpc/grpc/blob/master/doc/health-checking.md))?
    Grpc(GrpcCheck),
}

/// The details of a gRPC check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct GrpcCheck {
    /// The gRPC service asked for; empty is the server as a whole.
    pub service: String,
}

/// The details of an HTTP check.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HttpCheck {
    /// The path with its query, starting with `/`.
    pub path: String,
    /// The statuses that pass.
    pub expect: Vec<RangeInclusive<u16>>,
}

impl Default for Check {
    /// A TCP connect every 5 s with 1 s to answer, 3 failures to fall and 2 passes to rise.
    fn default() -> Self {
        Self {
            kind: CheckKind::Tcp,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(1),
            fall: 3,
            rise: 2,
        }
    }
}

impl HttpCheck {
    /// A check of `path` that any 2xx or 3xx passes.
    pub fn new(path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            expect: vec![200..=399],
        }
    }

    /// Whether `text` can be the path of a check. It goes into a request line, which it must not be
    /// able to end.
    pub fn is_path(text: &str) -> bool {
        let fits = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
        text.starts_with('/') && text.len() <= MAX_TEXT && text.bytes().all(fits)
    }

    /// Whether an answer with `status` passes.
    pub fn accepts(&self, status: u16) -> bool {
        self.expect.iter().any(|range| range.contains(&status))
    }
}

/// What a registration or a service's configuration says about checks; what it leaves out comes
/// from the more general setting.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct CheckOverride {
    /// `Some(false)` turns active checks off.
    pub enabled: Option<bool>,
    /// What to ask.
    pub kind: Option<CheckKind>,
    /// See [`Check::interval`].
    pub interval: Option<Duration>,
    /// See [`Check::timeout`].
    pub timeout: Option<Duration>,
    /// See [`Check::fall`].
    pub fall: Option<u32>,
    /// See [`Check::rise`].
    pub rise: Option<u32>,
}

impl CheckOverride {
    /// The override that turns active checks off.
    pub fn off() -> Self {
        Self {
            enabled: Some(false),
            ..Self::default()
        }
    }

    /// The check that results from laying this over `base`; `None` means no active check. An
    /// override that names anything but `enabled: false` turns checks on, with the built-in
    /// defaults where `base` is off.
    pub fn over(&self, base: Option<&Check>) -> Option<Check> {
        if self.enabled == Some(false) {
            return None;
        }
        if *self == Self::default() {
            return base.cloned();
        }
        let base = base.cloned().unwrap_or_default();
        Some(Check {
            kind: self.kind.clone().unwrap_or(base.kind),
            interval: self.interval.unwrap_or(base.interval),
            timeout: self.timeout.unwrap_or(base.timeout),
            fall: self.fall.unwrap_or(base.fall),
            rise: self.rise.unwrap_or(base.rise),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_override_leaves_the_base_alone() {
        let base = Check {
            fall: 7,
            ..Check::default()
        };
        assert_eq!(CheckOverride::default().over(Some(&base)), Some(base));
        assert_eq!(CheckOverride::default().over(None), None);
    }

    #[test]
    fn an_override_changes_what_it_names_and_keeps_the_rest() {
        let over = CheckOverride {
            kind: Some(CheckKind::Http(HttpCheck::new("/health"))),
            ..CheckOverride::default()
        };
        let base = Check {
            fall: 7,
            ..Check::default()
        };
        let merged = over.over(Some(&base)).unwrap();
        assert_eq!(merged.fall, 7);
        assert_eq!(merged.kind, CheckKind::Http(HttpCheck::new("/health")));
        assert!(over.over(None).is_some(), "naming a check turns checks on");
        assert_eq!(CheckOverride::off().over(Some(&base)), None);
    }
}
