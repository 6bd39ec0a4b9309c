//! How far something is that takes long, on a terminal.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// From when on it is told, and how often.
const EVERY: Duration = Duration::from_secs(1);

/// A line on standard error that is written over until it is done; nothing where that is no terminal.
pub(super) struct Progress<'a> {
    err: Option<&'a mut dyn Write>,
    told: Instant,
    is_shown: bool,
}

impl<'a> Progress<'a> {
    /// Begins at `now`.
    pub(super) fn new(err: &'a mut dyn Write, now: Instant) -> Self {
        Self {
            err: io::stderr().is_terminal().then_some(err),
            told: now,
            is_shown: false,
        }
    }

    /// At `now`, this share of `what` is done, 0 to 1.
    pub(super) fn tell(&mut self, what: &str, share: f64, now: Instant) {
        let Some(err) = &mut self.err else { return };
        if now.saturating_duration_since(self.told) < EVERY {
            return;
        }
        self.told = now;
        self.is_shown = true;
        // That it cannot be seen is no reason to stop.
        let _ = write!(err, "\r\x1b[K{what}: {:.0}%", (share * 100.0).floor());
        let _ = err.flush();
    }
}

/// Takes the line away.
impl Drop for Progress<'_> {
    fn drop(&mut self) {
        if let Some(err) = self.err.as_mut().filter(|_| self.is_shown) {
            let _ = write!(err, "\r\x1b[K");
            let _ = err.flush();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_now_and_then_and_taken_away_at_the_end() {
        let (mut err, now) = (Vec::new(), Instant::now());
        let mut progress = Progress {
            err: Some(&mut err),
            told: now,
            is_shown: false,
        };
        for (millis, share) in [(999, 0.01), (1_000, 0.126), (1_500, 0.2), (2_000, 0.999)] {
            progress.tell("it", share, now + Duration::from_millis(millis));
        }
        drop(progress);
        let told = String::from_utf8(err).unwrap();
        assert_eq!(told, "\r\x1b[Kit: 12%\r\x1b[Kit: 99%\r\x1b[K");
    }

    #[test]
    fn what_is_soon_done_is_not_told() {
        let (mut err, now) = (Vec::new(), Instant::now());
        let mut progress = Progress {
            err: Some(&mut err),
            told: now,
            is_shown: false,
        };
        progress.tell("it", 0.5, now);
        drop(progress);
        assert!(err.is_empty());
    }
}
