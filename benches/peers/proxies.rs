//! The proxies, and how each is told of the job.

mod bare;
mod caddy;
mod callboard;
mod envoy;
mod express;
mod haproxy;
mod nginx;

use std::path::{Path, PathBuf};
use std::process::Command;

use async_trait::async_trait;

use crate::machine::Machine;
use crate::site::Site;
use crate::workload::Workload;

pub(crate) use bare::BARE;
pub(crate) use callboard::CALLBOARD;
pub(crate) use nginx::NGINX;

/// A proxy.
#[async_trait]
pub(crate) trait Proxy: Sync {
    /// What it is called in arguments.
    fn name(&self) -> &'static str;

    /// What it is called in tables.
    fn title(&self) -> &'static str;

    /// Whether it is among those that people choose for speed, or what these are measured by.
    fn is_main(&self) -> bool {
        true
    }

    /// Which version there is, or why there is none.
    fn version(&self) -> Result<String, String>;

    /// Whether it takes part in a workload.
    fn does(&self, workload: &Workload) -> bool {
        self.is_main() && workload.field != crate::workload::Field::Callboard || workload.is_main()
    }

    /// Writes its configuration and gives the command that runs it.
    fn command(&self, site: &Site, machine: &Machine) -> Command;

    /// Tells it what it is told while it runs.
    async fn instruct(&self, _site: &Site) -> Result<(), String> {
        Ok(())
    }

    /// Whether instances come and go while it is under load.
    fn is_changing(&self) -> bool {
        false
    }
}

/// All of them, in the order of tables.
pub(crate) fn all() -> Vec<Box<dyn Proxy>> {
    vec![
        Box::new(nginx::Nginx),
        Box::new(haproxy::Haproxy),
        Box::new(envoy::Envoy),
        Box::new(caddy::Caddy),
        Box::new(bare::Bare),
        Box::new(callboard::Callboard::Plain),
        Box::new(callboard::Callboard::Unprofiled),
        Box::new(callboard::Callboard::Pingora),
        Box::new(callboard::Callboard::Reusing),
        Box::new(callboard::Callboard::Changing),
        Box::new(express::Express::HttpProxy),
        Box::new(express::Express::Gateway),
    ]
}

/// A program below `target/peers`.
fn installed(path: &str) -> Result<PathBuf, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("target/peers")
        .join(path);
    match path.exists() {
        true => Ok(path),
        false => Err("it is not installed (scripts/bench-peers.sh)".to_owned()),
    }
}

/// The first that looks like a version in what a program says of itself.
fn said_version(program: &Path, argument: &str) -> Result<String, String> {
    let output = Command::new(program).arg(argument).output();
    let output = output.map_err(|error| format!("{}: {error}", program.display()))?;
    let said = [output.stdout, output.stderr].concat();
    // Its own path may have numbers too.
    let said = String::from_utf8_lossy(&said).replace(&*program.to_string_lossy(), "");
    let mut words = said.split(|letter: char| !letter.is_ascii_digit() && letter != '.');
    let is_version = |word: &&str| word.split('.').filter(|part| !part.is_empty()).count() > 1;
    match words.find(is_version) {
        Some(version) => Ok(version.to_owned()),
        None => Err(format!("{} says no version: {said}", program.display())),
    }
}
