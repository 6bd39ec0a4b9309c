//! The data plane's settings.

use crate::acme;
use crate::config::Proxy;
use crate::plan::words::{bytes, list, or_off, size};
use crate::proxy::clients::Clients;
use crate::proxy::forwarded::TrustedProxies;
use crate::proxy::listener::{Listener, Protocol};

use super::{Place, Setting, put_fields};

impl Setting for Proxy {
    fn write(&self, mut at: Place<'_>) {
        put_fields!(at, self => Proxy {
            trusted_proxies, shutdown_grace, clients, lean_path; listen, threads, upgrade_socket, acme
        });
        let addresses = listen.iter().map(|listener| &listener.address);
        at.put("listen", &list(addresses));
        for (position, listener) in listen.iter().enumerate() {
            at.put(format_args!("listen[{position}]"), listener);
        }
        let threads = threads.map_or_else(|| "auto".to_owned(), |threads| threads.to_string());
        at.put("threads", &threads);
        let socket = or_off(upgrade_socket.as_ref(), |path| path.display().to_string());
        at.put("upgrade_socket", &socket);
        match acme {
            None => at.put("acme", "none"),
            Some(acme) => at.put("acme", acme),
        }
    }
}

impl Setting for Listener {
    fn write(&self, mut at: Place<'_>) {
        put_fields!(at, self => Listener { proxy_protocol; address, protocol, tls, mode });
        at.put("address", &address.to_string());
        match protocol {
            Protocol::Http => at.put("protocol", "http"),
            Protocol::Tcp(routes) => {
                at.put("protocol", "tcp");
                let service = routes.otherwise.as_ref().map(|service| service.as_str());
                at.put("service", service.unwrap_or("none"));
                let by_name = routes.by_name.iter();
                let by_name = by_name.map(|(name, service)| format!("{name}: {service}"));
                at.put("sni", &list(by_name));
            }
        }
        if let Some(tls) = tls {
            at.put("tls", tls);
        }
        let mode = mode.map_or_else(|| "default".to_owned(), |mode| format!("{mode:04o}"));
        at.put("mode", &mode);
    }
}

impl Setting for TrustedProxies {
    fn write(&self, mut at: Place<'_>) {
        let Self { networks, unix } = self;
        let networks = networks.iter().map(ToString::to_string);
        at.is(list(networks.chain(unix.then(|| "unix".to_owned()))));
    }
}

impl Setting for Clients {
    fn write(&self, mut at: Place<'_>) {
        put_fields!(at, self => Clients {
            head_timeout,
            idle,
            max_head: size,
            max_headers,
            min_body_rate: |rate: &Option<u64>| or_off(rate.as_ref(), bytes),
            max_streams
        });
    }
}

impl Setting for acme::Settings {
    fn write(&self, mut at: Place<'_>) {
        put_fields!(at, self => acme::Settings { directory, contact: list; path, ca });
        at.put("path", &path.display().to_string());
        let ca = ca.as_ref().map(|ca| ca.display().to_string());
        at.put("ca", ca.as_deref().unwrap_or("system"));
    }
}
