//! Carries out one probe. What all of them share lives here: one connector per kind of check,
//! however many instances there are.

use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::failure::Failure;
use super::grpc::GrpcAsker;
use super::http::HttpAsker;
use crate::dial::Target;
use crate::instance::check::{Check, CheckKind};
use crate::units::format_duration;

/// No probe takes longer, whatever its check says; keeps the arithmetic of time within its range.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// A timer that comes this late means that this process stood still, or has far too much to do.
const LATE: Duration = Duration::from_millis(100);

/// Asks instances what their checks want to know.
pub(super) struct Asker {
    http: HttpAsker,
    grpc: GrpcAsker,
}

/// The moment by which a probe must be through, and the timeout it stands for.
#[derive(Clone, Copy)]
pub(super) struct Deadline {
    at: Instant,
    timeout: Duration,
}

impl Asker {
    pub(super) fn new() -> Self {
        Self {
            http: HttpAsker::new(),
            grpc: GrpcAsker::default(),
        }
    }

    /// Asks once; takes no longer than the check's timeout, unless this process stands still.
    pub(super) async fn ask(&self, target: &Target, check: &Check) -> Result<(), Failure> {
        let deadline = Deadline::after(check.timeout);
        match &check.kind {
            CheckKind::Tcp => self.connect(target, deadline).await,
            CheckKind::Http(http) => self.http.get(target, http, deadline).await,
            CheckKind::Grpc(grpc) => self.grpc.check(target, grpc, deadline).await,
        }
    }

    /// Connects, and shakes hands if the instance speaks TLS.
    async fn connect(&self, target: &Target, deadline: Deadline) -> Result<(), Failure> {
        let act = format!("connect to {}", target.address);
        deadline.bound(&act, self.http.connect(target)).await
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
    ///
    /// If the deadline was noticed late, the step gets as much time again as was lost: its answer may
    /// have come and wait to be read.
    pub(super) async fn bound<T>(
        self,
        act: &str,
        step: impl Future<Output = pingora::Result<T>>,
    ) -> Result<T, Failure> {
        let mut step = pin!(step);
        let mut done = timeout_at(self.at, &mut step).await;
        let late = self.at.elapsed();
        if done.is_err() && late >= LATE {
            let again = Instant::now() + late.min(self.timeout);
            done = timeout_at(again, step).await;
        }
        match done {
            Ok(done) => done.map_err(|error| Failure::of(act, &error)),
            Err(_) => Err(Failure::Instance(format!(
                "{act}: timed out after {}",
                format_duration(self.timeout)
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer that takes two turns to read, and comes while the process stands still.
    async fn through_a_standstill(standstill: Duration) -> Result<(), Failure> {
        let deadline = Deadline::after(Duration::from_millis(20));
        let (answer, answered) = tokio::sync::oneshot::channel();
        let step = async {
            let _ = answered.await;
            tokio::task::yield_now().await;
            Ok(())
        };
        let stands_still = async {
            std::thread::sleep(standstill);
            let _ = answer.send(());
        };
        tokio::join!(deadline.bound("GET", step), stands_still).0
    }

    #[tokio::test]
    async fn a_probe_does_not_fail_for_time_in_which_this_process_stood_still() {
        assert_eq!(through_a_standstill(2 * LATE).await, Ok(()));
    }

    #[tokio::test]
    async fn a_late_timer_does_not_wait_for_ever() {
        let deadline = Deadline::after(Duration::from_millis(20));
        let step = std::future::pending::<pingora::Result<()>>();
        let stands_still = async { std::thread::sleep(2 * LATE) };
        let (failed, ()) = tokio::join!(deadline.bound("GET", step), stands_still);
        let failed = failed.unwrap_err();
        let expected = "GET: timed out after 20ms".to_owned();
        assert_eq!(failed, Failure::Instance(expected));
    }
}
