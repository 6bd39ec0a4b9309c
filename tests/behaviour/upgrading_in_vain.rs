//! Another process fails to take callboard's place: nothing is lost.

use std::io::{BufRead, BufReader, IoSlice, Write};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Output};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use serde_json::{Value, json};

use crate::support::{Callboard, Instance, eventually};

/// Speaks the successor's part, or the predecessor's.
struct Peer(BufReader<UnixStream>);

impl Peer {
    fn of(callboard: &Callboard) -> Self {
        let path = callboard.folder().join("data/callboard.sock");
        Self(BufReader::new(UnixStream::connect(path).unwrap()))
    }

    fn say(&mut self, message: Value) {
        writeln!(self.0.get_mut(), "{message}").unwrap();
    }

    /// The next message; what comes along with it is closed.
    fn hear(&mut self) -> Value {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    fn greet(&mut self) -> Value {
        self.say(json!({"say": "hello", "protocol": 1, "version": "9", "pid": 1}));
        self.hear()
    }
}

fn run(mut command: Command) -> tokio::task::JoinHandle<Output> {
    tokio::task::spawn_blocking(move || command.output().unwrap())
}

/// Runs an upgrade that is expected to fail; gives its exit code and what it says.
async fn failed(callboard: &Callboard) -> (Option<i32>, String) {
    let done = run(callboard.beside("upgrade")).await.unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    (done.status.code(), said)
}

/// Registers, and finds all who ever did.
async fn goes_on(callboard: &mut Callboard, instances: &[Instance]) {
    callboard.client = reqwest::Client::new();
    let last = instances.last().unwrap();
    callboard
        .register("web", last, json!({"lease": null}))
        .await;
    for instance in instances {
        assert!(callboard.instance("web", instance).await.is_some());
    }
    assert_eq!(callboard.get("/web/").await.status(), 200);
}

#[tokio::test]
async fn without_a_running_callboard_there_is_nobody_to_take_over_from() {
    let mut callboard = Callboard::trusting();
    callboard.crash();
    let (code, said) = failed(&callboard).await;
    assert_eq!(code, Some(1));
    assert!(
        said.contains("nobody to take over from at data/callboard.sock")
            && said.contains("start with `callboard run`"),
        "{said}"
    );
}

#[tokio::test]
async fn a_configuration_that_cannot_be_used_is_refused_before_anything_is_touched() {
    let mut callboard = Callboard::trusting();
    let web = [Instance::start("a")];
    callboard.rewrite_raw("prox: {}");
    let (code, said) = failed(&callboard).await;
    assert_eq!(code, Some(2), "{said}");

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap();
    callboard.rewrite_raw(&format!(
        "proxy: {{listen: ['127.0.0.1:0', '{taken}']}}\nregistry: {{listen: 127.0.0.1:0}}"
    ));
    let _held = TcpListener::bind(taken);
    let (code, said) = failed(&callboard).await;
    assert_eq!(code, Some(1));
    assert!(
        said.contains(&format!("cannot listen on {taken}")),
        "{said}"
    );

    callboard.rewrite_raw(
        "proxy: {listen: 127.0.0.1:0, upgrade_socket: data/callboard.sock}\n\
         registry: {listen: 127.0.0.1:0, store: memory}",
    );
    let (code, said) = failed(&callboard).await;
    assert_eq!(code, Some(1));
    assert!(
        said.contains("a change of registry.store needs a restart"),
        "{said}"
    );
    assert!(!callboard.log().contains("the control plane is shut"));
    goes_on(&mut callboard, &web).await;
}

#[tokio::test]
async fn a_successor_that_dies_on_the_way_leaves_everything_as_it_was() {
    let mut callboard = Callboard::trusting();
    let mut web = vec![Instance::start("a")];
    let first = callboard.register("web", &web[0], json!({})).await;
    for steps in 0..5 {
        let mut successor = Peer::of(&callboard);
        match steps {
            0 => {}
            1 => successor.0.get_mut().write_all(b"\xff\n").unwrap(),
            2 => assert_eq!(successor.greet()["say"], "welcome"),
            _ => {
                successor.greet();
                successor.say(json!({"say": "ready"}));
                assert_eq!(
                    successor.hear(),
                    json!({"say": "yours", "membership": null})
                );
                if steps == 4 {
                    successor.say(json!({"say": "moo"}));
                    assert_eq!(successor.hear()["say"], "withdrawn");
                }
            }
        }
        drop(successor);
        web.push(Instance::start(&format!("b-{steps}")));
        goes_on(&mut callboard, &web).await;
    }
    let again = callboard.instance("web", &web[0]).await.unwrap();
    assert_eq!(again["index"], first["index"]);
    let web: Vec<_> = web.iter().collect();
    drop(callboard.upgrade());
    callboard.client = reqwest::Client::new();
    for instance in web {
        assert!(callboard.instance("web", instance).await.is_some());
    }
}

#[tokio::test]
async fn only_one_takes_over_at_a_time_and_a_reload_meanwhile_does_no_harm() {
    let mut callboard = Callboard::trusting();
    let web = [Instance::start("a")];
    let mut successor = Peer::of(&callboard);
    assert_eq!(successor.greet()["say"], "welcome");
    callboard.reload("configuration reloaded").await;
    let (code, said) = failed(&callboard).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("another process is taking over"), "{said}");
    drop(successor);
    goes_on(&mut callboard, &web).await;
    let mut other = Peer::of(&callboard);
    other.say(json!({"say": "hello", "protocol": 999, "version": "9", "pid": 1}));
    assert_eq!(other.hear()["say"], "refused");
}

