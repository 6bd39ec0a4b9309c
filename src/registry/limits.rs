//! How many may be signed in.
//!
//! Whoever may register could otherwise fill the memory of the process that routes everybody's
//! requests. Only newcomers are counted against: replacing an instance that is there costs nothing
//! more, and one that the store brings back had its place already.

use super::command::Refusal;

/// The most there may be of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Services that have instances.
    pub services: usize,
    /// Instances of all services.
    pub instances: usize,
    /// Instances of one service.
    pub instances_per_service: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            services: 10_000,
            instances: 200_000,
            instances_per_service: 20_000,
        }
    }
}

/// How many there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Services that have instances.
    pub(super) services: usize,
    /// Instances of all services.
    pub(super) instances: usize,
    /// Instances of the newcomer's service.
    pub(super) of_service: usize,
}

impl Limits {
    /// Whether there is room for one more instance.
    ///
    /// # Errors
    /// [`Refusal::Limit`] with the first limit that is reached.
    pub(super) fn admit_one_more(&self, counts: Counts) -> Result<(), Refusal> {
        let new_service = counts.of_service == 0;
        let reached = [
            (
                new_service && counts.services >= self.services,
                "services",
                self.services,
            ),
            (
                counts.instances >= self.instances,
                "instances",
                self.instances,
            ),
            (
                counts.of_service >= self.instances_per_service,
                "instances_per_service",
                self.instances_per_service,
            ),
        ];
        match reached.into_iter().find(|(reached, ..)| *reached) {
            Some((_, name, value)) => Err(Refusal::Limit { name, value }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_refuses_the_one_too_many_and_no_earlier() {
        let limits = Limits {
            services: 2,
            instances: 5,
            instances_per_service: 3,
        };
        for (services, instances, of_service, reached) in [
            (0, 0, 0, None),
            (1, 1, 0, None),
            (2, 4, 2, None),
            (2, 2, 0, Some(("services", 2))),
            (2, 5, 2, Some(("instances", 5))),
            (2, 4, 3, Some(("instances_per_service", 3))),
        ] {
            let counts = Counts {
                services,
                instances,
                of_service,
            };
            let expected = match reached {
                Some((name, value)) => Err(Refusal::Limit { name, value }),
                None => Ok(()),
            };
            assert_eq!(limits.admit_one_more(counts), expected, "{counts:?}");
        }
    }
}
