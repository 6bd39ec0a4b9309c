//! Proxies of Node: express-http-proxy on Express, and Express Gateway.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Proxy, said_version};
use crate::machine::Machine;
use crate::site::Site;
use async_trait::async_trait;

pub(super) enum Express {
    HttpProxy,
    Gateway,
}

#[async_trait]
impl Proxy for Express {
    fn name(&self) -> &'static str {
        match self {
            Self::HttpProxy => "express",
            Self::Gateway => "express-gateway",
        }
    }

    fn title(&self) -> &'static str {
        match self {
            Self::HttpProxy => "express-http-proxy",
            Self::Gateway => "Express Gateway",
        }
    }

    fn is_main(&self) -> bool {
        false
    }

    fn version(&self) -> Result<String, String> {
        let package = match self {
            Self::HttpProxy => "express-http-proxy",
            Self::Gateway => "express-gateway",
        };
        said_version(Path::new("node"), "--version")?;
        let described = folder()
            .join("node_modules")
            .join(package)
            .join("package.json");
        let described = std::fs::read_to_string(described)
            .map_err(|_| "it is not installed (scripts/bench-peers.sh)".to_owned())?;
        let described: serde_json::Value = serde_json::from_str(&described).unwrap();
        Ok(described["version"].as_str().unwrap_or_default().to_owned())
    }

    fn command(&self, site: &Site, machine: &Machine) -> Command {
        let endpoints = site
            .lines(|_, one| format!("http://{one}"))
            .replace('\n', ",");
        let mut command = machine.command("node");
        command.env("NODE_ENV", "production");
        // The gateway would send all it gets to a proxy that the environment names.
        command.env_remove("http_proxy").env_remove("HTTP_PROXY");
        match self {
            Self::HttpProxy => {
                command.arg(folder().join("express.cjs"));
                command.args([&site.http.port().to_string(), &endpoints]);
            }
            Self::Gateway => {
                let values = [
                    ("http", &*site.http.port().to_string()),
                    ("endpoints", &format!("[{endpoints}]")),
                ];
                let gateway = include_str!("../conf/gateway.config.yml");
                site.write("gateway.config.yml", gateway, &values);
                // It looks for these beside its configuration.
                let models = "node_modules/express-gateway/lib/config/models";
                symlink(folder().join(models), site.folder().join("models")).unwrap();
                let system = include_str!("../conf/system.config.yml");
                site.write("system.config.yml", system, &[]);
                command.arg(folder().join("gateway.cjs"));
                command
                    .env("EG_CONFIG_DIR", site.folder())
                    .env("LOG_LEVEL", "error");
            }
        }
        command
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/node")
}
