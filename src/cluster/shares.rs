//! Effective weights: which part of its registered weight each member counts for now.
//!
//! Two things move a member's *factor* away from 1.
//!
//! *Slow start.* A member counts as far as its [`Ramp`] has risen, compared with the member that has
//! risen furthest. So nobody is spared where there is nobody to be spared by: members that come
//! together, as at the start of a service, have equal shares, and whoever is alone has all. What a
//! process knows of when it starts has been serving all along, if it is fit to serve.
//!
//! *Reported load.* [`Load`] gives the capacities of those that report. A registered weight is a
//! guess at the same thing, so the two are not multiplied, which would count a large machine's size
//! twice: the report corrects the guess. The factor is a member's capacity per unit of weight,
//! compared with the median of all that report, and at least a tenth and at most ten, so that no
//! report takes a member further than that from what its weight says. A58 compares with the mean;
//! but one wrong report moves a mean as far as it likes, and a median hardly. Whoever reports nothing
//! has the median's capacity, that is a factor of 1, and with fewer than two reports so has everybody.
//!
//! Both multiply (gRPC's proposal A100 does the same). The hash algorithms know neither. Factors are
//! looked at again at times that depend on what moves them, and the picker is rebuilt only when one
//! moved noticeably, for a rebuild costs more the more members there are.

use std::time::{Duration, Instant};

use super::load::{Load, Report};
use super::policy::Policy;
use super::ramp::Ramp;
use super::slot::Slot;
use super::tempo::Beat;
use super::{Cluster, Control};

/// The least and the most that reports make of a weight.
const BOUNDS: [f64; 2] = [0.1, 10.0];
/// How often reports are looked at (A58's `weight_update_period`).
const REPORTS_PERIOD: Duration = Duration::from_secs(1);
/// How many steps a rise is made in.
const STEPS: u32 = 50;
/// By what part of itself a factor has to move to be put in force.
const NOTICEABLE: f64 = 0.02;
/// How finely effective weights are told apart: a tenth of the weight 1 must be expressible.
const SCALE: f64 = 1_000.0;

/// What one member's share depends on besides its weight.
#[derive(Clone, Debug)]
pub(super) struct Share {
    ramp: Ramp,
    load: Load,
    /// The factor in force.
    factor: f64,
}

impl Share {
    /// The share of a member that cannot be used yet.
    pub(super) fn new() -> Self {
        Self {
            ramp: Ramp::Risen,
            load: Load::default(),
            factor: 1.0,
        }
    }

    /// The member became usable, or began a new life.
    pub(super) fn start_over(&mut self) {
        self.ramp = Ramp::Due;
        self.load.restart();
    }

    /// The member has been serving all along.
    pub(super) fn skip_ramp(&mut self) {
        self.ramp = Ramp::Risen;
    }

    /// The part of its weight the member counts for.
    pub(super) fn factor(&self) -> f64 {
        self.factor
    }

    /// What it reported last.
    pub(super) fn report(&self) -> Option<Report> {
        self.load.last()
    }
}

impl Cluster {
    /// Takes what a member reports of its load. Its share follows within a second or so.
    pub(super) fn report(&self, id: &str, report: Report, now: Instant) {
        let mut control = self.control();
        if let Some(slot) = control.slots.get_mut(id) {
            slot.share.load.record(report, now);
            let soon = now + REPORTS_PERIOD;
            control.shares_due = Some(control.shares_due.map_or(soon, |due| due.min(soon)));
            self.unrest();
        }
    }
}

/// The whole cluster is new to this proxy, and those of its members that were known before it have
/// been serving all along.
pub(super) fn known_before(control: &mut Control) {
    for (id, member) in &control.members {
        if member.recalled.is_some()
            && let Some(slot) = control.slots.get_mut(id)
            && slot.is_usable()
        {
            slot.share.skip_ramp();
        }
    }
}

/// One step of [`tempo`](super::tempo).
pub(super) fn beat(control: &mut Control, now: Instant) -> Beat {
    let Some(due) = control.shares_due else {
        return Beat::default();
    };
    if now < due {
        return Beat {
            changed: false,
            restless: true,
            told: false,
        };
    }
    let measure = Measure::take(control, now);
    let moved = |slot: &Slot| noticeable(slot.share.factor, measure.factor(slot, control, now));
    let changed = control.slots.values().any(moved);
    Beat {
        changed,
        restless: control.shares_due.is_some(),
        told: false,
    }
}

