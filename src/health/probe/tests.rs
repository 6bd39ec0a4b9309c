use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::testing::{
    Answers, PATIENCE, Recorder, answer_all, instance, nobody, rare, rare_http, request,
};
use super::*;
use crate::instance::check::CheckKind;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn start(concurrency: usize) -> (Prober, JoinHandle<()>) {
    let (prober, work) = Prober::new(concurrency);
    (prober, tokio::spawn(work))
}

fn watch(prober: &Prober, address: SocketAddr, check: Check) -> (Watch, Answers) {
    let (sink, answers) = Recorder::new(Pace::Steady);
    (prober.watch(Target::plain(address), check, sink), answers)
}

/// An instance that says when it is asked and answers one request for each permit at its gate.
struct Gated {
    address: SocketAddr,
    requests: UnboundedReceiver<()>,
    gate: Arc<Semaphore>,
    most_in_hand: Arc<AtomicUsize>,
}

impl Gated {
    async fn new() -> Self {
        let (asked, requests) = unbounded_channel();
        let gate = Arc::new(Semaphore::new(0));
        let in_hand = Arc::new(AtomicUsize::new(0));
        let most_in_hand = Arc::new(AtomicUsize::new(0));
        let shared = (asked, Arc::clone(&gate), in_hand, Arc::clone(&most_in_hand));
        let address = instance(move |mut stream, _| {
            let (asked, gate, in_hand, most_in_hand) = shared.clone();
            async move {
                while request(&mut stream).await.is_some() {
                    let now = in_hand.fetch_add(1, Ordering::SeqCst) + 1;
                    most_in_hand.fetch_max(now, Ordering::SeqCst);
                    let _ = asked.send(());
                    gate.acquire().await.unwrap().forget();
                    in_hand.fetch_sub(1, Ordering::SeqCst);
                    let _ = stream.write_all(OK.as_bytes()).await;
                }
            }
        })
        .await;
        Self {
            address,
            requests,
            gate,
            most_in_hand,
        }
    }

    async fn asked(&mut self) {
        let asked = timeout(PATIENCE, self.requests.recv()).await;
        asked.expect("no request came").unwrap();
    }
}

#[tokio::test]
async fn a_tcp_check_passes_where_somebody_listens_and_names_who_refuses() {
    let (prober, _work) = start(8);
    let listening = instance(|_, _| async {}).await;
    let (_watch, mut answers) = watch(&prober, listening, rare(CheckKind::Tcp));
    assert_eq!(answers.next().await, Some(Ok(())));

    let nobody = nobody().await;
    let (_watch, mut answers) = watch(&prober, nobody, rare(CheckKind::Tcp));
    assert_eq!(
        answers.next().await,
        Some(Err(format!("connect to {nobody}: connection refused")))
    );
}

#[tokio::test]
async fn a_connect_that_gets_no_reply_times_out() {
    // A full accept queue: the system drops what comes next without a word.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    while let Ok(connected) = timeout(
        Duration::from_millis(300),
        tokio::net::TcpStream::connect(address),
    )
    .await
    {
        queued.push(connected.unwrap());
    }

    let (prober, _work) = start(8);
    let check = Check {
        timeout: Duration::from_millis(200),
        ..rare(CheckKind::Tcp)
    };
    let (_watch, mut answers) = watch(&prober, address, check);
    assert_eq!(
        answers.next().await,
        Some(Err(format!("connect to {address}: timed out after 200ms")))
    );
}

#[tokio::test]
async fn probes_follow_the_interval_and_come_sooner_when_the_verdict_is_changing() {
    let (prober, _work) = start(8);
    let address = instance(|stream, _| answer_all(stream, OK)).await;
    let check = Check {
        interval: Duration::from_millis(20),
        ..rare_http()
    };
    let (_watch, mut answers) = watch(&prober, address, check);
    for _ in 0..5 {
        assert_eq!(answers.next().await, Some(Ok(())));
    }

    let interval = Duration::from_millis(1_600);
    let check = Check {
        interval,
        ..rare_http()
    };
    let (sink, mut answers) = Recorder::new(Pace::Brisk);
    let started = Instant::now();
    let _watch = prober.watch(Target::plain(address), check, sink);
    for _ in 0..4 {
        assert_eq!(answers.next().await, Some(Ok(())));
    }
    assert!(
        started.elapsed() < 2 * interval,
        "three gaps of a quarter each"
    );
}

