//! SIGTERM amid traffic: nobody's request is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::wire::{connect, read_all, read_one};
use crate::support::{Callboard, Instance, eventually};

/// Calls over and over, each time on the connection it has if that was not closed with the last
/// answer, until it cannot connect any more.
async fn call(address: String, post: bool, answered: Arc<AtomicUsize>, told: Arc<AtomicBool>) {
    let request: &[u8] = if post {
        b"POST /web/ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
    } else {
        b"GET /web/ HTTP/1.1\r\nHost: a\r\n\r\n"
    };
    loop {
        let mut stream = match TcpStream::connect(&address).await {
            Ok(stream) => stream,
            Err(error) => {
                assert!(told.load(Ordering::SeqCst), "cannot connect: {error}");
                return;
            }
        };
        for turn in 0.. {
            let sent = stream.write_all(request).await;
            let reply = match sent {
                Ok(()) => read_one(&mut stream).await,
                Err(_) => None,
            };
            let Some(reply) = reply else {
                // The system refuses a connection with a reset, too, when its socket is closed just
                // as the client has made it.
                assert!(turn == 0, "request {turn} on a kept connection was lost");
                assert!(told.load(Ordering::SeqCst), "a first request was lost");
                return;
            };
            assert!(reply.starts_with("HTTP/1.1 200 "), "{reply}");
            answered.fetch_add(1, Ordering::SeqCst);
            if reply.contains("\r\nConnection: close\r\n") {
                break;
            }
        }
    }
}

#[tokio::test]
async fn sixty_busy_clients_lose_nothing() {
    let mut callboard = Callboard::trusting();
    let instances = Instance::several("web", 3);
    for instance in &instances {
        callboard.register("web", instance, json!({})).await;
    }
    let address = callboard.proxy.strip_prefix("http://").unwrap().to_owned();
    let answered = Arc::new(AtomicUsize::new(0));
    let told = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..60)
        .map(|number| {
            tokio::spawn(call(
                address.clone(),
                number % 2 == 0,
                Arc::clone(&answered),
                Arc::clone(&told),
            ))
        })
        .collect();
    eventually("all are busy", || async {
        (answered.load(Ordering::SeqCst) > 600).then_some(())
    })
    .await;
    told.store(true, Ordering::SeqCst);
    callboard.signal("TERM");
    for client in clients {
        client.await.unwrap();
    }
    assert!(callboard.ended().await.success());
}

#[tokio::test]
async fn a_body_on_its_way_may_arrive_and_its_answer_is_the_last() {
    let mut callboard = Callboard::trusting();
    let web = Instance::start("web-1");
    callboard.register("web", &web, json!({})).await;
    let mut stream = connect(&callboard).await;
    let start = b"POST /web/ HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello";
    stream.write_all(start).await.unwrap();
    eventually("it is in flight", || async {
        let now = callboard.instance("web", &web).await?;
        (now["in_flight"] == 1).then_some(())
    })
    .await;
    let mut idle = connect(&callboard).await;
    callboard.signal("TERM");
    let address = callboard.proxy.strip_prefix("http://").unwrap().to_owned();
    eventually("the data plane is closed", || async {
        TcpStream::connect(&address).await.err()
    })
    .await;
    assert_eq!(
        read_all(&mut idle).await,
        "",
        "an idle connection just ends"
    );
    // The second request is not read: the first answer says that it is the last.
    stream
        .write_all(b"worldGET /web/ HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let reply = read_all(&mut stream).await;
    assert!(reply.starts_with("HTTP/1.1 200 "), "{reply}");
    assert!(reply.contains("\r\nConnection: close\r\n"), "{reply}");
    assert!(reply.contains(r#""body":"helloworld""#), "{reply}");
    assert_eq!(web.hits(), 1);
    assert!(callboard.ended().await.success());
}