#[tokio::test]
async fn told_to_leave_in_the_middle_it_leaves() {
    let mut callboard = Callboard::trusting();
    let mut successor = Peer::of(&callboard);
    assert_eq!(successor.greet()["say"], "welcome");
    callboard.signal("TERM");
    assert!(callboard.ended().await.success());

    let mut callboard = Callboard::trusting();
    let mut successor = Peer::of(&callboard);
    assert_eq!(successor.greet()["say"], "welcome");
    successor.say(json!({"say": "ready"}));
    assert_eq!(successor.hear()["say"], "yours");
    callboard.signal("TERM");
    assert!(callboard.ended().await.success());
}

/// The predecessor's part, up to where it dies: after it heard that the successor is ready.
fn die_after_welcome(path: &std::path::Path, store: &str, sockets: &[TcpListener; 2]) {
    let listener = UnixListener::bind(path).unwrap();
    let mut successor = Peer(BufReader::new(listener.accept().unwrap().0));
    assert_eq!(successor.hear()["say"], "hello");
    let welcome = json!({"say": "welcome", "version": "0", "pid": 1, "store": store,
        "proxy": ["127.0.0.1:0"], "registry": "127.0.0.1:0"});
    let welcome = format!("{welcome}\n");
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut along = SendAncillaryBuffer::new(&mut space);
    let files = [sockets[0].as_fd(), sockets[1].as_fd()];
    assert!(along.push(SendAncillaryMessage::ScmRights(&files)));
    let line = [IoSlice::new(welcome.as_bytes())];
    let stream = successor.0.get_ref();
    rustix::net::sendmsg(stream, &line, &mut along, SendFlags::empty()).unwrap();
    assert_eq!(successor.hear()["say"], "ready");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_successor_goes_on_without_a_predecessor_that_died() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("data")).unwrap();
    let yaml = "proxy: {listen: 127.0.0.1:0}\n\
                registry: {listen: 127.0.0.1:0, admission: trust}";
    std::fs::write(folder.path().join("proxy.yaml"), yaml).unwrap();
    let sockets = [(); 2].map(|()| {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        socket
    });
    let [proxy, registry] = [&sockets[0], &sockets[1]].map(|s| s.local_addr().unwrap());
    let path = folder.path().join("data/callboard.sock");
    let store = std::path::absolute(folder.path().join("data/callboard.db")).unwrap();
    let store = store.display().to_string();
    let dying = std::thread::spawn({
        let path = path.clone();
        move || die_after_welcome(&path, &store, &sockets)
    });
    eventually("the predecessor listens", || async {
        path.exists().then_some(())
    })
    .await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_callboard"));
    command.args(["upgrade", "--config", "proxy.yaml"]);
    let mut callboard = Callboard::start_in(folder, command);
    dying.join().unwrap();
    assert_eq!(callboard.proxy, format!("http://{proxy}"));
    assert_eq!(callboard.registry, format!("http://{registry}"));
    goes_on(&mut callboard, &[Instance::start("a")]).await;
}

#[tokio::test]
async fn an_upgrade_that_is_turned_off_or_cannot_be_is_no_reason_not_to_run() {
    let long = format!(
        "proxy: {{listen: 127.0.0.1:0, upgrade_socket: {}.sock}}",
        "x".repeat(120)
    );
    for (proxy, said) in [
        (
            "proxy: {listen: 127.0.0.1:0, upgrade_socket: off}".to_owned(),
            "upgrade_socket is off",
        ),
        (long, "nobody to take over from"),
    ] {
        let yaml = format!("{proxy}\nregistry: {{listen: 127.0.0.1:0, admission: trust}}");
        let mut callboard = Callboard::start(&yaml);
        let (code, error) = failed(&callboard).await;
        assert_eq!(code, Some(1));
        assert!(error.contains(said), "{error}");
        goes_on(&mut callboard, &[Instance::start("a")]).await;
    }
}
