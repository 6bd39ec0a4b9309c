//! The one function that says whether an instance may take traffic, and why not.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::endpoint::Standing;

/// What an instance is at this moment, shown verbatim in every API and page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Availability {
    /// Registered, and has yet to pass its first probe.
    Starting,
    /// Takes traffic.
    Ready,
    /// Takes traffic, while its lease or its last answers raise doubt.
    Suspect,
    /// Finishes what it has and gets nothing new.
    Draining,
    /// Its probes fail.
    Unhealthy,
    /// It failed the requests it was given.
    Ejected,
    /// Left the cluster.
    Down,
}

/// Everything known about one instance that bears on its availability.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The operator, or the instance itself, asked for a drain.
    pub draining: bool,
    /// What its lease says.
    pub lease: Tenure,
    /// What the active probes say.
    pub probes: Probes,
    /// Whether it is out for failing requests.
    pub ejected: Option<Ejected>,
}

/// An instance is out for failing requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ejected {
    /// Why and for how long, for people.
    pub why: String,
    /// Whether its time is up, and a single request decides what becomes of it.
    pub is_on_trial: bool,
}

/// What an instance's lease says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tenure {
    /// It runs, or there is none to run out.
    Held,
    /// The instance came back from the store and has not been heard of since.
    Recalled,
    /// It ran out, and the instance has not been taken out yet.
    Missed,
}

/// What the active probes of one instance say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probes {
    /// There are none: the registration is believed.
    Off,
    /// None has passed since it registered. The last failure, if there was one.
    Unproven {
        /// Why the last probe failed.
        failure: Option<String>,
    },
    /// They pass.
    Passing,
    /// They pass no longer, but have not failed often enough to turn the verdict.
    Wavering {
        /// Why the last probe failed.
        failure: String,
    },
    /// They fail.
    Failing {
        /// Why the last probe failed.
        failure: String,
    },
}

impl Evidence {
    /// What the evidence adds up to.
    pub fn availability(&self) -> Availability {
        if self.draining {
            return Availability::Draining;
        }
        match self.probes {
            Probes::Unproven { .. } => Availability::Starting,
            Probes::Failing { .. } => Availability::Unhealthy,
            _ if self.ejected.is_some() => Availability::Ejected,
            Probes::Off | Probes::Passing if self.lease != Tenure::Held => Availability::Suspect,
            Probes::Off | Probes::Passing => Availability::Ready,
            Probes::Wavering { .. } => Availability::Suspect,
        }
    }

    /// What pickers make of it.
    pub fn standing(&self) -> Standing {
        match (self.availability(), &self.ejected) {
            (Availability::Ejected, Some(ejected)) if ejected.is_on_trial => Standing::OnTrial,
            (availability, _) => availability.standing(),
        }
    }

    /// Why the availability is not [`Availability::Ready`], in words for people.
    pub fn reason(&self) -> Option<&str> {
        if self.draining {
            return Some("drain requested");
        }
        if let Some(ejected) = &self.ejected
            && self.availability() == Availability::Ejected
        {
            return Some(&ejected.why);
        }
        match &self.probes {
            Probes::Off | Probes::Passing => match self.lease {
                Tenure::Held => None,
                Tenure::Recalled => Some("known from before a restart, and not heard of since"),
                Tenure::Missed => Some("its lease ran out without a heartbeat"),
            },
            Probes::Unproven { failure } => {
                Some(failure.as_deref().unwrap_or("waiting for the first probe"))
            }
            Probes::Wavering { failure } | Probes::Failing { failure } => Some(failure),
        }
    }
}

impl Availability {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 7] = [
        Self::Starting,
        Self::Ready,
        Self::Suspect,
        Self::Draining,
        Self::Unhealthy,
        Self::Ejected,
        Self::Down,
    ];

    /// What pickers make of it, an ejected one's trial apart.
    pub fn standing(self) -> Standing {
        match self {
            Self::Ready | Self::Suspect => Standing::Usable,
            Self::Unhealthy | Self::Ejected => Standing::LastResort,
            Self::Starting | Self::Draining | Self::Down => Standing::Barred,
        }
    }

    /// The word APIs show.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Suspect => "suspect",
            Self::Draining => "draining",
            Self::Unhealthy => "unhealthy",
            Self::Ejected => "ejected",
            Self::Down => "down",
        }
    }
}

