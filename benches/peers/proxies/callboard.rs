//! callboard, with what it does by default.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{env, fs};

use async_trait::async_trait;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::{Proxy, said_version};
use crate::machine::Machine;
use crate::site::Site;
use crate::workload::{Field, Workload};

/// Whom all this is about.
pub(crate) const CALLBOARD: &str = "callboard";

/// How many instances the API takes at a time.
const BATCH: usize = 500;
/// How long to wait before asking again.
const PAUSE: Duration = Duration::from_millis(20);

pub(super) enum Callboard {
    Plain,
    /// Built without a look at what it does.
    Unprofiled,
    /// The same, with Pingora's proxy for every request.
    Pingora,
    /// Sends a POST over kept connections too.
    Reusing,
    /// As it is, while instances come and go.
    Changing,
}

#[async_trait]
impl Proxy for Callboard {
    fn name(&self) -> &'static str {
        match self {
            Self::Plain => CALLBOARD,
            Self::Unprofiled => "callboard-unprofiled",
            Self::Pingora => "callboard-pingora",
            Self::Reusing => "callboard-reuse",
            Self::Changing => "callboard-changes",
        }
    }

    fn title(&self) -> &'static str {
        match self {
            Self::Plain => "**callboard**",
            Self::Unprofiled => "callboard as `make run` builds it",
            Self::Pingora => "the same, `lean_path: off`",
            Self::Reusing => "with callboard's `reuse: always`",
            Self::Changing => "while its members change",
        }
    }

    fn is_main(&self) -> bool {
        matches!(self, Self::Plain)
    }

    fn version(&self) -> Result<String, String> {
        said_version(&self.program(), "--version")
    }

    fn does(&self, workload: &Workload) -> bool {
        match self {
            Self::Plain => true,
            Self::Unprofiled => workload.is_main() && program() != built(),
            Self::Pingora => workload.is_main(),
            Self::Reusing => workload.name == "post",
            Self::Changing => workload.field == Field::Callboard,
        }
    }

    fn command(&self, site: &Site, machine: &Machine) -> Command {
        let mut settings = String::new();
        if site.is_logged {
            settings += "telemetry: {access_log: access.log}\n";
        }
        if matches!(self, Self::Reusing) {
            settings += "defaults: {reuse: always}\n";
        }
        let path = match self {
            Self::Pingora => "off",
            _ => "on",
        };
        let template = include_str!("../conf/callboard.yaml");
        let values = [("settings", settings.as_str()), ("lean_path", path)];
        site.write("callboard.yaml", template, &values);
        let mut command = machine.command(&self.program().to_string_lossy());
        command.args(["run", "--config", "callboard.yaml"]);
        command
    }

    /// Signs the endpoints in, and waits until all of them take traffic.
    async fn instruct(&self, site: &Site) -> Result<(), String> {
        let instances: Vec<_> = (site.endpoints.iter().enumerate())
            .map(|(at, one)| {
                json!({
                    "service": "web", "id": format!("web-{at}"), "lease": null,
                    "address": one.ip().to_string(), "port": one.port(),
                })
            })
            .collect();
        for batch in instances.chunks(BATCH) {
            let body = json!({"instances": batch}).to_string();
            ask(site, "POST /api/v1/instances:batch", &body).await?;
        }
        loop {
            let said = ask(site, "GET /api/v1/services", "").await?;
            if said.contains(&format!(
                "\"availability\":{{\"ready\":{}}}",
                instances.len()
            )) {
                return Ok(());
            }
            sleep(PAUSE).await;
        }
    }

    fn is_changing(&self) -> bool {
        matches!(self, Self::Changing)
    }
}

impl Callboard {
    fn program(&self) -> PathBuf {
        match self {
            Self::Unprofiled | Self::Pingora => built(),
            _ => program(),
        }
    }
}

/// A call of the API.
async fn ask(site: &Site, line: &str, body: &str) -> Result<String, String> {
    let broken = |error| format!("{line}: {error}");
    let mut stream = TcpStream::connect(site.control).await.map_err(broken)?;
    let length = body.len();
    let ask = format!(
        "{line} HTTP/1.1\r\nHost: registry\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(ask.as_bytes()).await.map_err(broken)?;
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer).await;
    read.map_err(broken)?;
    match answer.starts_with("HTTP/1.1 20") {
        true => Ok(answer),
        false => Err(format!("{line}: {answer}")),
    }
}

/// Which callboard is measured: the one that is named, or the one that is built.
fn program() -> PathBuf {
    let named = env::var_os("CALLBOARD_BIN").map(PathBuf::from);
    // It runs in another folder.
    named.map_or_else(built, |path| fs::canonicalize(&path).unwrap_or(path))
}

/// The one that is built with this bench.
pub(super) fn built() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_callboard")).to_owned()
}
