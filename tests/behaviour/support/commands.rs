//! The commands that ask a registry, as a shell runs them.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;

use super::{PATIENCE, tokens};

/// callboard with `arguments`, to ask `registry`.
pub(crate) fn command(registry: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_callboard"));
    for name in ["CALLBOARD_TOKEN", "CALLBOARD_CA", "NO_COLOR", "COLUMNS"] {
        command.env_remove(name);
    }
    command.env("CALLBOARD_REGISTRY", registry).args(arguments);
    command.stdin(Stdio::null());
    command
}

/// What a command said and ended with.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// The words of a line of its output.
    pub(crate) fn words(&self, line: usize) -> Vec<&str> {
        let line = self.out.lines().nth(line);
        line.unwrap_or_else(|| panic!("{self:?}"))
            .split_whitespace()
            .collect()
    }

    /// Asserts that it went well and said nothing beside.
    pub(crate) fn well(self) -> Self {
        assert_eq!(
            (self.code, self.err.as_str()),
            (Some(0), ""),
            "{}",
            self.out
        );
        self
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self {
            code: output.status.code(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }
}

/// Runs a command to its end.
pub(crate) fn say(registry: &str, arguments: &[&str]) -> Said {
    command(registry, arguments).output().unwrap().into()
}

/// The same with the token of this name.
pub(crate) fn say_as(token: &str, registry: &str, arguments: &[&str]) -> Said {
    let mut command = command(registry, arguments);
    let said = command
        .env("CALLBOARD_TOKEN", tokens::secret(token))
        .output();
    said.unwrap().into()
}

/// A command that goes on; killed when dropped.
pub(crate) struct Running {
    process: Child,
    lines: mpsc::Receiver<String>,
}

impl Running {
    pub(crate) fn start(registry: &str, arguments: &[&str]) -> Self {
        let mut command = command(registry, arguments);
        let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = piped.spawn().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Self { process, lines }
    }

    /// The next line of its output.
    pub(crate) async fn line(&self) -> String {
        tokio::task::block_in_place(|| self.lines.recv_timeout(PATIENCE)).unwrap()
    }

    /// Whether it is still at it.
    pub(crate) fn runs(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(&self.process, name);
    }

    /// What it said that was not read yet, once it has ended.
    pub(crate) async fn ended(mut self) -> Said {
        let status = tokio::task::block_in_place(|| wait(&mut self.process));
        let mut err = String::new();
        let stderr = self.process.stderr.as_mut().unwrap();
        stderr.read_to_string(&mut err).unwrap();
        Said {
            code: status.code(),
            out: self.lines.iter().map(|line| line + "\n").collect(),
            err,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) fn signal(process: &Child, name: &str) {
    let mut kill = Command::new("kill");
    let kill = kill.args([format!("-{name}"), process.id().to_string()]);
    assert!(kill.status().unwrap().success());
}

/// Waits for the end of a process, and not for ever.
pub(crate) fn wait(process: &mut Child) -> ExitStatus {
    let began = std::time::Instant::now();
    loop {
        if let Some(status) = process.try_wait().unwrap() {
            return status;
        }
        if began.elapsed() > PATIENCE {
            let _ = process.kill();
            panic!("the command did not end");
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}
