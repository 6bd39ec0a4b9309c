//! HAProxy, of Debian.

use std::path::PathBuf;
use std::process::Command;

use super::{Proxy, installed, said_version};
use crate::machine::Machine;
use crate::site::Site;
use async_trait::async_trait;

/// How many endpoints its `roundrobin` can have.
const MOST_IN_TURN: usize = 4_095;

pub(super) struct Haproxy;

#[async_trait]
impl Proxy for Haproxy {
    fn name(&self) -> &'static str {
        "haproxy"
    }

    fn title(&self) -> &'static str {
        "HAProxy"
    }

    fn version(&self) -> Result<String, String> {
        said_version(&program()?, "-v")
    }

    fn command(&self, site: &Site, machine: &Machine) -> Command {
        // It writes no files; a line goes to whoever reads its output, which is one.
        let (log_to, log) = match site.is_logged {
            true => (
                "log stdout format raw local0",
                "log global\n    option httplog",
            ),
            false => ("", ""),
        };
        let balance = match site.endpoints.len() > MOST_IN_TURN {
            true => "balance random",
            false => "",
        };
        let values = [
            ("log_to", log_to),
            ("log", log),
            ("balance", balance),
            (
                "endpoints",
                &site.lines(|at, one| format!("    server s{at} {one}")),
            ),
        ];
        site.write("haproxy.cfg", include_str!("../conf/haproxy.cfg"), &values);
        let mut command = machine.command(&program().unwrap().to_string_lossy());
        // In the foreground, and quiet.
        command.args(["-db", "-q", "-f", "haproxy.cfg"]);
        command
    }
}

fn program() -> Result<PathBuf, String> {
    installed("haproxy/usr/sbin/haproxy")
}
