//! A timer that is set over and over and seldom rings.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use tokio::time::{Sleep, sleep_until};

/// One timer, kept from one deadline to the next: most deadlines are met, and an alarm that wakes its
/// task too early now and then costs less than setting it anew each time.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
    /// Whom it wakes, once it is set.
    wakes: Option<Waker>,
}

impl Alarm {
    /// Ready at `deadline`; until then, the task is woken when it comes.
    pub(in crate::proxy) fn poll(
        &mut self,
        deadline: Instant,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        let deadline = deadline.into();
        let sleep = (self.sleep).get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
            self.wakes = None;
        }
        // Whoever is woken by it already need not set it again, which looks at the clock.
        let wakes = self.wakes.as_ref();
        if wakes.is_some_and(|waker| waker.will_wake(context.waker())) && !sleep.is_elapsed() {
            return Poll::Pending;
        }
        while sleep.as_mut().poll(context).is_ready() {
            if sleep.deadline() >= deadline {
                self.wakes = None;
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
        self.wakes = Some(context.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn it_rings_at_the_last_deadline_whatever_came_before() {
        let mut alarm = Alarm::default();
        let start = Instant::now();
        let millis = |count| start + Duration::from_millis(count);
        for deadline in [millis(3_600_000), millis(5), millis(20)] {
            poll_fn(|context| {
                let _ = alarm.poll(deadline, context);
                Poll::Ready(())
            })
            .await;
        }
        poll_fn(|context| alarm.poll(millis(20), context)).await;
        assert!(Instant::now() >= millis(20));
    }
}
