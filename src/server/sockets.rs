//! Listening sockets, bound before anything else starts. Pingora would retry a taken port for half a
//! minute and then live on without that listener.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

use log::warn;
use socket2::{Domain, Protocol, Socket, Type};

use crate::address::Address;
use crate::config::Config;
use crate::dial;

use super::StartError;
use super::handover::{Holdings, Offer};
use super::listening::Listening;
use super::nameplate::{self, Nameplate};

/// As long as the system allows (`net.core.somaxconn`).
pub(super) const BACKLOG: i32 = 65_535;

/// All sockets of one process, bound and listening.
pub(super) struct Sockets {
    pub(super) proxy: Vec<Listening>,
    pub(super) registry: Listening,
    pub(super) plates: Nameplates,
}

/// The files of the Unix sockets.
#[derive(Debug, Default)]
pub(super) struct Nameplates {
    /// Those of the data plane.
    pub(super) proxy: Vec<Nameplate>,
    /// That of the control plane.
    pub(super) registry: Option<Nameplate>,
    /// Those of sockets that the process before had and this one has no use for.
    pub(super) gone: Vec<Nameplate>,
}

impl Sockets {
    /// The same sockets once more, for a process to come.
    pub(super) fn holdings(&self, config: &Config) -> io::Result<Holdings> {
        let again =
            |address: Address, socket: &Listening| io::Result::Ok((address, socket.try_clone()?));
        let proxy = config.proxy.listen.iter().zip(&self.proxy);
        Ok(Holdings {
            proxy: proxy
                .map(|(listener, socket)| again(listener.address.clone(), socket))
                .collect::<Result<_, _>>()?,
            registry: again(config.registry.listen.clone(), &self.registry)?,
        })
    }

    /// Where they listen, with the ports the system chose.
    pub(super) fn addresses(&self) -> Vec<Address> {
        let all = self.proxy.iter().chain([&self.registry]);
        all.filter_map(|socket| socket.address().ok()).collect()
    }
}

/// Binds every address of `config`.
pub(super) fn bind(config: &Config) -> Result<Sockets, StartError> {
    take(config, Offer::default())
}

/// Takes what `offer` has for the addresses of `config`, binds the others, and closes what is left.
pub(super) fn take(config: &Config, mut offer: Offer) -> Result<Sockets, StartError> {
    let of_proxy = &config.proxy.listen;
    let mut plates = Nameplates::default();
    let mut proxy = Vec::with_capacity(of_proxy.len());
    let (registry, plate) = Place {
        address: &config.registry.listen,
        mode: None,
        setting: "registry.listen",
        beside: &[],
    }
    .take(&mut offer.registry)?;
    plates.registry = plate;
    let wildcards: Vec<_> = (of_proxy.iter())
        .filter_map(|listener| listener.address.inet())
        .collect();
    for listener in of_proxy {
        let place = Place {
            address: &listener.address,
            mode: listener.mode,
            setting: "proxy.listen",
            beside: &wildcards,
        };
        let (socket, plate) = place.take(&mut offer.proxy)?;
        proxy.push(socket);
        plates.proxy.extend(plate);
    }
    let left = offer.proxy.iter().chain(&offer.registry);
    let left = left.filter_map(|(address, _)| address.path());
    plates.gone = left.filter_map(|path| inherited(path, None)).collect();
    Ok(Sockets {
        proxy,
        registry,
        plates,
    })
}

/// Where to listen.
struct Place<'a> {
    address: &'a Address,
    /// Who may connect to a Unix socket.
    mode: Option<u32>,
    setting: &'static str,
    /// The other addresses there are.
    beside: &'a [SocketAddr],
}

impl Place<'_> {
    /// What is offered for the place, else a new socket.
    fn take(
        &self,
        offered: &mut Vec<(Address, Listening)>,
    ) -> Result<(Listening, Option<Nameplate>), StartError> {
        if let Some(known) = offered.iter().position(|(of, _)| of == self.address) {
            let (address, socket) = offered.swap_remove(known);
            match address.path() {
                None => return Ok((socket, None)),
                Some(path) => {
                    // Without its file nobody finds it, and another has to be made.
                    if let Some(plate) = inherited(path, self.mode) {
                        return Ok((socket, Some(plate)));
                    }
                }
            }
        }
        self.bind().map_err(|error| StartError::Listen {
            address: self.address.clone(),
            setting: self.setting,
            error,
        })
    }

    fn bind(&self) -> io::Result<(Listening, Option<Nameplate>)> {
        match self.address {
            Address::Inet(address) => {
                // With both wildcards listed, each takes its own family; alone, `[::]` takes both.
                let v4_too = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
                let socket = listen(*address, self.beside.contains(&v4_too))?;
                Ok((Listening::Tcp(socket), None))
            }
            Address::Unix(path) => {
                let mode = self.mode.unwrap_or(nameplate::MODE);
                let (socket, plate) = Nameplate::listen(path, mode)?;
                Ok((Listening::Unix(socket), Some(plate)))
            }
        }
    }
}

/// The file of a socket that was handed over.
fn inherited(path: &Path, mode: Option<u32>) -> Option<Nameplate> {
    Nameplate::of(path, mode.unwrap_or(nameplate::MODE))
        .inspect_err(|error| {
            warn!(
                "the socket that was handed over is not at {}: {error}",
                path.display()
            );
        })
        .ok()
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
    socket.set_tcp_keepalive(&dial::KEEPALIVE)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// How clients name a socket: `http://10.0.0.5:8080`, or `unix:/run/callboard.sock` whatever is spoken
/// there.
pub(super) fn url(socket: &Listening, scheme: &str) -> String {
    match socket.address() {
        Ok(Address::Inet(address)) => format!("{scheme}://{address}"),
        Ok(unix) => unix.to_string(),
        Err(error) => format!("{scheme}://(unknown: {error})"),
    }
}

/// Says on standard output that a listener serves. Nobody reading it is no reason to stop.
pub(super) fn announce(what: &str, url: &str) {
    use std::io::Write;
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "callboard: {what} listening on {url}");
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
        let address = taken.local_addr().unwrap().to_string();
        assert!(error.contains(&address), "{error}");
    }

    #[test]
    fn what_another_process_listens_on_is_taken_and_only_the_rest_is_bound() {
        let listener = |_| Listening::Tcp(TcpListener::bind("127.0.0.1:0").unwrap());
        let [first, second, gone, registry] = [1, 2, 3, 4].map(listener);
        let at = |listener: &Listening| listener.address().unwrap();
        let mut config = Config::parse("test", "").unwrap().config;
        let new = at(&listener(0));
        let listen = [at(&second), new, at(&first)];
        config.proxy.listen = listen.clone().map(Listener::http).into();
        config.registry.listen = "127.0.0.1:0".parse().unwrap();
        let named = |listener: Listening| (at(&listener), listener);
        let (closed, control) = (at(&gone), at(&registry));
        let offer = Offer {
            proxy: [first, second, gone].map(named).into(),
            // Which port it is does not matter to a configuration that leaves that open.
            registry: vec![(config.registry.listen.clone(), registry)],
        };
        let sockets = take(&config, offer).unwrap();
        let mut expected = Vec::from(listen);
        expected.push(control);
        assert_eq!(sockets.addresses(), expected);
        TcpListener::bind(closed.inet().unwrap()).unwrap();
    }

    #[test]
    fn both_wildcards_can_share_a_port() {
        let v4 = listen("0.0.0.0:0".parse().unwrap(), false).unwrap();
        let port = v4.local_addr().unwrap().port();
        listen(SocketAddr::new("::".parse().unwrap(), port), true).unwrap();
    }
}