#[tokio::test]
async fn probe_now_does_not_wait_for_the_interval() {
    let (prober, _work) = start(8);
    let address = instance(|stream, _| answer_all(stream, OK)).await;
    let (watch, mut answers) = watch(&prober, address, rare_http());
    for _ in 0..5 {
        assert_eq!(answers.next().await, Some(Ok(())));
        watch.probe_now();
    }
}

#[tokio::test]
async fn probe_now_during_a_probe_asks_once_more_after_it() {
    let (prober, _work) = start(8);
    let mut gated = Gated::new().await;
    let (watch, mut answers) = watch(&prober, gated.address, rare_http());
    gated.asked().await;
    watch.probe_now();
    watch.probe_now();
    gated.gate.add_permits(10);
    assert_eq!(answers.next().await, Some(Ok(())));
    assert_eq!(answers.next().await, Some(Ok(())));
}

#[tokio::test]
async fn a_dropped_watch_is_silent_even_with_a_probe_under_way() {
    let (prober, _work) = start(8);
    let mut gated = Gated::new().await;
    let (watch, mut answers) = watch(&prober, gated.address, rare_http());
    gated.asked().await;
    drop(watch);
    gated.gate.add_permits(1);
    assert_eq!(answers.next().await, None, "the sink goes with its watch");
}

#[tokio::test]
async fn no_more_probes_run_at_once_than_the_cap_allows_and_all_get_their_turn() {
    const CAP: usize = 4;
    let (prober, _work) = start(CAP);
    let mut gated = Gated::new().await;
    let mut watches: Vec<_> = (0..10 * CAP)
        .map(|_| watch(&prober, gated.address, rare_http()))
        .collect();
    for _ in 0..CAP {
        gated.asked().await;
    }
    gated.gate.add_permits(watches.len());
    for (_watch, answers) in &mut watches {
        assert_eq!(answers.next().await, Some(Ok(())));
    }
    assert_eq!(gated.most_in_hand.load(Ordering::SeqCst), CAP);
}

#[tokio::test]
async fn an_instance_that_never_answers_delays_nobody_else() {
    let (prober, _work) = start(2);
    let silent = instance(|stream, _| async move {
        let _held_open = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let (_stuck, _unanswered) = watch(&prober, silent, rare_http());
    let address = instance(|stream, _| answer_all(stream, OK)).await;
    let mut others: Vec<_> = (0..20)
        .map(|_| watch(&prober, address, rare_http()))
        .collect();
    for (_watch, answers) in &mut others {
        assert_eq!(answers.next().await, Some(Ok(())));
    }
}

#[tokio::test]
async fn a_sink_that_panics_is_asked_again_and_stops_nobody() {
    struct Panicking(UnboundedSender<()>);
    impl Sink for Panicking {
        fn answered(&self, _: Result<(), String>) -> Pace {
            self.0.send(()).unwrap();
            panic!("on purpose");
        }
    }
    let (prober, _work) = start(8);
    let (called, mut calls) = unbounded_channel();
    let check = Check {
        interval: Duration::from_millis(10),
        ..rare(CheckKind::Tcp)
    };
    let _watch = prober.watch(
        Target::plain(nobody().await),
        check,
        Arc::new(Panicking(called)),
    );
    for _ in 0..3 {
        timeout(PATIENCE, calls.recv()).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn the_work_ends_with_the_last_handle() {
    let (prober, work) = start(8);
    let (watch, mut answers) = watch(&prober, nobody().await, rare(CheckKind::Tcp));
    assert!(answers.next().await.is_some());
    drop(prober);
    assert!(!work.is_finished());
    drop(watch);
    timeout(PATIENCE, work).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_watches_share_one_prober() {
    const WATCHES: usize = 2_000;
    let (prober, _work) = start(64);
    let nobody = nobody().await;
    let mut watches: Vec<_> = (0..WATCHES)
        .map(|_| watch(&prober, nobody, rare(CheckKind::Tcp)))
        .collect();
    for (watch, answers) in &mut watches {
        assert!(answers.next().await.unwrap().is_err());
        watch.probe_now();
        assert!(answers.next().await.unwrap().is_err());
    }
}
