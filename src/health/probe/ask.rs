//! Carries out one probe. What all of them share lives here: one connector per kind of check,
//! however many instances there are.

use std::net::SocketAddr;
use std::time::Duration;

use pingora::protocols::l4::socket::SocketAddr as PingoraAddress;
use pingora_load_balancing::Backend;
use pingora_load_balancing::health_check::{HealthCheck, TcpHealthCheck};
use tokio::time::{Instant, timeout_at};

use super::failure::Failure;
use super::http::HttpAsker;
use crate::instance::check::{Check, CheckKind};
use crate::units::format_duration;

/// No probe takes longer, whatever its check says; keeps the arithmetic of time within its range.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// Asks instances what their checks want to know.
pub(super) struct Asker {
    tcp: TcpHealthCheck,
    http: HttpAsker,
}

/// The moment by which a probe must be through, and the timeout it stands for.
#[derive(Clone, Copy)]
pub(super) struct Deadline {
    at: Instant,
    timeout: Duration,
}

impl Asker {
    pub(super) fn new() -> Self {
        let mut tcp = TcpHealthCheck::default();
        // Its default of 1 s would cut short every check that allows more.
        tcp.peer_template.options.connection_timeout = None;
        Self {
            tcp,
            http: HttpAsker::new(),
        }
    }

    /// Asks once; takes no longer than the check's timeout.
    pub(super) async fn ask(&self, address: SocketAddr, check: &Check) -> Result<(), Failure> {
        let deadline = Deadline::after(check.timeout);
        match &check.kind {
            CheckKind::Tcp => self.connect(address, deadline).await,
            CheckKind::Http(http) => self.http.get(address, http, deadline).await,
        }
    }

    async fn connect(&self, address: SocketAddr, deadline: Deadline) -> Result<(), Failure> {
        let backend = Backend {
            addr: PingoraAddress::Inet(address),
            weight: 1,
            ext: http::Extensions::new(),
        };
        let act = format!("connect to {address}");
        deadline.bound(&act, self.tcp.check(&backend)).await
    }
}

impl Deadline {
    fn after(timeout: Duration) -> Self {
        let timeout = timeout.min(LONGEST_TIMEOUT);
        Self {
            at: Instant::now() + timeout,
            timeout,
        }
    }

    /// The moment itself.
    pub(super) fn at(self) -> Instant {
        self.at
    }

    /// Runs one step of a probe up to the deadline and puts what goes wrong into words; `act` is
    /// what the step does.
    pub(super) async fn bound<T>(
        self,
        act: &str,
        step: impl Future<Output = pingora::Result<T>>,
    ) -> Result<T, Failure> {
        match timeout_at(self.at, step).await {
            Ok(done) => done.map_err(|error| Failure::of(act, &error)),
            Err(_) => Err(Failure::Instance(format!(
                "{act}: timed out after {}",
                format_duration(self.timeout)
            ))),
        }
    }
}
