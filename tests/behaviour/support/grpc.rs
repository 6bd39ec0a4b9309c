//! gRPC's servers and clients of two makers, as `tests/peers/README.md` describes them.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use super::{Callboard, eventually, peers};

/// Who made a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Maker {
    Go,
    Python,
}

impl Maker {
    fn command(self, role: &str, test: &str) -> Option<Command> {
        Some(match self {
            Self::Go => {
                let mut command = Command::new(peers::program("grpcpeer", test)?);
                command.arg(role);
                command
            }
            Self::Python => {
                let mut command = Command::new(peers::python(test)?);
                command.arg(peers::script(&format!("grpc_{role}.py")));
                command
            }
        })
    }

    /// Makes calls through `callboard`'s data plane and gives what came of each; the `arguments` say
    /// which.
    pub(crate) fn calls(self, callboard: &Callboard, arguments: &[&str]) -> Vec<Value> {
        let target = callboard.proxy.rsplit('/').next().unwrap();
        let mut command = self.command("client", "a client").unwrap();
        let done = command
            .args(["-target", target])
            .args(arguments)
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
        let printed = String::from_utf8(done.stdout).unwrap();
        let read = |line| serde_json::from_str(line).unwrap();
        printed.lines().map(read).collect()
    }

    /// One call to the service `peer`.
    pub(crate) fn call(self, callboard: &Callboard, arguments: &[&str]) -> Value {
        let arguments = [&["-authority", "peer.callboard"], arguments].concat();
        let mut outcomes = self.calls(callboard, &arguments);
        assert_eq!(outcomes.len(), 1);
        outcomes.remove(0)
    }
}

/// A server; ends when dropped.
pub(crate) struct Server {
    pub(crate) id: String,
    pub(crate) port: u16,
    process: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Server {
    /// A server in clear text; `None` skips `test`.
    pub(crate) fn start(maker: Maker, id: &str, test: &str) -> Option<Self> {
        Self::start_with(maker, id, &[], test)
    }

    /// A server that shows this certificate.
    pub(crate) fn secured(
        maker: Maker,
        id: &str,
        cert: &Path,
        key: &Path,
        test: &str,
    ) -> Option<Self> {
        let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
        Self::start_with(maker, id, &["-cert", cert, "-key", key], test)
    }

    fn start_with(maker: Maker, id: &str, arguments: &[&str], test: &str) -> Option<Self> {
        let mut process = maker
            .command("server", test)?
            .args(["-id", id])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let orders = process.stdin.take().unwrap();
        let mut answers = BufReader::new(process.stdout.take().unwrap()).lines();
        let first = answers.next().expect("a server says where it is").unwrap();
        let port = first.strip_prefix("listening on ").unwrap();
        Some(Self {
            id: id.to_owned(),
            port: port.parse().unwrap(),
            process,
            orders,
            answers,
        })
    }

    /// Gives an order and reads what the server says to it.
    pub(crate) fn tell(&mut self, order: &str) -> String {
        writeln!(self.orders, "{order}").unwrap();
        self.answers.next().unwrap().unwrap()
    }

    /// A number the server counts: `calls` or `cancelled`.
    pub(crate) fn count(&mut self, what: &str) -> u64 {
        self.tell(what).parse().unwrap()
    }

    /// Waits until the server has counted so many.
    pub(crate) async fn until(&mut self, what: &str, count: u64) {
        let server = std::cell::RefCell::new(self);
        eventually(&format!("{count} {what}"), || async {
            (server.borrow_mut().count(what) >= count).then_some(())
        })
        .await;
    }

    /// Registers it for the service `peer`, with `extra` fields.
    pub(crate) async fn register(&self, callboard: &Callboard, extra: Value) {
        let mut body = json!({
            "address": "127.0.0.1", "port": self.port, "scheme": "h2c", "lease": null,
        });
        let fields = extra.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(fields);
        let reply = callboard.client.put(self.url(callboard)).json(&body);
        let reply = reply.send().await.unwrap();
        assert!(reply.status().is_success(), "{:?}", reply.text().await);
    }

    fn url(&self, callboard: &Callboard) -> String {
        callboard.api(&format!("/services/peer/instances/{}", self.id))
    }

    /// What the registry says of it.
    pub(crate) async fn view(&self, callboard: &Callboard) -> Value {
        let reply = callboard.client.get(self.url(callboard)).send();
        reply.await.unwrap().json().await.unwrap()
    }

    /// Waits until the registry says that it is of this availability, and gives the reason.
    pub(crate) async fn becomes(&self, callboard: &Callboard, availability: &str) -> String {
        eventually(&format!("{} is {availability}", self.id), || async {
            let view = self.view(callboard).await;
            let reason = view["reason"].as_str().unwrap_or_default().to_owned();
            (view["availability"] == availability).then_some(reason)
        })
        .await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A message in its frame.
pub(crate) fn frame(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], &length[..], message].concat()
}
