use futures_util::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;

/// A client that is about to send `body`, and its other end.
fn sending(body: Framing) -> (Client, DuplexStream, Parting) {
    let (ours, theirs) = duplex(1_024);
    let parting = Parting::default();
    let mut client = Client::new(Box::new(ours), parting.clone());
    let head = Head {
        length: 0,
        body,
        expects_continue: false,
        plain: None,
    };
    client.begin(&head, None);
    (client, theirs, parting)
}

#[tokio::test]
async fn a_body_is_given_out_to_its_end_and_what_follows_is_kept() {
    let (mut client, mut theirs, _) = sending(Framing::Length(5));
    theirs.write_all(b"helloGET /").await.unwrap();
    let mut body = [0; 64];
    assert_eq!(client.read(&mut body).await.unwrap(), 5);
    assert!(client.is_between_requests());
    assert_eq!(client.buffer, "GET /");
    assert!(client.read(&mut body).now_or_never().is_none());
}

#[tokio::test]
async fn an_end_is_an_end_within_a_body_and_none_while_the_answer_is_awaited() {
    let (mut client, theirs, _) = sending(Framing::Length(5));
    drop(theirs);
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    assert!(!client.is_between_requests());

    let (mut client, theirs, _) = sending(Framing::Done);
    drop(theirs);
    assert!(client.read(&mut [0]).now_or_never().is_none());
    assert!(client.has_ended);
}

#[tokio::test]
async fn who_ends_and_gets_no_answer_for_long_has_left() {
    let (mut client, theirs, _) = sending(Framing::Done);
    drop(theirs);
    assert!(client.read(&mut [0]).now_or_never().is_none());
    client.awaited_until = Some(Instant::now());
    let left = client.read(&mut [0]).await.unwrap_err();
    assert_eq!(left.kind(), io::ErrorKind::ConnectionAborted);
}

#[tokio::test]
async fn who_ends_once_the_answer_has_begun_has_left_and_who_did_before_has_not() {
    let (mut client, mut theirs, _) = sending(Framing::Done);
    client.write_all(b"HTTP/1.1 200 OK").await.unwrap();
    AsyncWriteExt::shutdown(&mut theirs).await.unwrap();
    assert!(client.read(&mut [0]).await.is_err());

    let (mut client, mut theirs, _) = sending(Framing::Done);
    AsyncWriteExt::shutdown(&mut theirs).await.unwrap();
    assert!(client.read(&mut [0]).now_or_never().is_none());
    client.write_all(b"HTTP/1.1 200 OK").await.unwrap();
    client.awaited_until = Some(Instant::now());
    assert!(client.read(&mut [0]).now_or_never().is_none());
}

#[tokio::test]
async fn a_body_that_is_too_long_breaks_off_before_the_chunk_that_is() {
    let (mut client, mut theirs, _) = sending(Framing::Chunked(Default::default()));
    client.limit_body(5);
    theirs.write_all(b"5\r\nhello\r\n1\r\n").await.unwrap();
    assert!(client.read(&mut [0; 10]).await.is_ok());
    assert!(client.read(&mut [0; 10]).await.is_err());
    let status = client.failure().unwrap().status();
    assert_eq!(status.as_u16(), 413);
    assert!(client.read(&mut [0; 10]).await.is_err());
}

#[tokio::test]
async fn what_came_behind_a_request_is_not_lost_with_it() {
    let (mut client, mut theirs, parting) = sending(Framing::Done);
    theirs.write_all(b"first").await.unwrap();
    let mut bytes = [0; 64];
    assert!(client.read(&mut bytes).now_or_never().is_none());
    drop(client);
    assert_eq!(parting.take().unwrap().unread, "first");
}

#[tokio::test]
async fn a_connection_that_pingora_drops_is_found_again() {
    let (client, mut theirs, parting) = sending(Framing::Done);
    assert!(parting.take().is_none());
    drop(client);
    let parted = parting.take().unwrap();
    assert!(theirs.read(&mut [0]).now_or_never().is_none(), "still open");
    drop(parted);
    assert_eq!(theirs.read(&mut [0]).await.unwrap(), 0);
}
