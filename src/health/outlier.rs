//! Outlier ejection: taking instances out that fail the requests they are given, whatever their
//! probes say.
//!
//! Trip conditions, whichever comes first ([`tally`]):
//! * `consecutive_failures` requests in a row that got no answer, or that the instance answered with a
//!   failure; the two are counted apart;
//! * at least `failure_ratio` of the requests of the last `interval` failed, and these were at least
//!   `min_requests`. A comparison with the other instances (Envoy's success rate) is left out: among
//!   two to four of them a standard deviation says nothing.
//!
//! Recovery conditions ([`ejection`]): the time is up, and then one request that is let through alone
//! is answered without a failure (the half-open circuit of M. Nygard, "Release It!"; linkerd2-proxy's
//! failure accrual has the same probation). Each ejection lasts longer than the one before, and health
//! is credited with time (Envoy's `base_ejection_time` and `max_ejection_time`).
//!
//! Instances fail together when what they all depend on does; taking them out helps nobody then. So
//! only a share of a service's instances may be out at a time, [`quota`].
//!
//! Ejection and probes know nothing of each other: a passed probe ends no ejection, since answering
//! requests is what the instance was ejected for.
//!
//! Architecture invariant: counting takes no lock and is done by the request's own thread; only what
//! changes an instance's standing, an ejection, a trial's end, is left to the control plane.

pub mod ejection;
mod recent;
pub mod tally;

use std::time::Duration;

/// When an instance is ejected, and for how long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outlier {
    /// Failures in a row until an instance is ejected; connections that fail and answers that do are
    /// counted apart.
    pub consecutive_failures: u32,
    /// The share of failed requests within `interval`, 0 to 1, at which an instance is ejected;
    /// `None` looks at failures in a row only.
    pub failure_ratio: Option<f64>,
    /// How many requests `interval` must have seen before their share of failures counts.
    pub min_requests: u32,
    /// The window of `failure_ratio`, and the time of health that makes up for one ejection.
    pub interval: Duration,
    /// How long the first ejection lasts; each further one lasts as long once more.
    pub base_ejection: Duration,
    /// The longest an ejection lasts.
    pub max_ejection: Duration,
    /// The share of a cluster's instances, 0 to 1, that may be ejected at a time; see [`quota`].
    pub max_ejected: f64,
}

impl Default for Outlier {
    fn default() -> Self {
        Self {
            consecutive_failures: 5,
            failure_ratio: Some(0.5),
            min_requests: 20,
            interval: Duration::from_secs(10),
            base_ejection: Duration::from_secs(30),
            max_ejection: Duration::from_secs(300),
            max_ejected: 0.5,
        }
    }
}

/// How many of `present` instances may be ejected at a time: the share `max_ejected`, rounded down,
/// but always one, and never all of them. So the only instance of a service is never ejected: there is
/// nobody to send its requests to instead, and an error of its own says more than one of the proxy's.
pub fn quota(settings: &Outlier, present: usize) -> usize {
    let most = present.saturating_sub(1);
    // A share such as 0.29 of 100 comes out a hair below 29.
    let share = (settings.max_ejected * present as f64 + 1e-9) as usize;
    share.clamp(most.min(1), most)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn share(max_ejected: f64) -> Outlier {
        Outlier {
            max_ejected,
            ..Outlier::default()
        }
    }

    #[test]
    fn half_of_the_instances_may_be_ejected_and_always_one_unless_it_is_alone() {
        let quotas: Vec<_> = (0..=6).map(|present| quota(&share(0.5), present)).collect();
        assert_eq!(quotas, [0, 0, 1, 1, 2, 2, 3]);
        assert_eq!(quota(&share(0.0), 9), 1);
        assert_eq!(quota(&share(0.29), 100), 29);
        assert_eq!(quota(&share(1.0), 3), 2);
    }

    proptest! {
        #[test]
        fn somebody_always_stays(max_ejected in 0.0..=1.0f64, present in 0usize..100_000) {
            let quota = quota(&share(max_ejected), present);
            prop_assert!(quota < present.max(1));
            prop_assert!(present < 2 || quota >= 1);
            prop_assert!(quota as f64 <= (max_ejected * present as f64 + 1e-6).max(1.0));
        }
    }
}
