//! nginx, of the system or of Debian.

use std::path::PathBuf;
use std::process::Command;

use super::{Proxy, installed, said_version};
use crate::machine::Machine;
use crate::site::Site;
use async_trait::async_trait;

/// What others are set against.
pub(crate) const NGINX: &str = "nginx";

/// More than there are clients.
const KEPT: usize = 256;

pub(super) struct Nginx;

#[async_trait]
impl Proxy for Nginx {
    fn name(&self) -> &'static str {
        NGINX
    }

    fn title(&self) -> &'static str {
        "nginx"
    }

    fn version(&self) -> Result<String, String> {
        said_version(&program()?, "-v")
    }

    fn command(&self, site: &Site, machine: &Machine) -> Command {
        let log = if site.is_logged { "access.log" } else { "off" };
        let values = [
            ("access_log", log),
            ("kept", &site.endpoints.len().max(KEPT).to_string()),
            (
                "endpoints",
                &site.lines(|_, one| format!("        server {one};")),
            ),
        ];
        site.write("nginx.conf", include_str!("../conf/nginx.conf"), &values);
        let mut command = machine.command(&program().unwrap().to_string_lossy());
        command.arg("-p").arg(site.folder());
        command.args(["-c", "nginx.conf"]);
        command
    }
}

fn program() -> Result<PathBuf, String> {
    installed("nginx/usr/sbin/nginx")
}
