//! Kept connections to instances.
//!
//! Each thread has a shelf of its own, so that threads do not wait for each other; who finds nothing on
//! its own looks at the others' before it connects. A shelf that somebody else has at the moment is
//! passed over: nobody waits here, and what is found is the connection used last, which the instance is
//! the least likely to have closed.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;

use crate::dial::Stream;

/// How often those are closed that were not used for too long.
const SWEEP: Duration = Duration::from_secs(1);

/// Whom a connection leads to: an endpoint, and the life of its process. The latter is for instances to
/// say, so the two are not to be mixed into one number, which could then be another's.
pub(super) type Key = (u64, Option<u64>);

/// The kept connections of all threads.
#[derive(Debug)]
pub(in crate::proxy) struct Pool {
    shelves: Box<[Mutex<Shelf>]>,
    /// The most connections on one shelf.
    most: usize,
}

#[derive(Debug, Default)]
struct Shelf {
    /// By whom they lead to, the one used last at the end.
    kept: HashMap<Key, Vec<Kept>, RandomState>,
    count: usize,
}

#[derive(Debug)]
struct Kept {
    stream: Stream,
    until: Instant,
}

impl Pool {
    /// A pool for so many threads, of at most so many connections for each.
    pub(in crate::proxy) fn new(threads: usize, most: usize) -> Self {
        Self {
            most,
            shelves: (0..threads.max(1)).map(|_| Mutex::default()).collect(),
        }
    }

    /// A connection that was kept under `key` and is still open, as far as is known.
    pub(super) fn take(&self, key: Key, now: Instant) -> Option<Stream> {
        let own = own_shelf(self.shelves.len());
        let others = (0..self.shelves.len()).filter(|place| *place != own);
        std::iter::once(own)
            .chain(others)
            .find_map(|place| self.shelves[place].try_lock().ok()?.take(key, now))
    }

    /// Keeps a connection under `key` until then.
    pub(super) fn keep(&self, key: Key, stream: Stream, until: Instant) {
        let own = own_shelf(self.shelves.len());
        if let Ok(mut shelf) = self.shelves[own].try_lock()
            && shelf.count < self.most
        {
            shelf.keep(key, Kept { stream, until });
        }
    }

    /// Closes what was not used for too long, for as long as it is polled.
    pub(in crate::proxy) async fn sweep(&self) {
        let mut ticks = tokio::time::interval(SWEEP);
        loop {
            ticks.tick().await;
            let now = Instant::now();
            for shelf in &self.shelves {
                let closed = shelf
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clear(now);
                drop(closed);
            }
        }
    }
}

impl Shelf {
    fn take(&mut self, key: Key, now: Instant) -> Option<Stream> {
        let kept = self.kept.get_mut(&key)?;
        while let Some(last) = kept.pop() {
            self.count -= 1;
            if last.until > now && is_quiet(&last.stream) {
                return Some(last.stream);
            }
        }
        None
    }

    fn keep(&mut self, key: Key, kept: Kept) {
        self.count += 1;
        self.kept.entry(key).or_default().push(kept);
    }

    /// Takes out what must not be used any more.
    fn clear(&mut self, now: Instant) -> Vec<Kept> {
        let mut closed = Vec::new();
        self.kept.retain(|_, kept| {
            closed.extend(kept.extract_if(.., |one| one.until <= now || !is_quiet(&one.stream)));
            !kept.is_empty()
        });
        self.count -= closed.len();
        closed
    }
}

