//! The one place for a request at an endpoint that takes a single one at a time.
//!
//! Whoever holds the place holds a ticket that no one else ever gets, so a place can be taken away
//! from a holder who does not know yet, and a late holder cannot give away what is another's by now.

use std::sync::atomic::{AtomicU64, Ordering};

/// Even: free. Odd: held, by the ticket of this number.
#[derive(Debug, Default)]
pub(super) struct Place(AtomicU64);

/// The right to send an endpoint the one request that it may take.
#[derive(Debug, PartialEq, Eq)]
pub struct Ticket(u64);

impl Place {
    /// Takes the place, if it is free.
    pub(super) fn take(&self) -> Option<Ticket> {
        let now = self.0.load(Ordering::SeqCst);
        let ticket = now + 1;
        let is_free = now.is_multiple_of(2);
        (is_free && self.exchange(now, ticket)).then_some(Ticket(ticket))
    }

    pub(super) fn is_taken(&self) -> bool {
        !self.0.load(Ordering::SeqCst).is_multiple_of(2)
    }

    pub(super) fn is_held_by(&self, ticket: &Ticket) -> bool {
        self.0.load(Ordering::SeqCst) == ticket.0
    }

    /// Frees the place, if it is still held by `ticket`.
    pub(super) fn give_back(&self, ticket: Ticket) {
        self.exchange(ticket.0, ticket.0 + 1);
    }

    /// Frees the place, whoever holds it.
    pub(super) fn free(&self) {
        let now = self.0.load(Ordering::SeqCst);
        if !now.is_multiple_of(2) {
            self.exchange(now, now + 1);
        }
    }

    fn exchange(&self, from: u64, to: u64) -> bool {
        let order = Ordering::SeqCst;
        self.0.compare_exchange(from, to, order, order).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_for_one_until_it_is_given_back() {
        let place = Place::default();
        let ticket = place.take().unwrap();
        assert!(place.is_taken() && place.is_held_by(&ticket));
        assert_eq!(place.take(), None);
        place.give_back(ticket);
        assert!(!place.is_taken());
        assert!(place.take().is_some());
    }

    #[test]
    fn a_late_holder_cannot_give_away_the_place_of_the_next() {
        let place = Place::default();
        let late = place.take().unwrap();
        place.free();
        place.free();
        let next = place.take().unwrap();
        assert!(!place.is_held_by(&late));
        place.give_back(late);
        assert!(place.is_held_by(&next));
    }
}
