//! How following goes, for operators and orchestrators.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Origin;

/// A handle to how following goes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Status(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    from: Origin,
    connected: bool,
    usable: bool,
    index: Option<u64>,
    heard: Instant,
    last_error: Option<String>,
}

/// How following goes at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The registry that is followed, or tried.
    pub from: Origin,
    /// Whether its changes arrive.
    pub connected: bool,
    /// Whether there is a membership to go by: a whole one that was mirrored since the start, or one
    /// that was there at the start.
    pub usable: bool,
    /// How far the mirrored membership is, as the registry it came from counts.
    pub index: Option<u64>,
    /// How long nothing was heard from any registry, or since the start; `None` while connected.
    pub stale_for: Option<Duration>,
    /// Why it is not connected.
    pub last_error: Option<String>,
}

impl Status {
    /// Nothing was heard yet; `usable` as in [`Report`].
    pub(super) fn new(from: Origin, usable: bool, now: Instant) -> Self {
        Self(Arc::new(Mutex::new(State {
            from,
            connected: false,
            usable,
            index: None,
            heard: now,
            last_error: None,
        })))
    }

    /// How it goes `now`.
    pub fn report(&self, now: Instant) -> Report {
        let state = self.state();
        Report {
            from: state.from.clone(),
            connected: state.connected,
            usable: state.usable,
            index: state.index,
            stale_for: (!state.connected).then(|| now.saturating_duration_since(state.heard)),
            last_error: state.last_error.clone(),
        }
    }

    pub(super) fn trying(&self, from: &Origin) {
        self.state().from = from.clone();
    }

    pub(super) fn heard(&self, now: Instant) {
        self.state().heard = now;
    }

    pub(super) fn connected(&self) {
        let mut state = self.state();
        state.connected = true;
        state.last_error = None;
    }

    pub(super) fn lost(&self, error: &impl ToString) {
        let mut state = self.state();
        state.connected = false;
        state.last_error = Some(error.to_string());
    }

    pub(super) fn mirrored(&self, index: Option<u64>) {
        let mut state = self.state();
        state.usable = true;
        state.index = index.or(state.index);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock leaves it half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_last_heard_goes_stale_while_nobody_is_connected() {
        let [a, b]: [Origin; 2] = ["http://a", "http://b"].map(|text| text.parse().unwrap());
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let status = Status::new(a.clone(), false, start);
        assert_eq!(
            status.report(after(3)).stale_for,
            Some(Duration::from_secs(3))
        );
        assert!(!status.report(start).usable);
        status.connected();
        status.heard(after(4));
        status.mirrored(Some(7));
        let report = status.report(after(9));
        assert_eq!((report.connected, report.stale_for), (true, None));
        assert_eq!((report.usable, report.index), (true, Some(7)));

        status.lost(&"closed");
        let report = status.report(after(9));
        assert_eq!(report.stale_for, Some(Duration::from_secs(5)));
        assert_eq!(report.last_error.as_deref(), Some("closed"));

        status.trying(&b);
        let report = status.report(after(9));
        assert_eq!((report.from, report.index), (b, Some(7)));
        assert!(report.usable);
    }
}