/// Whether nothing has come on a connection, its end included. What nobody has asked for must not be
/// taken for the next answer.
fn is_quiet(stream: &Stream) -> bool {
    let came = match stream {
        Stream::Tcp(stream) => stream.try_read(&mut [0]),
        Stream::Unix(stream) => stream.try_read(&mut [0]),
        // What has come may be an answer, or not.
        Stream::Tls(_) => return false,
    };
    came.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

fn own_shelf(shelves: usize) -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: usize = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    OWN.with(|own| own % shelves)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    /// A connection to an instance, and the instance's end of it.
    async fn connection() -> (Stream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (ours, theirs) = tokio::join!(TcpStream::connect(address), listener.accept());
        (Stream::Tcp(ours.unwrap()), theirs.unwrap().0)
    }

    fn port(stream: &Stream) -> u16 {
        match stream {
            Stream::Tcp(stream) => stream.local_addr().unwrap().port(),
            _ => unreachable!("all of them are of TCP"),
        }
    }

    /// Waits until the reactor knows that something has come on the newest connection of a shelf.
    async fn until_heard(pool: &Pool) {
        loop {
            tokio::task::yield_now().await;
            let shelf = pool.shelves[0].lock().unwrap();
            let mut all = shelf.kept.values().flatten();
            if all.any(|kept| !is_quiet(&kept.stream)) {
                return;
            }
        }
    }

    #[tokio::test]
    async fn the_connection_used_last_is_given_first_and_to_no_other_key() {
        let pool = Pool::new(1, 2);
        let (now, until) = (Instant::now(), Instant::now() + LONG);
        let ((one, _a), (two, _b)) = (connection().await, connection().await);
        let (first, second) = (port(&one), port(&two));
        pool.keep((1, None), one, until);
        pool.keep((1, None), two, until);
        for other in [(2, None), (1, Some(0)), (1, Some(1)), (0, Some(1 << 32))] {
            assert!(pool.take(other, now).is_none(), "{other:?}");
        }
        assert_eq!(
            pool.take((1, None), now).map(|one| port(&one)),
            Some(second)
        );
        assert_eq!(pool.take((1, None), now).map(|one| port(&one)), Some(first));
        assert!(pool.take((1, None), now).is_none());
        assert_eq!(pool.shelves[0].lock().unwrap().count, 0);
    }

    #[tokio::test]
    async fn a_connection_on_which_something_came_is_given_to_nobody() {
        for says in [&b""[..], b"HTTP/1.1 200 OK\r\n\r\n"] {
            let pool = Pool::new(1, 2);
            let (ours, mut theirs) = connection().await;
            pool.keep((1, None), ours, Instant::now() + LONG);
            theirs.write_all(says).await.unwrap();
            if says.is_empty() {
                drop(theirs);
            }
            until_heard(&pool).await;
            // As in a task whose budget is used up.
            for _ in 0..1_000 {
                tokio::task::consume_budget().now_or_never();
            }
            assert!(pool.take((1, None), Instant::now()).is_none(), "{says:?}");
        }
    }

    #[tokio::test]
    async fn what_was_not_used_for_too_long_is_closed() {
        let pool = Pool::new(1, 2);
        let now = Instant::now();
        let ((one, _a), (two, _b)) = (connection().await, connection().await);
        pool.keep((1, None), one, now);
        pool.keep((2, None), two, now + LONG);
        let mut shelf = pool.shelves[0].lock().unwrap();
        assert_eq!(shelf.clear(now).len(), 1);
        assert_eq!((shelf.count, shelf.kept.len()), (1, 1));
        assert!(shelf.take((2, None), now + LONG).is_none());
        assert!(shelf.clear(now).is_empty());
        assert_eq!((shelf.count, shelf.kept.len()), (0, 0));
    }

    #[tokio::test]
    async fn a_shelf_that_is_full_or_busy_takes_nothing() {
        let pool = Pool::new(1, 2);
        let until = Instant::now() + LONG;
        pool.shelves[0].lock().unwrap().count = 2;
        pool.keep((1, None), connection().await.0, until);
        let (ours, _theirs) = connection().await;
        let shelf = pool.shelves[0].lock().unwrap();
        assert!(shelf.kept.is_empty());
        pool.keep((1, None), ours, until);
        assert!(pool.take((1, None), Instant::now()).is_none());
        drop(shelf);
        assert!(pool.shelves[0].lock().unwrap().kept.is_empty());
    }
}