/// Puts everybody's factor in force as it is now.
pub(super) fn refresh(control: &mut Control, now: Instant) {
    let measure = Measure::take(control, now);
    let factors: Vec<f64> = (control.slots.values())
        .map(|slot| measure.factor(slot, control, now))
        .collect();
    for (slot, factor) in control.slots.values_mut().zip(factors) {
        slot.share.factor = factor;
    }
}

/// What everybody is compared with.
struct Measure {
    /// How far the warmest has risen.
    warmest: f64,
    /// The median capacity per unit of weight, if reports count.
    capacity: Option<f64>,
}

impl Measure {
    /// Also says when to look again.
    fn take(control: &mut Control, now: Instant) -> Self {
        let Control { policy, slots, .. } = control;
        let (mut warmest, mut rising, mut reporting) = (0.0_f64, false, false);
        let mut capacities = Vec::new();
        for slot in slots.values_mut() {
            slot.share.ramp.advance(&policy.slow_start, now);
            slot.share.load.expire(now);
            rising |= slot.share.ramp != Ramp::Risen;
            reporting |= slot.share.load.last().is_some();
            if counts(slot) {
                warmest = warmest.max(slot.share.ramp.level(&policy.slow_start, now));
                capacities.extend(capacity(slot, policy, now));
            }
        }
        let steps = (rising).then(|| policy.slow_start.window / STEPS);
        let next = steps.into_iter().chain(reporting.then_some(REPORTS_PERIOD));
        control.shares_due = next.min().and_then(|wait| now.checked_add(wait));
        Self {
            warmest,
            capacity: if capacities.len() < 2 {
                None
            } else {
                Some(median(&mut capacities))
            },
        }
    }

    fn factor(&self, slot: &Slot, control: &Control, now: Instant) -> f64 {
        let policy = &control.policy;
        if !counts(slot) || policy.balance.algorithm.hashes() {
            return 1.0;
        }
        let level = slot.share.ramp.level(&policy.slow_start, now) / self.warmest;
        let corrected = match (self.capacity, capacity(slot, policy, now)) {
            (Some(median), Some(own)) => (own / median).clamp(BOUNDS[0], BOUNDS[1]),
            _ => 1.0,
        };
        level * corrected
    }
}

/// Whether a member takes part in the comparison.
fn counts(slot: &Slot) -> bool {
    slot.endpoint.weight > 0 && slot.is_usable()
}

/// A member's reported capacity per unit of its weight.
fn capacity(slot: &Slot, policy: &Policy, now: Instant) -> Option<f64> {
    let capacity = slot
        .share
        .load
        .capacity(now)
        .filter(|_| policy.load_reports);
    Some(capacity? / f64::from(slot.endpoint.weight))
}

/// The middle one, or the mean of the two in the middle. There is at least one.
fn median(values: &mut [f64]) -> f64 {
    let (middle, odd) = (values.len() / 2, values.len() % 2 == 1);
    let (below, &mut upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    if odd {
        upper
    } else {
        let lower = below.iter().copied().fold(f64::MIN, f64::max);
        f64::midpoint(lower, upper)
    }
}

fn noticeable(before: f64, after: f64) -> bool {
    before != after && ((before - after).abs() >= NOTICEABLE * before || after == 1.0)
}

/// The effective weights of members with these registered weights and factors, all above 0. They are
/// the registered ones while every factor is 1, and in proportion otherwise.
pub(super) fn effective(members: impl Iterator<Item = (u32, f64)> + Clone) -> Vec<u32> {
    if members.clone().all(|(_, factor)| factor == 1.0) {
        return members.map(|(weight, _)| weight).collect();
    }
    // At most 65,535 × 10 × 1,000, so nothing is cut off.
    let scaled =
        |(weight, factor): (u32, f64)| (f64::from(weight) * factor * SCALE).round().max(1.0) as u32;
    members.map(scaled).collect()
}

#[cfg(test)]
mod tests;
