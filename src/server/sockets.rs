//! Listening sockets, bound before anything else starts. Pingora would retry a taken port for half a
//! minute and then live on without that listener.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use crate::config::Config;
use crate::proxy::tunnel::keepalive;

use super::StartError;
use super::handover::{Holdings, Offer};

/// As long as the system allows (`net.core.somaxconn`).
const BACKLOG: i32 = 65_535;

/// All sockets of one process, bound and listening.
pub(super) struct Sockets {
    pub(super) proxy: Vec<TcpListener>,
    pub(super) registry: TcpListener,
}

impl Sockets {
    /// The same sockets once more, for a process to come.
    pub(super) fn holdings(&self, config: &Config) -> io::Result<Holdings> {
        let proxy = config.proxy.listen.iter().zip(&self.proxy);
        let again = |address, socket: &TcpListener| io::Result::Ok((address, socket.try_clone()?));
        Ok(Holdings {
            proxy: proxy
                .filter_map(|(listener, socket)| Some((listener.address.inet()?, socket)))
                .map(|(address, socket)| again(address, socket))
                .collect::<Result<_, _>>()?,
            registry: again(config.registry.listen, &self.registry)?,
        })
    }

    /// Where they listen, with the ports the system chose.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        let all = self.proxy.iter().chain([&self.registry]);
        all.filter_map(|socket| socket.local_addr().ok()).collect()
    }
}

/// Binds every address of `config`.
pub(super) fn bind(config: &Config) -> Result<Sockets, StartError> {
    take(config, Offer::default())
}

/// Takes what `offer` has for the addresses of `config`, binds the others, and closes what is left.
pub(super) fn take(config: &Config, mut offer: Offer) -> Result<Sockets, StartError> {
    let proxy: Vec<_> = config.proxy.listen.iter().collect();
    let proxy: Vec<_> = proxy
        .iter()
        .filter_map(|listener| listener.address.inet())
        .collect();
    let bind = |address: SocketAddr, setting, offered: &mut Vec<(SocketAddr, TcpListener)>| {
        let known = offered.iter().position(|(of, _)| *of == address);
        if let Some(known) = known {
            return Ok(offered.swap_remove(known).1);
        }
        // With both wildcards listed, each takes its own family; alone, `[::]` takes both.
        let v4_too = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
        listen(address, proxy.contains(&v4_too)).map_err(|error| StartError::Listen {
            address,
            setting,
            error,
        })
    };
    Ok(Sockets {
        registry: bind(
            config.registry.listen,
            "registry.listen",
            &mut offer.registry,
        )?,
        proxy: proxy
            .iter()
            .map(|&address| bind(address, "proxy.listen", &mut offer.proxy))
            .collect::<Result<_, _>>()?,
    })
}

fn listen(address: SocketAddr, only_v6: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    socket.set_reuse_address(true)?;
    // What is accepted inherits it.
    socket.set_tcp_keepalive(&keepalive())?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// The address a socket is bound to, with the port the system chose for port 0.
pub(super) fn address(socket: &TcpListener) -> String {
    match socket.local_addr() {
        Ok(address) => address.to_string(),
        Err(error) => format!("(unknown: {error})"),
    }
}

/// Says on standard output that a listener serves. Nobody reading it is no reason to stop.
pub(super) fn announce(what: &str, scheme: &str, address: &str) {
    use std::io::Write;
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "callboard: {what} listening on {scheme}://{address}");
    let _ = out.flush();
}

#[cfg(test)]
mod tests {
    use crate::proxy::listener::Listener;

    use super::*;

    #[test]
    fn a_taken_port_is_an_error_that_names_the_setting() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut config = Config::parse("test", "").unwrap().config;
        config.proxy.listen = vec![Listener::http(taken.local_addr().unwrap())];
        config.registry.listen = "127.0.0.1:0".parse().unwrap();
        let error = bind(&config).err().unwrap().to_string();
        assert!(error.contains("proxy.listen"), "{error}");
        assert!(error.contains(&address(&taken)), "{error}");
    }

    #[test]
    fn what_another_process_listens_on_is_taken_and_only_the_rest_is_bound() {
        let listener = |_| TcpListener::bind("127.0.0.1:0").unwrap();
        let [first, second, gone, registry] = [1, 2, 3, 4].map(listener);
        let at = |listener: &TcpListener| listener.local_addr().unwrap();
        let mut config = Config::parse("test", "").unwrap().config;
        let new = at(&TcpListener::bind("127.0.0.1:0").unwrap());
        let listen = [at(&second), new, at(&first)];
        config.proxy.listen = listen.map(Listener::http).into();
        config.registry.listen = "127.0.0.1:0".parse().unwrap();
        let named = |listener: TcpListener| (at(&listener), listener);
        let (closed, control) = (at(&gone), at(&registry));
        let offer = Offer {
            proxy: [first, second, gone].map(named).into(),
            // Which port it is does not matter to a configuration that leaves that open.
            registry: vec![(config.registry.listen, registry)],
        };
        let sockets = take(&config, offer).unwrap();
        let mut expected = Vec::from(listen);
        expected.push(control);
        assert_eq!(sockets.addresses(), expected);
        TcpListener::bind(closed).unwrap();
    }

    #[test]
    fn both_wildcards_can_share_a_port() {
        let v4 = listen("0.0.0.0:0".parse().unwrap(), false).unwrap();
        let port = v4.local_addr().unwrap().port();
        listen(SocketAddr::new("::".parse().unwrap(), port), true).unwrap();
    }
}
