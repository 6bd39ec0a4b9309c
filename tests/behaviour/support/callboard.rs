//! A callboard process on ports of its own.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use serde_json::{Value, json};

use super::{Instance, eventually};

/// What the configuration of a test's callboard says, beyond the listeners.
#[derive(Default)]
pub(crate) struct Setup {
    listeners: Vec<String>,
    proxy: String,
    registry: String,
    rest: String,
    log: Option<&'static str>,
}

impl Setup {
    /// Adds a line such as `admission: trust` below `registry:`.
    pub(crate) fn registry(mut self, line: &str) -> Self {
        self.registry += &format!("  {line}\n");
        self
    }

    /// Adds a listener to the first one, such as `protocol: tcp, service: redis`. It is on a port of its
    /// own, see [`Callboard::port`].
    pub(crate) fn listener(mut self, settings: &str) -> Self {
        self.listeners
            .push(format!(", {{address: \"127.0.0.1:0\", {settings}}}"));
        self
    }

    /// Adds a line such as `shutdown_grace: 1s` below `proxy:`.
    pub(crate) fn proxy(mut self, line: &str) -> Self {
        self.proxy += &format!("  {line}\n");
        self
    }

    /// Adds lines at the top level.
    pub(crate) fn top(mut self, lines: &str) -> Self {
        self.rest += lines;
        self.rest += "\n";
        self
    }

    /// Logs as `RUST_LOG` says.
    pub(crate) fn log(mut self, filter: &'static str) -> Self {
        self.log = Some(filter);
        self
    }

    fn yaml(&self) -> String {
        format!(
            "proxy:\n  listen: [\"127.0.0.1:0\"{}]\n{}registry:\n  listen: \"127.0.0.1:0\"\n{}{}",
            self.listeners.concat(),
            self.proxy,
            self.registry,
            self.rest
        )
    }

    /// Starts it and waits until it serves.
    pub(crate) fn start(self) -> Callboard {
        Callboard::start_logging(&self.yaml(), self.log, 1 + self.listeners.len())
    }
}

/// A request under way.
pub(crate) type Held = tokio::task::JoinHandle<reqwest::Result<reqwest::Response>>;

/// A running callboard; killed when dropped.
pub(crate) struct Callboard {
    process: Child,
    command: Command,
    folder: tempfile::TempDir,
    /// The data plane's base URL.
    pub(crate) proxy: String,
    /// All listeners of the data plane, in the order of the configuration.
    proxies: Vec<String>,
    /// The control plane's base URL.
    pub(crate) registry: String,
    pub(crate) client: reqwest::Client,
}

impl Callboard {
    /// A callboard that believes registrations without a probe.
    pub(crate) fn trusting() -> Self {
        Setup::default().registry("admission: trust").start()
    }

    /// Runs with this configuration, whose listeners should be on port 0.
    pub(crate) fn start(yaml: &str) -> Self {
        Self::start_logging(yaml, None, 1)
    }

    fn start_logging(yaml: &str, filter: Option<&str>, listeners: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("proxy.yaml"), switched(yaml)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_callboard"));
        let config = folder.path().join("proxy.yaml");
        command
            .args(["run", "--config"])
            .arg(config)
            .envs(filter.map(|filter| ("RUST_LOG", filter)));
        Self::start_listening(folder, command, listeners)
    }

    /// Runs `command`, which should come to be a callboard, in `folder`.
    pub(crate) fn start_in(folder: tempfile::TempDir, command: Command) -> Self {
        Self::start_listening(folder, command, 1)
    }

