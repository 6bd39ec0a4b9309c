//! The way of lines from requests to the thread that writes them.
//!
//! Handing a line over is an allocation and two atomic additions. The writer takes all that is there
//! at once, and after each batch leaves requests alone for [`PAUSE`], so that under load nobody wakes
//! it; a line that finds it asleep wakes it and is written at once.
//!
//! Architecture invariant: what waits is bounded in bytes, and who hands a line over never waits.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::Target;
use super::sink::Sink;

/// How much may wait to be written, in bytes.
const CAPACITY: usize = 8 << 20;
/// What a waiting line costs beside its bytes.
const OVERHEAD: usize = 48;
/// As much waits that the writer's pause is cut short, in bytes.
const URGENT: usize = CAPACITY / 8;
/// How much is written at once, in bytes.
const BATCH: usize = 64 << 10;
/// How long lines gather between two batches.
const PAUSE: Duration = Duration::from_millis(20);

/// What became of all lines.
#[derive(Debug, Default)]
pub(super) struct Tally {
    lines: AtomicU64,
    bytes: AtomicU64,
    dropped: AtomicU64,
}

impl Tally {
    pub(super) fn lines(&self) -> u64 {
        self.lines.load(Ordering::Relaxed)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    pub(super) fn write(&self, lines: u64, bytes: u64) {
        self.lines.fetch_add(lines, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn drop_lines(&self, lines: u64) {
        self.dropped.fetch_add(lines, Ordering::Relaxed);
    }
}

/// The requests' end. Its writer ends when it is dropped and all is written.
#[derive(Debug)]
pub(super) struct Pipe {
    lines: Sender<Box<[u8]>>,
    shared: Arc<Shared>,
    writer: JoinHandle<()>,
}

/// What both ends know.
#[derive(Debug)]
pub(super) struct Shared {
    /// Bytes that wait.
    waiting: AtomicUsize,
    /// The writer has nothing to do and is to be woken.
    asleep: AtomicBool,
    reopen: AtomicBool,
    closing: AtomicBool,
    pub(super) tally: Arc<Tally>,
}

impl Shared {
    /// Whether nothing more comes, so that nothing is waited for.
    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }
}

impl Pipe {
    /// A pipe to `target`.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(super) fn open(target: &Target, tally: Arc<Tally>) -> io::Result<Self> {
        Self::to(Sink::open(target)?, tally)
    }

    fn to(sink: Sink, tally: Arc<Tally>) -> io::Result<Self> {
        let (lines, coming) = channel();
        let shared = Arc::new(Shared {
            waiting: AtomicUsize::new(0),
            asleep: AtomicBool::new(false),
            reopen: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            tally,
        });
        let writer = Writer {
            coming,
            shared: Arc::clone(&shared),
            sink,
        };
        let named = thread::Builder::new().name("access log".to_owned());
        Ok(Self {
            lines,
            shared,
            writer: named.spawn(move || writer.run())?,
        })
    }

    /// Hands a whole line over; drops it when too much waits.
    pub(super) fn send(&self, line: &[u8]) {
        let shared = &self.shared;
        let cost = line.len() + OVERHEAD;
        // Before the line is there: who is about to sleep looks at this after having said so.
        let before = shared.waiting.fetch_add(cost, Ordering::SeqCst);
        if before + cost > CAPACITY || self.lines.send(line.into()).is_err() {
            shared.waiting.fetch_sub(cost, Ordering::SeqCst);
            shared.tally.drop_lines(1);
            return;
        }
        let is_urgent = before < URGENT && before + cost >= URGENT;
        let is_asleep = shared.asleep.load(Ordering::SeqCst);
        if is_urgent || (is_asleep && shared.asleep.swap(false, Ordering::SeqCst)) {
            self.writer.thread().unpark();
        }
    }

    /// Has the target opened anew.
    pub(super) fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::SeqCst);
        self.writer.thread().unpark();
    }

    /// Has everything written; says whether that was done `within` that time.
    pub(super) fn close(&self, within: Duration) -> bool {
        let until = Instant::now() + within;
        self.end();
        while !self.writer.is_finished() && Instant::now() < until {
            thread::sleep(Duration::from_millis(1));
        }
        self.writer.is_finished()
    }

    fn end(&self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        self.writer.thread().unpark();
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.end();
    }
}

/// The writer's end.
struct Writer {
    coming: Receiver<Box<[u8]>>,
    shared: Arc<Shared>,
    sink: Sink,
}

