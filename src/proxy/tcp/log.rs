//! Connections as the access log has them: a line when one has ended.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::instance::Instance;
use crate::names::ServiceName;
use crate::proxy::relay::{Ended, Side};
use crate::telemetry::Telemetry;
use crate::telemetry::access_log;

use super::Ends;
use super::counts::Reason;

/// A connection that is not over.
pub(super) struct Log<'a> {
    telemetry: &'a Telemetry,
    ends: Ends,
    secured: bool,
    accepted: (SystemTime, Instant),
}

/// What is known of a connection that an instance took.
pub(super) struct Passed {
    pub(super) instance: Arc<Instance>,
    /// How long connecting to it took.
    pub(super) took: Duration,
    /// Bytes from the client, and to it.
    pub(super) bytes: (u64, u64),
}

impl<'a> Log<'a> {
    pub(super) fn new(telemetry: &'a Telemetry, ends: Ends, secured: bool) -> Self {
        Self {
            telemetry,
            ends,
            secured,
            accepted: (SystemTime::now(), Instant::now()),
        }
    }

    /// The two ends of the connection.
    pub(super) fn ends(&self) -> Ends {
        self.ends
    }

    /// It is for no service.
    pub(super) fn unrouted(&self) {
        let detail = "no service is configured for the name it asks for";
        self.write(access_log::Connection {
            error: Some("no_route"),
            detail: Some(detail),
            ..self.whole()
        });
    }

    /// It was not passed on.
    pub(super) fn refused(&self, service: &ServiceName, why: Reason) {
        self.write(access_log::Connection {
            service: Some(service.as_str()),
            error: Some(why.as_str()),
            detail: Some(&why.to_string()),
            ..self.whole()
        });
    }

    /// It was passed on; `None` is that it had to end.
    pub(super) fn ended(&self, service: &ServiceName, passed: &Passed, how: Option<&Ended>) {
        let (error, detail) = match how {
            Some(Ended::Closed) => (None, None),
            Some(Ended::Broken(Side::Client, error)) => (Some("client_gone"), Some(error)),
            Some(Ended::Broken(Side::Instance, error)) => {
                (Some("connection_terminated"), Some(error))
            }
            Some(Ended::Silent) => (Some("connection_read_timeout"), None),
            None => (Some("drained"), None),
        };
        let detail = detail.map(ToString::to_string);
        self.write(access_log::Connection {
            service: Some(service.as_str()),
            instance: Some(&passed.instance),
            connecting: Some(passed.took),
            received: passed.bytes.0,
            sent: passed.bytes.1,
            error,
            detail: detail.as_deref(),
            ..self.whole()
        });
    }

    fn whole(&self) -> access_log::Connection<'static> {
        access_log::Connection {
            accepted: self.accepted.0,
            took: self.accepted.1.elapsed(),
            connecting: None,
            client: self.ends.client,
            secured: self.secured,
            received: 0,
            sent: 0,
            service: None,
            instance: None,
            error: None,
            detail: None,
        }
    }

    fn write(&self, connection: access_log::Connection<'_>) {
        self.telemetry.access_log().connection(&connection);
    }
}