impl fmt::Display for Availability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Availability {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_probe_state() -> Vec<(Probes, Availability)> {
        let failure = || "connect to 10.0.0.5:8080: connection refused".to_owned();
        vec![
            (Probes::Off, Availability::Ready),
            (Probes::Passing, Availability::Ready),
            (Probes::Unproven { failure: None }, Availability::Starting),
            (
                Probes::Unproven {
                    failure: Some(failure()),
                },
                Availability::Starting,
            ),
            (
                Probes::Wavering { failure: failure() },
                Availability::Suspect,
            ),
            (
                Probes::Failing { failure: failure() },
                Availability::Unhealthy,
            ),
        ]
    }

    #[test]
    fn probes_alone_decide_unless_a_drain_is_asked_for() {
        for (probes, expected) in every_probe_state() {
            let mut evidence = Evidence {
                draining: false,
                lease: Tenure::Held,
                probes,
                ejected: None,
            };
            assert_eq!(evidence.availability(), expected, "{evidence:?}");
            evidence.draining = true;
            assert_eq!(evidence.availability(), Availability::Draining);
            assert_eq!(evidence.reason(), Some("drain requested"));
        }
    }

    #[test]
    fn a_lease_in_doubt_makes_suspect_what_would_be_ready_and_nothing_else() {
        for lease in [Tenure::Recalled, Tenure::Missed] {
            for (probes, without) in every_probe_state() {
                let evidence = Evidence {
                    draining: false,
                    lease,
                    probes,
                    ejected: None,
                };
                let expected = match without {
                    Availability::Ready => Availability::Suspect,
                    other => other,
                };
                assert_eq!(evidence.availability(), expected, "{evidence:?}");
                assert!(evidence.reason().is_some());
            }
        }
    }

    #[test]
    fn ejection_comes_after_drains_and_probes_and_before_doubt() {
        for is_on_trial in [false, true] {
            for (probes, without) in every_probe_state() {
                for lease in [Tenure::Held, Tenure::Missed] {
                    let mut evidence = Evidence {
                        draining: false,
                        lease,
                        probes: probes.clone(),
                        ejected: Some(super::Ejected {
                            why: "ejected for 30s".to_owned(),
                            is_on_trial,
                        }),
                    };
                    let expected = match without {
                        Availability::Ready | Availability::Suspect => Availability::Ejected,
                        other => other,
                    };
                    assert_eq!(evidence.availability(), expected, "{evidence:?}");
                    let is_ejected = expected == Availability::Ejected;
                    assert_eq!(evidence.reason() == Some("ejected for 30s"), is_ejected);
                    let on_trial = evidence.standing() == Standing::OnTrial;
                    assert_eq!(on_trial, is_ejected && is_on_trial);
                    evidence.draining = true;
                    assert_eq!(evidence.standing(), Standing::Barred);
                }
            }
        }
    }

    #[test]
    fn whatever_is_not_ready_says_why_and_only_that() {
        for (probes, availability) in every_probe_state() {
            let evidence = Evidence {
                draining: false,
                lease: Tenure::Held,
                probes,
                ejected: None,
            };
            assert_eq!(
                evidence.reason().is_none(),
                availability == Availability::Ready,
                "{evidence:?}"
            );
        }
        let waiting = Evidence {
            draining: false,
            lease: Tenure::Held,
            probes: Probes::Unproven { failure: None },
            ejected: None,
        };
        assert_eq!(waiting.reason(), Some("waiting for the first probe"));
    }

    #[test]
    fn doubt_still_serves_failure_is_the_last_resort_and_the_rest_is_barred() {
        use Availability::*;
        for (availability, standing) in [
            (Ready, Standing::Usable),
            (Suspect, Standing::Usable),
            (Unhealthy, Standing::LastResort),
            (Ejected, Standing::LastResort),
            (Starting, Standing::Barred),
            (Draining, Standing::Barred),
            (Down, Standing::Barred),
        ] {
            assert_eq!(availability.standing(), standing, "{availability}");
        }
    }

    #[test]
    fn json_and_text_show_the_same_word() {
        for (_, availability) in every_probe_state() {
            assert_eq!(
                serde_json::to_string(&availability).unwrap(),
                format!("\"{availability}\"")
            );
        }
    }
}
