//! Pebble on ports of its own, and a name server for it that finds every host on this machine.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::json;

use crate::support::{eventually, peers};

/// A port that is free now, and that the system gives nobody who does not ask for it.
pub(crate) fn free_port() -> u16 {
    loop {
        let port = fastrand::u16(20_000..32_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A running Pebble; killed when dropped, and with it all that it knows.
pub(crate) struct Pebble {
    process: Option<Child>,
    program: PathBuf,
    folder: tempfile::TempDir,
    port: u16,
    management: u16,
    names: Names,
}

impl Pebble {
    /// One that looks for names at these ports of this machine; `None` skips `test`.
    pub(crate) async fn start(test: &str, plain: u16, secured: u16) -> Option<Self> {
        let mut pebble = Self::prepare(test, plain, secured)?;
        pebble.run().await;
        Some(pebble)
    }

    /// As [`Pebble::start`], but it does not run yet.
    pub(crate) fn prepare(test: &str, plain: u16, secured: u16) -> Option<Self> {
        let program = peers::program("pebble", test)?;
        let folder = tempfile::tempdir().unwrap();
        let names = ["127.0.0.1".to_owned()];
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("ca.pem"), cert.pem()).unwrap();
        fs::write(at("key.pem"), signing_key.serialize_pem()).unwrap();
        let (port, management) = (free_port(), free_port());
        let config = json!({"pebble": {
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": at("ca.pem"),
            "privateKey": at("key.pem"),
            "httpPort": plain,
            "tlsPort": secured,
            "retryAfter": {"authz": 1, "order": 1},
            "keyAlgorithm": "ecdsa",
        }});
        fs::write(at("pebble.json"), config.to_string()).unwrap();
        Some(Self {
            process: None,
            program,
            folder,
            port,
            management,
            names: Names::start(),
        })
    }

    /// Runs it, and waits until it answers.
    pub(crate) async fn run(&mut self) {
        self.kill();
        let log = fs::File::create(self.folder.path().join("log")).unwrap();
        let process = Command::new(&self.program)
            .arg("-config")
            .arg(self.folder.path().join("pebble.json"))
            .args(["-dnsserver", &format!("127.0.0.1:{}", self.names.port)])
            .envs([("PEBBLE_VA_NOSLEEP", "1"), ("PEBBLE_WFE_NONCEREJECT", "0")])
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        self.process = Some(process);
        eventually("pebble answers", || async { self.root().await.map(drop) }).await;
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// What its certificates can be verified with.
    pub(crate) async fn root(&self) -> Option<String> {
        let url = format!("https://127.0.0.1:{}/roots/0", self.management);
        let reply = self.client().get(url).send().await.ok()?;
        reply.text().await.ok()
    }

    /// Has it say that the first certificate in this text, which it issued, should be renewed at once.
    pub(crate) async fn wants_renewed(&self, text: &str) {
        let begin = text.find("-----BEGIN CERTIFICATE").unwrap();
        let window = json!({"suggestedWindow": {
            "start": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z",
        }});
        let url = format!("https://127.0.0.1:{}/set-renewal-info/", self.management);
        let order = json!({"Certificate": text[begin..], "ARIResponse": window.to_string()});
        let reply = self.client().post(url).json(&order).send().await.unwrap();
        assert_eq!(reply.status(), 200);
    }

    fn client(&self) -> reqwest::Client {
        // reqwest asks for a provider to be there; another test may have put it there already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let own = reqwest::Certificate::from_pem(&fs::read(self.ca()).unwrap()).unwrap();
        let client = reqwest::Client::builder().tls_certs_only([own]);
        // Pebble refuses whoever does not say who asks (RFC 8555, section 6.1).
        let client = client.no_proxy().user_agent("callboard's tests");
        client.build().unwrap()
    }

    /// What Pebble itself can be verified with.
    pub(crate) fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    pub(crate) fn directory(&self) -> String {
        format!("https://127.0.0.1:{}/dir", self.port)
    }

    /// Where callboard keeps what it has from here, below its own `path`.
    pub(crate) fn kept(&self, path: &Path) -> PathBuf {
        path.join(format!("127.0.0.1-{}-dir", self.port))
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            eprintln!("--- pebble's log\n{log}");
        }
    }
}

/// A name server that knows one address, 127.0.0.1. Pebble asks over TCP.
struct Names {
    port: u16,
    ended: Arc<AtomicBool>,
}

impl Names {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let ended = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&ended);
        std::thread::spawn(move || {
            for asker in listener.incoming().map_while(Result::ok) {
                if until.load(Ordering::Relaxed) {
                    return;
                }
                std::thread::spawn(move || serve(asker));
            }
        });
        Self { port, ended }
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// Answers each query, which its length comes before, until the asker leaves.
fn serve(mut asker: TcpStream) -> Option<()> {
    loop {
        let mut length = [0; 2];
        asker.read_exact(&mut length).ok()?;
        let mut query = vec![0; u16::from_be_bytes(length).into()];
        asker.read_exact(&mut query).ok()?;
        let answer = answer(&query)?;
        let length = u16::try_from(answer.len()).ok()?.to_be_bytes();
        asker
            .write_all(&[&length, answer.as_slice()].concat())
            .ok()?;
    }
}

/// The answer to a query for one name (RFC 1035, section 4.1).
fn answer(query: &[u8]) -> Option<Vec<u8>> {
    let name = query.get(12..)?;
    let end = 12 + name.iter().position(|&byte| byte == 0)? + 1;
    let question = query.get(12..end + 4)?;
    let asks_for_a = question[question.len() - 4..] == [0, 1, 0, 1];
    let mut answer = query[..2].to_vec();
    answer.extend([0x84, 0, 0, 1, 0, u8::from(asks_for_a), 0, 0, 0, 0]);
    answer.extend(question);
    if asks_for_a {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 127, 0, 0, 1]);
    }
    Some(answer)
}
