//! Where callboard itself can be reached, so that nobody registers it as an instance of something.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use ipnet::{IpNet, Ipv4Net};
use log::warn;
use nix::ifaddrs::getifaddrs;

/// The addresses and ports that lead to `listeners`. One that listens on all addresses is reached at
/// each the machine has now.
pub(super) fn reached_at(listeners: &[SocketAddr]) -> Vec<(IpNet, u16)> {
    let of_machine = if listeners
        .iter()
        .any(|listener| listener.ip().to_canonical().is_unspecified())
    {
        this_machine()
    } else {
        Vec::new()
    };
    reached_among(listeners, &of_machine)
}

fn reached_among(listeners: &[SocketAddr], of_machine: &[IpNet]) -> Vec<(IpNet, u16)> {
    // `[::ffff:127.0.0.1]:8080` is reached at 127.0.0.1.
    let nets = |listener: &SocketAddr| match listener.ip().to_canonical() {
        // A listener on [::] takes IPv4 as well.
        IpAddr::V6(any) if any.is_unspecified() => of_machine.to_vec(),
        IpAddr::V4(any) if any.is_unspecified() => {
            let v4 = of_machine.iter().filter(|net| net.addr().is_ipv4());
            v4.copied().collect()
        }
        address => vec![address.into()],
    };
    let each = listeners.iter().flat_map(|listener| {
        let port = listener.port();
        nets(listener).into_iter().map(move |net| (net, port))
    });
    each.collect()
}

fn this_machine() -> Vec<IpNet> {
    let mut nets = vec![
        Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8).into(),
        IpAddr::from(Ipv6Addr::LOCALHOST).into(),
    ];
    match getifaddrs() {
        Ok(interfaces) => nets.extend(interfaces.filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
            let v6 = address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip()));
            v4.or(v6).map(IpNet::from)
        })),
        Err(error) => warn!(
            "the machine's addresses are not known ({error}): of callboard's own listeners, only \
             those on loopback are kept from being registered"
        ),
    }
    nets
}

/// The paths that lead to `files`, as they were given and as the system resolves them.
pub(super) fn paths<'a>(files: impl IntoIterator<Item = &'a Path>) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for file in files {
        let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        // A socket that is not there yet is in a folder that is.
        let folder = absolute
            .parent()
            .and_then(|folder| folder.canonicalize().ok());
        let resolved = folder
            .zip(absolute.file_name())
            .map(|(folder, name)| folder.join(name));
        paths.extend(resolved.filter(|resolved| *resolved != absolute));
        paths.extend(absolute.canonicalize().ok());
        paths.push(absolute);
    }
    paths.sort();
    paths.dedup();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_every_name_of_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().canonicalize().unwrap();
        std::fs::create_dir(real.join("run")).unwrap();
        std::os::unix::fs::symlink(real.join("run"), real.join("link")).unwrap();
        let paths = paths([real.join("link/a.sock").as_path()]);
        assert_eq!(paths, [real.join("link/a.sock"), real.join("run/a.sock")]);
    }

    fn reached(listeners: &[&str]) -> Vec<String> {
        let listeners: Vec<_> = listeners.iter().map(|text| text.parse().unwrap()).collect();
        let machine = ["127.0.0.0/8", "::1/128", "10.0.0.2/32", "fd00::2/128"];
        let machine = machine.map(|net| net.parse().unwrap());
        reached_among(&listeners, &machine)
            .into_iter()
            .map(|(net, port)| format!("{net} {port}"))
            .collect()
    }

    #[test]
    fn a_listener_on_all_addresses_is_reached_at_each_of_its_family() {
        assert_eq!(
            reached(&["0.0.0.0:8080"]),
            ["127.0.0.0/8 8080", "10.0.0.2/32 8080"]
        );
        assert_eq!(reached(&["[::]:8080"]).len(), 4);
        assert_eq!(
            reached(&["127.0.0.1:8500", "[fd00::2]:80"]),
            ["127.0.0.1/32 8500", "fd00::2/128 80"]
        );
    }

    #[test]
    fn a_listener_on_an_ipv4_address_in_ipv6_is_reached_at_that() {
        assert_eq!(reached(&["[::ffff:10.0.0.2]:80"]), ["10.0.0.2/32 80"]);
        assert_eq!(reached(&["[::ffff:0.0.0.0]:80"]), reached(&["0.0.0.0:80"]));
    }

    #[test]
    fn the_machine_knows_its_own_loopback() {
        let nets = this_machine();
        for address in [
            IpAddr::from(Ipv4Addr::LOCALHOST),
            Ipv6Addr::LOCALHOST.into(),
        ] {
            assert!(nets.iter().any(|net| IpNet::contains(net, &address)));
        }
    }
}
