//! The fields that a line of JSON may have.

use std::fmt;
use std::str::FromStr;

use http::HeaderName;

/// One field of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "they are described where they are configured, see conf/proxy.yaml"
)]
pub enum Field {
    Time,
    RequestId,
    Client,
    Peer,
    Method,
    Scheme,
    Host,
    Path,
    Query,
    Target,
    Protocol,
    Status,
    Duration,
    HeadDuration,
    UpstreamDuration,
    Received,
    Sent,
    Route,
    Service,
    Instance,
    Address,
    Attempts,
    Retries,
    Error,
    ErrorDetail,
    TraceId,
    SpanId,
    Tls,
    UserAgent,
    Referer,
    GrpcStatus,
    /// A header of the request.
    Header(HeaderName),
    /// A header of the answer.
    Answer(HeaderName),
}

/// A word that names no field.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} names no field")]
pub struct UnknownField(pub String);

/// The words for all fields but headers.
const NAMES: [(&str, Field); 31] = [
    ("time", Field::Time),
    ("request_id", Field::RequestId),
    ("client", Field::Client),
    ("peer", Field::Peer),
    ("method", Field::Method),
    ("scheme", Field::Scheme),
    ("host", Field::Host),
    ("path", Field::Path),
    ("query", Field::Query),
    ("target", Field::Target),
    ("protocol", Field::Protocol),
    ("status", Field::Status),
    ("duration", Field::Duration),
    ("head_duration", Field::HeadDuration),
    ("upstream_duration", Field::UpstreamDuration),
    ("received", Field::Received),
    ("sent", Field::Sent),
    ("route", Field::Route),
    ("service", Field::Service),
    ("instance", Field::Instance),
    ("address", Field::Address),
    ("attempts", Field::Attempts),
    ("retries", Field::Retries),
    ("error", Field::Error),
    ("error_detail", Field::ErrorDetail),
    ("trace_id", Field::TraceId),
    ("span_id", Field::SpanId),
    ("tls", Field::Tls),
    ("user_agent", Field::UserAgent),
    ("referer", Field::Referer),
    ("grpc_status", Field::GrpcStatus),
];

impl Field {
    /// What is logged unless fields are chosen. Queries, and headers that may quote them, are not
    /// among it: they hold what is secret too often.
    pub const DEFAULT: [Self; 24] = [
        Self::Time,
        Self::RequestId,
        Self::Client,
        Self::Method,
        Self::Scheme,
        Self::Host,
        Self::Path,
        Self::Protocol,
        Self::Status,
        Self::Duration,
        Self::HeadDuration,
        Self::UpstreamDuration,
        Self::Received,
        Self::Sent,
        Self::Route,
        Self::Service,
        Self::Instance,
        Self::Address,
        Self::Attempts,
        Self::Error,
        Self::ErrorDetail,
        Self::GrpcStatus,
        Self::TraceId,
        Self::UserAgent,
    ];

    /// The words for all fields but headers.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|&(name, _)| name)
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Answer(name) => write!(f, "answer:{name}"),
            field => {
                let named = NAMES.iter().find(|(_, known)| known == field);
                f.write_str(named.map_or("", |(name, _)| name))
            }
        }
    }
}

impl FromStr for Field {
    type Err = UnknownField;

    fn from_str(text: &str) -> Result<Self, UnknownField> {
        let unknown = || UnknownField(text.to_owned());
        let header = |name: &str| name.parse::<HeaderName>().map_err(|_| unknown());
        if let Some(name) = text.strip_prefix("header:") {
            return header(name).map(Self::Header);
        }
        if let Some(name) = text.strip_prefix("answer:") {
            return header(name).map(Self::Answer);
        }
        let found = NAMES.iter().find(|(name, _)| *name == text);
        found.map(|(_, field)| field.clone()).ok_or_else(unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_called_what_it_is_read_from() {
        for name in Field::names().chain(["header:x-a", "answer:etag"]) {
            assert_eq!(name.parse::<Field>().unwrap().to_string(), name);
        }
        assert_eq!(
            "header:X-Forwarded-For"
                .parse::<Field>()
                .unwrap()
                .to_string(),
            "header:x-forwarded-for"
        );
    }

    #[test]
    fn what_is_no_field_is_refused() {
        for name in ["", "Status", "header:", "header:a b", "answer:\"", "header"] {
            assert_eq!(name.parse::<Field>(), Err(UnknownField(name.into())));
        }
    }
}
