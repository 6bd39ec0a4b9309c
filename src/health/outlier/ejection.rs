//! The way of one instance out of traffic and back.
//!
//! ```text
//!            eject                     come_due
//!   in ────────────────▶ ejected ────────────────▶ on trial
//!   ▲                       ▲                        │  │
//!   │                       └────── fail_trial ──────┘  │
//!   └─────────────────── pass_trial ────────────────────┘
//! ```
//!
//! An ejection lasts `base_ejection` times how often the instance has been ejected, at most
//! `max_ejection`. Each `interval` that it then stays in takes one off that number (Envoy's
//! `eject_time_backoff`).

use std::time::{Duration, Instant};

use super::Outlier;
use super::tally::{Failure, Grounds};
use crate::health::availability::Ejected;
use crate::units::format_duration;

/// Where one instance is on its way. Pure: it holds no clock.
#[derive(Clone, Debug, Default)]
pub struct Ejection {
    phase: Phase,
    /// How often it was ejected, less what time made up for until it was last.
    times: u32,
    /// When it last came back.
    returned: Option<Instant>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    In,
    Ejected {
        until: Instant,
        why: String,
    },
    OnTrial {
        why: String,
    },
}

impl Ejection {
    /// Whether it is ejected or on trial.
    pub fn is_out(&self) -> bool {
        self.phase != Phase::In
    }

    /// Whether it is on trial: a single request decides what becomes of it.
    pub fn is_on_trial(&self) -> bool {
        matches!(self.phase, Phase::OnTrial { .. })
    }

    /// When its trial begins; `None` unless it is ejected.
    pub fn until(&self) -> Option<Instant> {
        match self.phase {
            Phase::Ejected { until, .. } => Some(until),
            _ => None,
        }
    }

    /// Since when it is back; `None` if it never was ejected or still is out.
    pub fn returned(&self) -> Option<Instant> {
        self.returned.filter(|_| !self.is_out())
    }

    /// What it means for the instance's availability.
    pub fn evidence(&self) -> Option<Ejected> {
        match &self.phase {
            Phase::In => None,
            Phase::Ejected { why, .. } => Some(Ejected {
                why: format!("ejected for {why}"),
                is_on_trial: false,
            }),
            Phase::OnTrial { why } => Some(Ejected {
                why: format!("on trial with one request at a time, after {why}"),
                is_on_trial: true,
            }),
        }
    }

    /// In, or on trial, => ejected.
    pub fn eject(&mut self, grounds: Grounds, settings: &Outlier, now: Instant) {
        if self.phase == Phase::In {
            let healthy = self.returned.map_or(Duration::ZERO, |returned| {
                now.saturating_duration_since(returned)
            });
            self.times = self.times.saturating_sub(whole(healthy, settings.interval));
        }
        // More would make no difference but the time to make up for it.
        let most = whole(settings.max_ejection, settings.base_ejection).saturating_add(1);
        self.times = self.times.saturating_add(1).min(most);
        let lasts = (settings.base_ejection)
            .saturating_mul(self.times)
            .min(settings.max_ejection);
        self.phase = Phase::Ejected {
            until: now + lasts,
            why: format!("{} after {grounds}", format_duration(lasts)),
        };
    }

    /// Ejected => on trial, if the time is up. Says whether it was.
    pub fn come_due(&mut self, now: Instant) -> bool {
        match &mut self.phase {
            Phase::Ejected { until, why } if *until <= now => {
                let why = format!("an ejection of {}", std::mem::take(why));
                self.phase = Phase::OnTrial { why };
                true
            }
            _ => false,
        }
    }

    /// On trial => in. Does nothing to one that is not on trial.
    pub fn pass_trial(&mut self, now: Instant) {
        if self.is_on_trial() {
            self.pardon(now);
        }
    }

    /// On trial => ejected, for longer. Does nothing to one that is not on trial.
    pub fn fail_trial(&mut self, failure: Failure, settings: &Outlier, now: Instant) {
        if self.is_on_trial() {
            self.eject(Grounds::Trial(failure), settings, now);
        }
    }

    /// Ejected or on trial => in: its place among the ejected is gone.
    pub fn pardon(&mut self, now: Instant) {
        self.phase = Phase::In;
        self.returned = Some(now);
    }
}

