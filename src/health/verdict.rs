//! How the answers of single probes add up to a verdict: `fall` failures in a row turn a passing
//! instance unhealthy, `rise` passes in a row turn it back.
//!
//! One lost packet must not cost an instance its traffic, and one lucky answer must not give it
//! back, so both turns take a run of answers (HAProxy's `fall` and `rise`, Envoy's
//! `unhealthy_threshold` and `healthy_threshold`). The exception is the first pass of an instance
//! that has yet to prove itself: there is no earlier verdict to overturn and every further probe
//! would only delay its start, so one pass admits it, as it does in Envoy.
//!
//! Other evidence can make one failure enough: a request that was refused a moment ago, or the lack
//! of any proof since a restart.
//!
//! ```text
//! unproven ── pass ──▶ passing ── failure ──▶ wavering ── fall in a row ──▶ failing
//!                         ▲ ◀───── pass ─────────┘                             │
//!                         └──────────────────── rise in a row ─────────────────┘
//! ```

use super::availability::Probes;
use crate::instance::check::Check;

/// The running verdict on one instance. Pure: it holds no clock and no socket.
#[derive(Clone, Debug)]
pub struct Verdict {
    probes: Probes,
    /// Answers in a row that contradict `probes`.
    streak: u32,
}

impl Verdict {
    /// A verdict before any probe: passing if the registration is to be believed, unproven if it
    /// must first answer.
    pub fn new(trusted: bool) -> Self {
        let probes = if trusted {
            Probes::Passing
        } else {
            Probes::Unproven { failure: None }
        };
        Self { probes, streak: 0 }
    }

    /// A verdict of failure from before any probe of ours.
    pub fn failing(failure: String) -> Self {
        Self {
            probes: Probes::Failing { failure },
            streak: 0,
        }
    }

    /// What the probes say so far.
    pub fn probes(&self) -> &Probes {
        &self.probes
    }

    /// Takes one answer into account and says whether [`Verdict::probes`] changed.
    pub fn record(&mut self, check: &Check, answer: Result<(), String>) -> bool {
        let next = match answer {
            Ok(()) => self.passed(check),
            Err(failure) => self.failed(check, failure),
        };
        let changed = next != self.probes;
        self.probes = next;
        changed
    }

    /// Whether the next answers may change the verdict, so that they should come sooner.
    pub fn is_unsettled(&self) -> bool {
        match self.probes {
            Probes::Off | Probes::Passing => false,
            Probes::Unproven { .. } | Probes::Wavering { .. } => true,
            Probes::Failing { .. } => self.streak > 0,
        }
    }

    /// Takes a failure into account that other evidence bears out, so that it needs no company. Says
    /// whether [`Verdict::probes`] changed.
    pub fn condemn(&mut self, failure: String) -> bool {
        let next = match self.probes {
            Probes::Unproven { .. } => Probes::Unproven {
                failure: Some(failure),
            },
            _ => Probes::Failing { failure },
        };
        self.streak = 0;
        let changed = next != self.probes;
        self.probes = next;
        changed
    }

    fn passed(&mut self, check: &Check) -> Probes {
        if let Probes::Failing { .. } = self.probes {
            self.streak += 1;
            if self.streak < check.rise {
                return self.probes.clone();
            }
        }
        self.streak = 0;
        Probes::Passing
    }

