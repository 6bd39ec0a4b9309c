use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;

use super::*;

/// A relay with the given buffers between two ends, which are given.
fn between(
    buffer: usize,
    silence: Option<Duration>,
) -> (DuplexStream, DuplexStream, JoinHandle<Ended>) {
    let (client, mut near) = duplex(buffer);
    let (instance, mut far) = duplex(buffer);
    let relay = tokio::spawn(async move {
        let traffic = Traffic::default();
        Relay::new(&mut near, &mut far, silence, &traffic)
            .run()
            .await
    });
    (client, instance, relay)
}

#[tokio::test]
async fn what_one_side_says_after_the_other_has_ended_is_passed_on() {
    let (mut client, mut instance, relay) = between(64, None);
    client.write_all(b"question").await.unwrap();
    client.shutdown().await.unwrap();
    let mut asked = String::new();
    instance.read_to_string(&mut asked).await.unwrap();
    assert_eq!(asked, "question");
    instance.write_all(b"answer").await.unwrap();
    let mut answer = [0; 6];
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"answer");
    assert!(!relay.is_finished());
    instance.shutdown().await.unwrap();
    assert!(matches!(relay.await.unwrap(), Ended::Closed));
}

#[tokio::test]
async fn everything_arrives_in_order_at_a_reader_that_takes_little_at_a_time() {
    let (mut client, mut instance, relay) = between(7, None);
    let sent: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    let expected = sent.clone();
    let sending = tokio::spawn(async move {
        client.write_all(&sent).await.unwrap();
        client.shutdown().await.unwrap();
        client
    });
    let mut got = Vec::new();
    instance.read_to_end(&mut got).await.unwrap();
    assert!(got == expected);
    instance.shutdown().await.unwrap();
    assert!(matches!(relay.await.unwrap(), Ended::Closed));
    sending.await.unwrap();
}

#[tokio::test]
async fn silence_of_both_sides_ends_it() {
    let (_client, _instance, relay) = between(64, Some(Duration::from_millis(1)));
    assert!(matches!(relay.await.unwrap(), Ended::Silent));
}

/// Reads what it was given, then breaks; takes nothing.
struct Broken(&'static [u8]);

impl AsyncRead for Broken {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        buffer.put_slice(std::mem::take(&mut self.0));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Broken {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_side_that_breaks_has_its_last_words_passed_on_and_no_end() {
    let (mut near, mut far) = duplex(64);
    let mut broken = Broken(b"");
    let traffic = Traffic::default();
    let mut way = Way {
        has_lost_source: true,
        ..Way::default()
    };
    let mut last = Broken(b"goodbye");
    let polled = poll_fn(|context| {
        let polled = way.poll(&mut last, &mut near, &AtomicU64::new(0), context);
        Poll::Ready(polled.is_pending())
    });
    assert!(polled.await);
    let mut said = [0; 7];
    far.read_exact(&mut said).await.unwrap();
    assert_eq!(&said, b"goodbye");
    far.write_all(b"data").await.unwrap();
    let ended = Relay::new(&mut near, &mut broken, None, &traffic)
        .run()
        .await;
    assert!(
        matches!(ended, Ended::Broken(Side::Instance, _)),
        "{ended:?}"
    );
}

#[tokio::test]
async fn a_relay_knows_whether_the_instance_has_said_anything() {
    let (_client, mut near) = duplex(64);
    let (mut instance, mut far) = duplex(64);
    let traffic = Traffic::default();
    let mut relay = Relay::new(&mut near, &mut far, None, &traffic);
    assert!(!relay.has_answer());
    instance.write_all(b"220 ready").await.unwrap();
    assert!(relay.answer().await.is_none());
    assert!(relay.has_answer());
    assert_eq!(traffic.from_instances.load(Ordering::Relaxed), 9);
}
