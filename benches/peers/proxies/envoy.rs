//! Envoy, of PyPI.

use std::path::PathBuf;
use std::process::Command;

use super::{Proxy, installed, said_version};
use crate::machine::Machine;
use crate::site::Site;
use async_trait::async_trait;

const LOG: &str = r#"                access_log:
                  - name: envoy.access_loggers.file
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
                      path: access.log"#;

pub(super) struct Envoy;

#[async_trait]
impl Proxy for Envoy {
    fn name(&self) -> &'static str {
        "envoy"
    }

    fn title(&self) -> &'static str {
        "Envoy"
    }

    fn version(&self) -> Result<String, String> {
        said_version(&program()?, "--version")
    }

    fn command(&self, site: &Site, machine: &Machine) -> Command {
        let endpoints = site.lines(|_, one| {
            let (address, port) = (one.ip(), one.port());
            format!(
                "              - endpoint: {{address: {{socket_address: \
                 {{address: {address}, port_value: {port}}}}}}}"
            )
        });
        let values = [
            ("http", &*site.http.port().to_string()),
            ("https", &site.https.port().to_string()),
            ("access_log", if site.is_logged { LOG } else { "" }),
            ("endpoints", &endpoints),
        ];
        site.write("envoy.yaml", include_str!("../conf/envoy.yaml"), &values);
        let mut command = machine.command(&program().unwrap().to_string_lossy());
        command.args(["-c", "envoy.yaml", "--concurrency", "1", "-l", "error"]);
        // Two processes may otherwise take each other for a restart.
        command.arg("--disable-hot-restart");
        command
    }
}

fn program() -> Result<PathBuf, String> {
    installed("bench-venv/bin/envoy")
}