    fn failed(&mut self, check: &Check, failure: String) -> Probes {
        match self.probes {
            Probes::Unproven { .. } => Probes::Unproven {
                failure: Some(failure),
            },
            Probes::Failing { .. } => {
                self.streak = 0;
                Probes::Failing { failure }
            }
            Probes::Off | Probes::Passing | Probes::Wavering { .. } => {
                self.streak += 1;
                if self.streak < check.fall {
                    return Probes::Wavering { failure };
                }
                self.streak = 0;
                Probes::Failing { failure }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(fall: u32, rise: u32) -> Check {
        Check {
            fall,
            rise,
            ..Check::default()
        }
    }

    fn refused() -> Result<(), String> {
        Err("refused".to_owned())
    }

    fn failing(reason: &str) -> Probes {
        Probes::Failing {
            failure: reason.to_owned(),
        }
    }

    #[test]
    fn one_failure_that_other_evidence_bears_out_is_enough_unless_nothing_was_proven_yet() {
        let failing = Probes::Failing {
            failure: "refused".to_owned(),
        };
        let mut verdict = Verdict::new(true);
        assert!(verdict.condemn("refused".to_owned()));
        assert_eq!(*verdict.probes(), failing);
        assert!(!verdict.condemn("refused".to_owned()));
        assert_eq!(*Verdict::failing("refused".to_owned()).probes(), failing);

        let mut verdict = Verdict::new(false);
        assert!(verdict.condemn("refused".to_owned()));
        assert!(matches!(
            verdict.probes(),
            Probes::Unproven { failure: Some(_) }
        ));
    }

    #[test]
    fn a_believed_instance_starts_passing_and_settled() {
        let verdict = Verdict::new(true);
        assert_eq!(*verdict.probes(), Probes::Passing);
        assert!(!verdict.is_unsettled());
    }

    #[test]
    fn the_first_pass_admits_an_unproven_instance_whatever_rise_says() {
        let mut verdict = Verdict::new(false);
        assert!(verdict.is_unsettled());
        assert!(verdict.record(&check(1, 5), refused()));
        assert_eq!(
            *verdict.probes(),
            Probes::Unproven {
                failure: Some("refused".to_owned())
            },
            "failures leave it unproven, they do not make it unhealthy"
        );
        assert!(verdict.record(&check(1, 5), Ok(())));
        assert_eq!(*verdict.probes(), Probes::Passing);
    }

    #[test]
    fn failures_in_a_row_turn_the_verdict_and_a_pass_between_them_resets_the_count() {
        let check = check(2, 1);
        let mut verdict = Verdict::new(true);
        for _ in 0..3 {
            assert!(verdict.record(&check, refused()));
            assert!(matches!(verdict.probes(), Probes::Wavering { .. }));
            assert!(verdict.is_unsettled());
            assert!(verdict.record(&check, Ok(())));
            assert_eq!(*verdict.probes(), Probes::Passing);
        }
        verdict.record(&check, refused());
        verdict.record(&check, refused());
        assert_eq!(*verdict.probes(), failing("refused"));
    }

    #[test]
    fn a_fall_of_one_skips_wavering() {
        let mut verdict = Verdict::new(true);
        verdict.record(&check(1, 1), refused());
        assert_eq!(*verdict.probes(), failing("refused"));
    }

    #[test]
    fn passes_in_a_row_bring_a_failing_instance_back_and_ask_for_haste_meanwhile() {
        let check = check(1, 2);
        let mut verdict = Verdict::new(true);
        verdict.record(&check, refused());
        assert!(!verdict.is_unsettled(), "a settled failure needs no haste");
        assert!(!verdict.record(&check, Ok(())));
        assert!(verdict.is_unsettled());
        assert!(!verdict.record(&check, refused()), "same reason, no change");
        assert!(!verdict.is_unsettled(), "the run of passes broke");
        verdict.record(&check, Ok(()));
        assert!(verdict.record(&check, Ok(())));
        assert_eq!(*verdict.probes(), Probes::Passing);
    }

    #[test]
    fn the_reason_of_a_failing_instance_is_kept_current() {
        let check = check(1, 2);
        let mut verdict = Verdict::new(true);
        verdict.record(&check, refused());
        assert!(verdict.record(&check, Err("timed out".to_owned())));
        assert_eq!(*verdict.probes(), failing("timed out"));
    }

    /// The definition, read off the whole history each time: the last `fall` (or `rise`) answers
    /// since the last turn all contradict the verdict.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Naive {
        Unproven,
        Up,
        Down,
    }

    fn naive(trusted: bool, check: &Check, history: &[bool]) -> (Naive, usize) {
        let mut side = if trusted { Naive::Up } else { Naive::Unproven };
        let mut turned_at = 0;
        for now in 1..=history.len() {
            let since = &history[turned_at..now];
            let ends_in = |what: bool, times: u32| {
                since.len() >= times as usize
                    && since[since.len() - times as usize..]
                        .iter()
                        .all(|&passed| passed == what)
            };
            let next = match side {
                Naive::Unproven if ends_in(true, 1) => Naive::Up,
                Naive::Up if ends_in(false, check.fall) => Naive::Down,
                Naive::Down if ends_in(true, check.rise) => Naive::Up,
                same => same,
            };
            if next != side {
                side = next;
                turned_at = now;
            }
        }
        (side, turned_at)
    }

    proptest! {
        #[test]
        fn the_verdict_is_what_the_whole_history_says(
            trusted in any::<bool>(),
            fall in 1..5u32,
            rise in 1..5u32,
            history in prop::collection::vec(any::<bool>(), 0..60),
        ) {
            let check = check(fall, rise);
            let mut verdict = Verdict::new(trusted);
            let mut last_failure = None;
            for (i, &pass) in history.iter().enumerate() {
                let before = verdict.probes().clone();
                let answer = if pass { Ok(()) } else { Err(format!("failure {i}")) };
                last_failure = answer.clone().err().or(last_failure);
                let changed = verdict.record(&check, answer);
                prop_assert_eq!(changed, before != *verdict.probes());

                let (side, turned_at) = naive(trusted, &check, &history[..=i]);
                let doubted = !pass && turned_at <= i;
                let expected = match (side, last_failure.clone()) {
                    (Naive::Unproven, failure) => Probes::Unproven { failure },
                    (Naive::Up, Some(failure)) if doubted => Probes::Wavering { failure },
                    (Naive::Up, _) => Probes::Passing,
                    (Naive::Down, failure) => Probes::Failing { failure: failure.unwrap() },
                };
                prop_assert_eq!(verdict.probes(), &expected);

                let unsettled = match side {
                    Naive::Unproven => true,
                    Naive::Up => doubted,
                    Naive::Down => pass,
                };
                prop_assert_eq!(verdict.is_unsettled(), unsettled);
            }
        }
    }
}
