//! Pingora without callboard: `bare.rs` beside `main.rs`.

use std::path::PathBuf;
use std::process::Command;

use super::{Proxy, callboard};
use crate::machine::Machine;
use crate::site::Site;
use crate::workload::{Field, Workload};
use async_trait::async_trait;

/// What callboard is built on.
pub(crate) const BARE: &str = "bare";

pub(super) struct Bare;

#[async_trait]
impl Proxy for Bare {
    fn name(&self) -> &'static str {
        BARE
    }

    fn title(&self) -> &'static str {
        "bare Pingora"
    }

    fn version(&self) -> Result<String, String> {
        program()?;
        let lock = include_str!("../../../Cargo.lock");
        let version = lock.split_once("name = \"pingora-proxy\"\nversion = \"");
        let version = version.and_then(|(_, rest)| rest.split('"').next());
        version
            .map(ToOwned::to_owned)
            .ok_or_else(|| "Cargo.lock has no Pingora".to_owned())
    }

    fn does(&self, workload: &Workload) -> bool {
        workload.field != Field::Callboard && !workload.is_logged
    }

    fn command(&self, site: &Site, machine: &Machine) -> Command {
        site.write("endpoints", &site.lines(|_, one| one.to_string()), &[]);
        let mut command = machine.command(&program().unwrap().to_string_lossy());
        let (http, https) = (site.http.to_string(), site.https.to_string());
        command.args(["endpoints", &http, &https, "cert.pem", "key.pem"]);
        command
    }
}

/// Cargo builds examples beside the programs.
fn program() -> Result<PathBuf, String> {
    let path = callboard::built().with_file_name("examples").join("bare");
    match path.exists() {
        true => Ok(path),
        false => Err("it is not built (cargo build --release --example bare)".to_owned()),
    }
}