    fn start_listening(folder: tempfile::TempDir, mut command: Command, listeners: usize) -> Self {
        let (process, proxies, registry) = launch(&folder, &mut command, listeners);
        // reqwest asks for a provider to be there; another test may have put it there already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            process,
            command,
            folder,
            proxy: proxies[0].clone(),
            proxies,
            registry,
            client: reqwest::Client::new(),
        }
    }

    /// Kills the process, as a crash would, and lets `meanwhile` loose on its folder; then runs
    /// another one there, on other ports.
    pub(crate) fn crash_and_restart(&mut self, meanwhile: impl FnOnce(&Path)) {
        self.crash();
        meanwhile(self.folder.path());
        let listeners = self.proxies.len();
        let (process, proxies, registry) = launch(&self.folder, &mut self.command, listeners);
        self.proxy.clone_from(&proxies[0]);
        (self.process, self.proxies, self.registry) = (process, proxies, registry);
    }

    /// Runs another process that takes this one's place, at the same addresses.
    pub(crate) fn upgrade(&mut self) -> Predecessor {
        let mut command = self.beside("upgrade");
        let (process, proxies, registry) = launch(&self.folder, &mut command, self.proxies.len());
        assert_eq!((&proxies, &registry), (&self.proxies, &self.registry));
        self.adopt(process)
    }

    /// Goes by `successor`, which has taken this process's place.
    pub(crate) fn adopt(&mut self, successor: Child) -> Predecessor {
        Predecessor(std::mem::replace(&mut self.process, successor))
    }

    /// The command line of this callboard with another `subcommand`, to be run in its folder.
    pub(crate) fn beside(&self, subcommand: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_callboard"));
        command
            .args([subcommand, "--config"])
            .arg(self.config())
            .current_dir(self.folder.path());
        command
    }

    /// Kills the process, as a crash would.
    pub(crate) fn crash(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Whether the process still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }

    /// The process's id.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// The folder the process runs in.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A URL of the data plane.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.proxy)
    }

    /// The port of the listener with this number in the configuration; the first is 0.
    pub(crate) fn port(&self, listener: usize) -> u16 {
        let (_, port) = self.proxies[listener].rsplit_once(':').unwrap();
        port.parse().unwrap()
    }

    /// A URL below `/api/v1`.
    pub(crate) fn api(&self, path: &str) -> String {
        format!("{}/api/v1{path}", self.registry)
    }

    /// Registers `instance` for `service` under its own id, with `extra` fields.
    pub(crate) async fn register(&self, service: &str, instance: &Instance, extra: Value) -> Value {
        let reply = self.try_register(service, instance, extra).await;
        assert!(reply.status().is_success(), "{reply:?}");
        reply.json().await.unwrap()
    }

    /// As [`Callboard::register`], whatever the answer.
    pub(crate) async fn try_register(
        &self,
        service: &str,
        instance: &Instance,
        extra: Value,
    ) -> reqwest::Response {
        let mut body = json!({"address": "127.0.0.1", "port": instance.port});
        let fields = extra.as_object().expect("extra fields are an object");
        body.as_object_mut().unwrap().extend(fields.clone());
        self.client
            .put(self.instance_url(service, instance))
            .json(&body)
            .send()
            .await
            .unwrap()
    }

    pub(crate) fn instance_url(&self, service: &str, instance: &Instance) -> String {
        self.api(&format!("/services/{service}/instances/{}", instance.id))
    }

    /// What the registry says of an instance now.
    pub(crate) async fn instance(&self, service: &str, instance: &Instance) -> Option<Value> {
        let url = self.instance_url(service, instance);
        let reply = self.client.get(url).send().await.unwrap();
        match reply.status().as_u16() {
            200 => Some(reply.json().await.unwrap()),
            404 => None,
            other => panic!("status {other}"),
        }
    }

    /// Waits until the registry says that `instance` is of this availability.
    pub(crate) async fn until(&self, service: &str, instance: &Instance, availability: &str) {
        eventually(&format!("{} is {availability}", instance.id), || async {
            let now = self.instance(service, instance).await?;
            (now["availability"] == availability).then_some(())
        })
        .await;
    }

    /// GETs `path` through the proxy.
    pub(crate) async fn get(&self, path: &str) -> reqwest::Response {
        self.client.get(self.url(path)).send().await.unwrap()
    }

    /// Sends `count` GETs of `/{service}/held`, and waits until `instances` hold them all.
    pub(crate) async fn hold(
        &self,
        service: &str,
        instances: &[Instance],
        count: usize,
    ) -> Vec<Held> {
        let url = self.url(&format!("/{service}/held"));
        let held = (0..count)
            .map(|_| tokio::spawn(self.client.get(&url).send()))
            .collect();
        eventually(&format!("{count} requests are held"), || async {
            let holding: usize = instances.iter().map(Instance::holding).sum();
            (holding == count).then_some(())
        })
        .await;
        held
    }

    /// As [`Callboard::hold`], for one request.
    pub(crate) async fn hold_one(&self, service: &str, instance: &Instance) -> Held {
        let held = self.hold(service, std::slice::from_ref(instance), 1).await;
        held.into_iter().next().unwrap()
    }

    /// Sends one GET of `path` more than can wait, and gives those that wait when it was refused.
    pub(crate) async fn crowd(&self, path: &str, waiting: usize) -> Vec<Held> {
        let url = self.url(path);
        let crowd = (0..=waiting).map(|_| tokio::spawn(self.client.get(&url).send()));
        let (refused, _, waiting) = futures_util::future::select_all(crowd).await;
        assert!(refused.unwrap().unwrap().status().is_server_error());
        waiting
    }

    /// GETs `path` through the proxy and gives the answering instance's id.
    pub(crate) async fn answerer(&self, path: &str) -> String {
        let reply = self.get(path).await;
        assert_eq!(reply.status(), 200, "{:?}", reply.headers());
        reply.json::<Value>().await.unwrap()["id"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// The ids that answered `count` GETs of `path`, one after the other.
    pub(crate) async fn answerers(&self, path: &str, count: usize) -> Vec<String> {
        let mut ids = Vec::with_capacity(count);
        for _ in 0..count {
            ids.push(self.answerer(path).await);
        }
        ids
    }

    /// Replaces the configuration file, keeping the listeners of [`Setup`].
    pub(crate) fn rewrite(&self, setup: &Setup) {
        self.rewrite_raw(&setup.yaml());
    }

    pub(crate) fn rewrite_raw(&self, yaml: &str) {
        fs::write(self.config(), switched(yaml)).unwrap();
    }

    /// Sends SIGHUP and waits until the log holds another `outcome`.
    pub(crate) async fn reload(&self, outcome: &str) {
        let count = |log: String| log.matches(outcome).count();
        let before = count(self.log());
        self.signal("HUP");
        eventually(&format!("the log says {outcome:?}"), || async {
            (count(self.log()) > before).then_some(())
        })
        .await;
    }

    pub(crate) fn signal(&self, name: &str) {
        let done = Command::new("kill")
            .args([&format!("-{name}"), &self.process.id().to_string()])
            .status()
            .unwrap();
        assert!(done.success());
    }

    /// Waits until the process has ended by itself.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let process = &mut self.process;
        for _ in 0..2_000 {
            if let Some(status) = process.try_wait().unwrap() {
                return status;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("callboard did not end:\n{}", self.log());
    }

    /// How much memory the process has in use, in bytes.
    pub(crate) fn resident(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes = line.unwrap().trim().strip_suffix(" kB").unwrap();
        1_024 * kibibytes.parse::<usize>().unwrap()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("proxy.yaml")
    }
}

/// A callboard whose place another one took; killed when dropped.
pub(crate) struct Predecessor(Child);

impl Predecessor {
    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Predecessor {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Callboard {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("--- callboard's log\n{}", self.log());
        }
    }
}

/// A configuration with `proxy.lean_path` as `CALLBOARD_LEAN_PATH` has it, unless it says so itself or
/// nothing of the proxy: what holds of one path of requests holds of the other.
fn switched(yaml: &str) -> String {
    match (env::var("CALLBOARD_LEAN_PATH"), yaml.strip_prefix("proxy:")) {
        (Ok(switch), Some(rest)) if !yaml.contains("lean_path") => {
            if let Some(block) = rest.strip_prefix('\n') {
                return format!("proxy:\n  lean_path: {switch}\n{block}");
            }
            if let Some(flow) = rest.strip_prefix(" {") {
                return format!("proxy: {{lean_path: {switch}, {flow}");
            }
            yaml.to_owned()
        }
        _ => yaml.to_owned(),
    }
}

/// Starts a process in `folder` and waits until it tells where it listens: the data plane's listeners,
/// and the control plane.
fn launch(
    folder: &tempfile::TempDir,
    command: &mut Command,
    listeners: usize,
) -> (Child, Vec<String>, String) {
    let log = folder.path().join("log");
    let appended = fs::File::options().create(true).append(true).open(&log);
    let mut process = command
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .stderr(appended.unwrap())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let (mut proxies, mut registry) = (Vec::new(), None);
    while proxies.len() < listeners || registry.is_none() {
        let Some(line) = lines.next() else {
            let log = fs::read_to_string(log).unwrap();
            panic!("callboard ended instead of starting:\n{log}");
        };
        let line = line.unwrap();
        let url = line.rsplit(' ').next().unwrap().to_owned();
        match line.strip_prefix("callboard: ") {
            Some(line) if line.starts_with("proxy listening on ") => proxies.push(url),
            Some(line) if line.starts_with("registry listening on ") => registry = Some(url),
            _ => panic!("unexpected line: {line}"),
        }
    }
    // How many more were told of by now is chance.
    proxies.truncate(listeners);
    (process, proxies, registry.unwrap())
}

/// Runs the binary with `arguments` until it ends.
pub(crate) fn run_to_end(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_callboard"))
        .args(arguments)
        .output()
        .unwrap()
}
