//! Connections of TCP listeners when their instance or callboard leaves.

use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::support::talker::{Manner, Talker, echo, read_line};
use crate::support::upgraded::ends;
use crate::support::{Callboard, Setup, eventually};

fn setup() -> Setup {
    Setup::default()
        .registry("admission: trust")
        .listener("protocol: tcp, service: db")
}

async fn connected(callboard: &Callboard, talker: &Talker) -> TcpStream {
    callboard.register_talker("db", talker).await;
    let mut stream = callboard.dial(1).await;
    assert_eq!(read_line(&mut stream).await, talker.id);
    stream
}

#[tokio::test]
async fn a_drained_instance_keeps_its_connections_and_gets_no_more() {
    let callboard = setup().start();
    let old = Talker::start("old").await;
    let mut stream = connected(&callboard, &old).await;
    let url = callboard.api("/services/db/instances/old/drain");
    let reply = callboard.client.put(url).send().await.unwrap();
    assert!(reply.status().is_success());
    let new = Talker::start("new").await;
    callboard.register_talker("db", &new).await;
    for _ in 0..5 {
        assert_eq!(read_line(&mut callboard.dial(1).await).await, "new");
    }
    assert_eq!(echo(&mut stream, "still there").await, "still there");
}

#[tokio::test]
async fn a_leaving_callboard_takes_no_connections_and_waits_for_those_it_has() {
    let mut callboard = setup().start();
    let talker = Talker::start("a").await;
    let mut stream = connected(&callboard, &talker).await;
    let port = callboard.port(1);
    callboard.signal("TERM");
    eventually("nothing is accepted", || async {
        TcpStream::connect(("127.0.0.1", port)).await.err()
    })
    .await;
    assert_eq!(echo(&mut stream, "still there").await, "still there");
    assert!(callboard.runs());
    drop(stream);
    assert!(callboard.ended().await.success());
}

#[tokio::test]
async fn connections_that_stay_open_end_with_the_grace() {
    let mut callboard = setup().proxy("shutdown_grace: 1s").start();
    let talker = Talker::start("a").await;
    let mut stream = connected(&callboard, &talker).await;
    callboard.signal("TERM");
    assert!(callboard.ended().await.success());
    assert!(!matches!(stream.read(&mut [0]).await, Ok(1)));
}

#[tokio::test]
async fn connections_of_one_process_go_on_when_another_takes_its_place() {
    let mut callboard = setup().proxy("upgrade_socket: upgrade.sock").start();
    let talker = Talker::start("a").await;
    let mut stream = connected(&callboard, &talker).await;
    let predecessor = std::cell::RefCell::new(callboard.upgrade());
    assert_eq!(echo(&mut stream, "still there").await, "still there");
    assert_eq!(read_line(&mut callboard.dial(1).await).await, "a");
    assert!(predecessor.borrow_mut().runs());
    drop(stream);
    eventually("the predecessor has left", || async {
        (!predecessor.borrow_mut().runs()).then_some(())
    })
    .await;
    let url = callboard.api("/services/db/instances/a");
    let now: Value = callboard
        .client
        .get(url)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(now["scheme"], "tcp");
}

#[tokio::test]
async fn the_end_of_a_drain_closes_the_connections_that_are_left() {
    let callboard = setup().top("defaults: {drain: 400ms}").start();
    let talker = Talker::start("a").await;
    let mut early = connected(&callboard, &talker).await;
    let mut silent = callboard.dial(1).await;
    assert_eq!(read_line(&mut silent).await, "a");
    assert_eq!(echo(&mut early, "word").await, "word");
    let url = callboard.api("/services/db/instances/a/drain");
    let reply = callboard.client.put(url).send().await.unwrap();
    assert!(reply.status().is_success());
    for stream in [&mut early, &mut silent] {
        assert_eq!(echo(stream, "still there").await, "still there");
    }
    for stream in [&mut early, &mut silent] {
        ends(stream).await;
    }
    callboard.until_in_flight("db", "a", 0).await;
    eventually("the instance is left", || async {
        (talker.open() == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_end_of_a_drain_closes_a_connection_whose_instance_has_said_nothing() {
    let callboard = setup().top("defaults: {drain: 400ms}").start();
    let talker = Talker::with_manner("a", Manner::Counts).await;
    callboard.register_talker("db", &talker).await;
    let mut stream = callboard.dial(1).await;
    callboard.until_in_flight("db", "a", 1).await;
    let url = callboard.api("/services/db/instances/a/drain");
    let reply = callboard.client.put(url).send().await.unwrap();
    assert!(reply.status().is_success());
    ends(&mut stream).await;
    callboard.until_in_flight("db", "a", 0).await;
}

#[tokio::test]
async fn a_removal_that_waits_has_closed_every_connection_by_its_end() {
    let callboard = setup().start();
    let talker = Talker::start("a").await;
    let mut stream = connected(&callboard, &talker).await;
    callboard.until_in_flight("db", "a", 1).await;
    let url = callboard.api("/services/db/instances/a?drain=300ms");
    let reply = callboard.client.delete(url).send().await.unwrap();
    let farewell: Value = reply.json().await.unwrap();
    assert_eq!(farewell["in_flight"], 0, "{farewell}");
    assert_eq!(farewell["aborted"], 0, "{farewell}");
    ends(&mut stream).await;
    eventually("the instance is left", || async {
        (talker.open() == 0).then_some(())
    })
    .await;
}