/// How many whole `part`s `all` has.
fn whole(all: Duration, part: Duration) -> u32 {
    let whole = all.as_nanos() / part.as_nanos().max(1);
    u32::try_from(whole).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BASE: Duration = Duration::from_secs(30);
    const GROUNDS: Grounds = Grounds::InARow {
        failure: Failure::Faulted,
        count: 5,
    };

    fn settings() -> Outlier {
        Outlier::default()
    }

    fn lasts(ejection: &Ejection, now: Instant) -> Duration {
        ejection.until().unwrap() - now
    }

    /// Ejected at `now` and come due; gives the moment it did.
    fn on_trial(ejection: &mut Ejection, now: Instant) -> Instant {
        ejection.eject(GROUNDS, &settings(), now);
        let due = ejection.until().unwrap();
        assert!(ejection.come_due(due));
        due
    }

    #[test]
    fn the_trial_begins_when_the_time_is_up_and_not_before() {
        let (mut ejection, now) = (Ejection::default(), Instant::now());
        assert_eq!(ejection.evidence(), None);
        ejection.eject(GROUNDS, &settings(), now);
        assert_eq!(lasts(&ejection, now), BASE);
        assert!(!ejection.come_due(now + BASE - Duration::from_nanos(1)));
        assert!(ejection.come_due(now + BASE));
        assert!(ejection.is_out() && ejection.is_on_trial());
        ejection.pass_trial(now + BASE);
        assert!(!ejection.is_out());
        assert_eq!(ejection.returned(), Some(now + BASE));
    }

    #[test]
    fn it_says_for_how_long_and_why() {
        let (mut ejection, now) = (Ejection::default(), Instant::now());
        ejection.eject(GROUNDS, &settings(), now);
        let why = |ejection: &Ejection| ejection.evidence().unwrap().why;
        let first = "ejected for 30s after 5 failed requests in a row";
        assert_eq!(why(&ejection), first);
        ejection.come_due(now + BASE);
        let trial = "on trial with one request at a time, after an ejection of 30s after 5 failed \
                     requests in a row";
        assert_eq!(why(&ejection), trial);
        ejection.fail_trial(Failure::Unanswered, &settings(), now + BASE);
        let second = "ejected for 1m after an unanswered request on trial";
        assert_eq!(why(&ejection), second);
    }

    #[test]
    fn each_failed_trial_makes_it_longer_up_to_the_longest() {
        let (mut ejection, mut now) = (Ejection::default(), Instant::now());
        now = on_trial(&mut ejection, now);
        for times in 2..20 {
            ejection.fail_trial(Failure::Faulted, &settings(), now);
            let expected = (BASE * times).min(settings().max_ejection);
            assert_eq!(lasts(&ejection, now), expected);
            now += expected;
            assert!(ejection.come_due(now));
        }
    }

    #[test]
    fn each_interval_of_health_makes_up_for_one_ejection() {
        let (mut ejection, mut now) = (Ejection::default(), Instant::now());
        for _ in 0..4 {
            now = on_trial(&mut ejection, now);
            ejection.pass_trial(now);
        }
        now += settings().interval * 2;
        ejection.eject(GROUNDS, &settings(), now);
        assert_eq!(lasts(&ejection, now), BASE * 3, "4 - 2 + 1");
        let due = ejection.until().unwrap();
        ejection.come_due(due);
        ejection.pass_trial(due);
        now = due + settings().interval * 100;
        ejection.eject(GROUNDS, &settings(), now);
        assert_eq!(lasts(&ejection, now), BASE);
    }

    #[test]
    fn a_long_series_of_failures_takes_no_longer_to_make_up_for_than_the_longest_ejection() {
        let (mut ejection, mut now) = (Ejection::default(), Instant::now());
        now = on_trial(&mut ejection, now);
        for _ in 0..1_000 {
            ejection.fail_trial(Failure::Faulted, &settings(), now);
            now = ejection.until().unwrap();
            ejection.come_due(now);
        }
        ejection.pass_trial(now);
        now += settings().interval * 11;
        ejection.eject(GROUNDS, &settings(), now);
        assert_eq!(lasts(&ejection, now), BASE);
    }

    #[test]
    fn the_outcome_of_a_trial_that_is_over_changes_nothing() {
        let (mut ejection, now) = (Ejection::default(), Instant::now());
        ejection.pass_trial(now);
        ejection.fail_trial(Failure::Faulted, &settings(), now);
        assert!(!ejection.is_out());
        ejection.eject(GROUNDS, &settings(), now);
        ejection.pass_trial(now);
        assert!(ejection.is_out());
    }

    proptest! {
        #[test]
        fn an_ejection_lasts_between_base_and_longest_and_ends(
            steps in prop::collection::vec((0u64..400, any::<bool>()), 0..60)
        ) {
            let (mut ejection, mut now) = (Ejection::default(), Instant::now());
            let settings = settings();
            for (seconds, well) in steps {
                now += Duration::from_secs(seconds);
                match (ejection.is_on_trial(), ejection.is_out()) {
                    (true, _) if well => ejection.pass_trial(now),
                    (true, _) => ejection.fail_trial(Failure::Faulted, &settings, now),
                    (false, true) => { ejection.come_due(now); }
                    (false, false) => ejection.eject(GROUNDS, &settings, now),
                }
                if let Some(until) = ejection.until() {
                    prop_assert!(until <= now + settings.max_ejection);
                }
            }
            if let Some(until) = ejection.until() {
                prop_assert!(ejection.come_due(until));
            }
            ejection.pass_trial(now);
            prop_assert!(!ejection.is_out());
        }
    }
}
