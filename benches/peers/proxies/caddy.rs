//! Caddy, of PyPI.

use std::path::PathBuf;
use std::process::Command;

use super::{Proxy, installed, said_version};
use crate::machine::Machine;
use crate::site::Site;
use async_trait::async_trait;

pub(super) struct Caddy;

#[async_trait]
impl Proxy for Caddy {
    fn name(&self) -> &'static str {
        "caddy"
    }

    fn title(&self) -> &'static str {
        "Caddy"
    }

    fn version(&self) -> Result<String, String> {
        said_version(&program()?, "version")
    }

    fn command(&self, site: &Site, machine: &Machine) -> Command {
        let log = match site.is_logged {
            true => "log {\n\t\toutput file access.log\n\t}",
            false => "",
        };
        let endpoints: Vec<_> = site.endpoints.iter().map(ToString::to_string).collect();
        let values = [
            ("http", &*site.http.port().to_string()),
            ("https", &site.https.port().to_string()),
            ("log", log),
            ("endpoints", &endpoints.join(" ")),
        ];
        site.write("Caddyfile", include_str!("../conf/Caddyfile"), &values);
        let mut command = machine.command(&program().unwrap().to_string_lossy());
        command.args(["run", "--config", "Caddyfile"]);
        command.env("GOMAXPROCS", "1").env("HOME", site.folder());
        command
    }
}

fn program() -> Result<PathBuf, String> {
    installed("bench-venv/bin/caddy")
}
