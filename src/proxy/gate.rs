//! Counts the requests inside callboard and the connections they come on, so that a leaving process
//! knows when the last is done.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

/// The counter.
#[derive(Debug, Default)]
pub struct Gate {
    inside: AtomicUsize,
    open: AtomicUsize,
    closing: AtomicBool,
    emptied: Notify,
    too_late: AtomicBool,
    called: Notify,
}

/// One request inside; leaves when dropped.
#[derive(Debug)]
pub struct Inside(Arc<Gate>);

/// One connection that is open, or may yet be accepted; closed when dropped.
#[derive(Debug)]
pub struct Open(Arc<Gate>);

impl Gate {
    /// Counts one connection, or whoever accepts them.
    pub fn open(self: &Arc<Self>) -> Open {
        self.open.fetch_add(1, Ordering::Relaxed);
        Open(Arc::clone(self))
    }

    /// From now on, each answer is the last on its connection.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    /// Whether each answer is the last on its connection.
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Counts one request in.
    pub fn enter(self: &Arc<Self>) -> Inside {
        self.inside.fetch_add(1, Ordering::Relaxed);
        Inside(Arc::clone(self))
    }

    /// How many requests are inside.
    pub fn inside(&self) -> usize {
        self.inside.load(Ordering::Relaxed)
    }

    /// Waits until no request is inside and no connection open.
    pub async fn empty(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.inside() == 0 && self.connections() == 0 {
                return;
            }
            emptied.await;
        }
    }

    /// Tells the requests that still wait for an instance that it is too late: what they might be
    /// given could not be finished.
    pub fn call_last(&self) {
        self.too_late.store(true, Ordering::SeqCst);
        self.called.notify_waiters();
    }

    /// Waits until it is too late to wait for an instance.
    pub async fn last_call(&self) {
        let called = self.called.notified();
        if !self.too_late.load(Ordering::SeqCst) {
            called.await;
        }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        if self.0.inside.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.emptied.notify_waiters();
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.emptied.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_gate_is_empty_when_the_last_request_and_connection_are_gone() {
        let gate = Arc::new(Gate::default());
        gate.empty().await;
        let (first, second) = (gate.enter(), gate.enter());
        let connection = gate.open();
        let waiting = tokio::spawn({
            let gate = Arc::clone(&gate);
            async move { gate.empty().await }
        });
        drop(first);
        assert_eq!(gate.inside(), 1);
        drop(second);
        assert_eq!((gate.inside(), gate.connections()), (0, 1));
        drop(connection);
        waiting.await.unwrap();
    }

    #[tokio::test]
    async fn the_last_call_is_heard_by_those_who_wait_and_by_those_who_come_late() {
        let gate = Arc::new(Gate::default());
        let waiting = tokio::spawn({
            let gate = Arc::clone(&gate);
            async move { gate.last_call().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        gate.call_last();
        waiting.await.unwrap();
        gate.last_call().await;
    }
}
