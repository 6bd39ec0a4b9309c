//! How many answers there were of each status that tells of an error.

use std::sync::atomic::{AtomicU64, Ordering};

use http::StatusCode;

/// The first status that is counted.
const FIRST: u16 = 400;
/// How many are.
const COUNT: usize = 200;

/// Answers by their status, 400 to 599.
#[derive(Debug)]
pub struct Statuses([AtomicU64; COUNT]);

impl Default for Statuses {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; COUNT])
    }
}

impl Statuses {
    /// Counts an answer; nothing for one that tells of no error.
    pub fn count(&self, status: StatusCode) {
        let place = status.as_u16().checked_sub(FIRST).map(usize::from);
        if let Some(count) = place.and_then(|place| self.0.get(place)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The statuses that there were, ascending, and how often.
    pub fn read(&self) -> impl Iterator<Item = (u16, u64)> {
        (FIRST..).zip(&self.0).filter_map(|(status, count)| {
            let count = count.load(Ordering::Relaxed);
            (count > 0).then_some((status, count))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_counted_by_status_and_nothing_else_is() {
        let statuses = Statuses::default();
        for status in [200, 399, 400, 431, 431, 599, 600] {
            statuses.count(StatusCode::from_u16(status).unwrap());
        }
        let read: Vec<_> = statuses.read().collect();
        assert_eq!(read, [(400, 1), (431, 2), (599, 1)]);
    }
}