impl Writer {
    fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            if self.shared.reopen.swap(false, Ordering::SeqCst) {
                self.sink.reopen();
            }
            // Looked at before the lines are: none that came before is left behind.
            let closing = self.shared.is_closing();
            let count = self.gather(&mut batch);
            if batch.is_empty() {
                if closing {
                    return;
                }
                self.sleep();
                continue;
            }
            self.sink.write(&batch, count as u64, &self.shared);
            let cost = batch.len() + count * OVERHEAD;
            self.shared.waiting.fetch_sub(cost, Ordering::SeqCst);
            if batch.len() < BATCH && !closing {
                thread::park_timeout(PAUSE);
            }
            batch.clear();
            batch.shrink_to(BATCH);
        }
    }

    /// Takes what waits, as much as is written at once; gives how many lines that are.
    fn gather(&self, batch: &mut Vec<u8>) -> usize {
        let mut count = 0;
        while batch.len() < BATCH {
            match self.coming.try_recv() {
                Ok(line) => {
                    batch.extend_from_slice(&line);
                    count += 1;
                }
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        count
    }

    /// Sleeps until there is something to do.
    fn sleep(&self) {
        let shared = &self.shared;
        shared.asleep.store(true, Ordering::SeqCst);
        if shared.waiting.load(Ordering::SeqCst) == 0
            && !shared.reopen.load(Ordering::SeqCst)
            && !shared.closing.load(Ordering::SeqCst)
        {
            thread::park();
        } else {
            // A line is about to come.
            thread::yield_now();
        }
        shared.asleep.store(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Longer than anything here takes on a busy machine.
    const PATIENCE: Duration = Duration::from_secs(20);

    fn until(what: &str, condition: impl Fn() -> bool) {
        let started = Instant::now();
        while !condition() {
            assert!(started.elapsed() < PATIENCE, "waited in vain until {what}");
            thread::yield_now();
        }
    }

    #[test]
    fn lines_of_many_threads_arrive_whole_and_in_each_ones_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let tally = Arc::<Tally>::default();
        let pipe = Pipe::open(&Target::File(path.clone()), Arc::clone(&tally)).unwrap();
        thread::scope(|scope| {
            for who in 0..4 {
                let pipe = &pipe;
                scope.spawn(move || {
                    for number in 0..5_000 {
                        pipe.send(format!("{who} {number}\n").as_bytes());
                    }
                });
            }
        });
        assert!(pipe.close(PATIENCE));
        let text = fs::read_to_string(path).unwrap();
        let mut next = [0; 4];
        for line in text.lines() {
            let (who, number) = line.split_once(' ').unwrap();
            let next = &mut next[who.parse::<usize>().unwrap()];
            assert_eq!(number.parse::<usize>().unwrap(), *next);
            *next += 1;
        }
        assert_eq!(next, [5_000; 4]);
        assert_eq!((tally.lines(), tally.dropped()), (20_000, 0));
        assert_eq!(tally.bytes(), text.len() as u64);
    }

    #[test]
    fn a_lone_line_is_written_without_waiting_for_others() {
        let folder = tempfile::tempdir().unwrap();
        let tally = Arc::<Tally>::default();
        let target = Target::File(folder.path().join("log"));
        let pipe = Pipe::open(&target, Arc::clone(&tally)).unwrap();
        for number in 1..=20 {
            pipe.send(b"a\n");
            until("it is written", || tally.lines() == number);
        }
    }

    #[test]
    fn what_nobody_takes_is_dropped_once_it_is_too_much_and_counted() {
        let (reader, writer) = io::pipe().unwrap();
        let tally = Arc::<Tally>::default();
        let sink = Sink::of_pipe(writer);
        let pipe = Pipe::to(sink, Arc::clone(&tally)).unwrap();
        let line = [&[b'x'; 1_023][..], b"\n"].concat();
        let all = 3 * CAPACITY / line.len();
        for _ in 0..all {
            pipe.send(&line);
        }
        let dropped = tally.dropped() as usize;
        assert!(dropped > all / 2 && dropped < all, "{dropped} of {all}");
        assert!(!pipe.close(Duration::from_millis(1)));
        drop(reader);
        until("nobody waits", || pipe.writer.is_finished());
        assert_eq!(tally.lines() + tally.dropped(), all as u64);
    }

    #[test]
    fn a_disk_that_is_full_costs_the_lines_and_nothing_else() {
        let tally = Arc::<Tally>::default();
        let target = Target::File("/dev/full".into());
        let pipe = Pipe::open(&target, Arc::clone(&tally)).unwrap();
        for number in 1..=3 {
            pipe.send(b"a\n");
            until("it is given up", || tally.dropped() == number);
        }
        assert_eq!(tally.lines(), 0);
        assert!(pipe.close(PATIENCE));
    }

    #[test]
    fn no_line_is_lost_or_torn_when_the_file_is_moved_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let tally = Arc::<Tally>::default();
        let pipe = Pipe::open(&Target::File(path.clone()), Arc::clone(&tally)).unwrap();
        for round in 0..5_u64 {
            for number in 0..100 {
                pipe.send(format!("{}\n", 100 * round + number).as_bytes());
            }
            fs::rename(&path, path.with_extension(round.to_string())).unwrap();
            pipe.reopen();
            until("it is there again", || path.exists());
        }
        assert!(pipe.close(PATIENCE));
        let mut numbers: Vec<u64> = fs::read_dir(folder.path())
            .unwrap()
            .flat_map(|file| {
                let text = fs::read_to_string(file.unwrap().path()).unwrap();
                let lines = text.lines().map(|line| line.parse().unwrap());
                lines.collect::<Vec<u64>>()
            })
            .collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..500).collect::<Vec<_>>());
    }
}
