//! Deadlines on real connections.

use std::os::fd::AsRawFd;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

const SOON: Duration = Duration::from_millis(20);

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await;
    (stream.unwrap(), listener.accept().await.unwrap().0)
}

fn at(in_time: Duration) -> Limit {
    Limit::At(Instant::now() + in_time, Timer::FirstByte)
}

#[tokio::test]
async fn a_read_ends_at_the_deadline_and_not_at_one_that_was_cleared() {
    let (mut stream, _silent) = pair().await;
    watched(async {
        let file = Some(stream.as_raw_fd());
        set(file, at(SOON), Instant::now());
        clear();
        set(file, at(SOON + Duration::from_secs(60)), Instant::now());
        set(file, at(SOON), Instant::now());
        assert_eq!(fired(), None);
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
        assert_eq!(fired(), Some(Timer::FirstByte));
    })
    .await;
}

#[tokio::test]
async fn silence_ends_a_read_but_not_while_something_is_unread() {
    let (mut stream, mut peer) = pair().await;
    let silence = Limit::Flow {
        silence: SOON,
        total: None,
    };
    watched(async {
        peer.write_all(b"ab").await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'a');
        set(Some(stream.as_raw_fd()), silence, Instant::now());
        // However long nobody reads, it is not the peer that is silent.
        tokio::time::sleep(10 * SOON).await;
        assert_eq!(fired(), None);
        assert_eq!(stream.read_u8().await.unwrap(), b'b');
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
        assert_eq!(fired(), Some(Timer::BetweenBytes));
    })
    .await;
}

#[tokio::test]
async fn silence_ends_a_read_from_a_unix_socket_too() {
    let (mut stream, _silent) = tokio::net::UnixStream::pair().unwrap();
    let silence = Limit::Flow {
        silence: SOON,
        total: None,
    };
    watched(async {
        set(Some(stream.as_raw_fd()), silence, Instant::now());
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
        assert_eq!(fired(), Some(Timer::BetweenBytes));
    })
    .await;
}

#[tokio::test]
async fn the_total_ends_a_stream_that_is_never_silent() {
    let (mut stream, mut peer) = pair().await;
    let talking = tokio::spawn(async move {
        while peer.write_all(b"more").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    watched(async {
        let now = Instant::now();
        let limit = Limit::Flow {
            silence: Duration::from_secs(60),
            total: Some(now + SOON),
        };
        set(Some(stream.as_raw_fd()), limit, now);
        // What came before the end may still be read after it.
        while stream
            .read(&mut [0; 64])
            .await
            .is_ok_and(|length| length > 0)
        {}
        assert_eq!(fired(), Some(Timer::Total));
    })
    .await;
    drop(stream);
    talking.await.unwrap();
}

#[tokio::test]
async fn a_connection_that_its_peer_ended_is_left_alone() {
    let (mut stream, peer) = pair().await;
    drop(peer);
    let silence = Limit::Flow {
        silence: SOON,
        total: None,
    };
    watched(async {
        set(Some(stream.as_raw_fd()), silence, Instant::now());
        tokio::time::sleep(5 * SOON).await;
        assert_eq!(fired(), None);
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    })
    .await;
}

#[tokio::test]
async fn an_attempt_without_a_file_is_given_up_and_nothing_is_shut_down() {
    watched(async {
        set(None, at(SOON), Instant::now());
        assert_eq!(overdue().await, Timer::FirstByte);
        assert_eq!(fired(), Some(Timer::FirstByte));
        clear();
        let mut later = std::pin::pin!(overdue());
        let waits = poll_fn(|context| Poll::Ready(later.as_mut().poll(context).is_pending()));
        assert!(waits.await, "another attempt is not overdue");
    })
    .await;
}

#[tokio::test]
async fn nobody_is_silent_while_the_client_takes_nothing() {
    let silence = Limit::Flow {
        silence: SOON,
        total: None,
    };
    watched(async {
        client_takes(false);
        set(None, silence, Instant::now());
        tokio::time::sleep(5 * SOON).await;
        assert_eq!(fired(), None);
        client_takes(true);
        assert_eq!(overdue().await, Timer::BetweenBytes);
    })
    .await;
}
