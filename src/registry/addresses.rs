//! Which addresses may be registered.
//!
//! callboard dials whatever is registered, with probes and with clients' requests. Registering must
//! therefore be no way to reach what the registrant could not reach itself (*server-side request
//! forgery*, CWE-918):
//!
//! - *The machine callboard runs on.* What listens on loopback trusts whoever gets there. Only a
//!   caller that is on loopback itself may register it.
//! - *Link-local addresses.* Nobody routes to them, and one of them (169.254.169.254) hands a cloud
//!   machine's credentials to whoever is on that machine.
//! - *Unix sockets.* They are on the machine as well, and callboard may be let in where the registrant
//!   is not. See [`paths`](super::paths).
//! - *callboard's own listeners.* The proxy would send requests to itself until nothing is left, and
//!   the control plane would be reached through the data plane.
//!
//! The first three can be allowed by an operator who means them: by a network that lies within the
//! range, or by a path. That `0.0.0.0/0` holds them as well says nothing of the kind. Sockets are for
//! callers on the machine even so: from anywhere else, a path means nothing.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::command::Refusal;
use super::event::Actor;
use super::paths::is_plain;
use super::rules::{Rules, invalid};
use crate::address::Address;
use crate::instance::Instance;

impl Rules {
    /// Whether `actor` may register an instance at its address.
    pub(super) fn admit_address(&self, instance: &Instance, actor: &Actor) -> Result<(), Refusal> {
        self.readmit_address(instance)?;
        let caller_is_here = match actor {
            Actor::Peer { address, .. } => address.to_canonical().is_loopback(),
            Actor::Registry { here, .. } => *here,
            Actor::Callboard => true,
        };
        let Some(address) = instance.address.ip() else {
            return match caller_is_here {
                true => Ok(()),
                false => Err(refused(format!(
                    "is {}, a Unix socket, which only callers on the same machine may register \
                     (expected an address other machines have)",
                    instance.address
                ))),
            };
        };
        let dialed = address.to_canonical();
        if dialed.is_loopback() && !caller_is_here && !self.names(dialed, &loopback(dialed)) {
            return Err(refused(format!(
                "is {address}, which only callers on the same machine may register (expected an \
                 address other machines have, or a network within {} in registry.allow)",
                loopback(dialed)
            )));
        }
        Ok(())
    }

    /// Whether an instance that registered before may stay at its address.
    pub(super) fn readmit_address(&self, instance: &Instance) -> Result<(), Refusal> {
        let (address, port) = match &instance.address {
            Address::Inet(place) => (place.ip(), place.port()),
            Address::Unix(path) => return self.readmit_path(path),
        };
        // An IPv4 address may come dressed as IPv6 (`::ffff:10.0.0.1`) and is dialed all the same.
        let dialed = address.to_canonical();
        if !is_one_machine(dialed) {
            return Err(refused(format!(
                "is {address} (expected the address of one machine)"
            )));
        }
        if (self.own.iter()).any(|(net, own)| *own == port && net.contains(&dialed)) {
            return Err(refused(format!(
                "is {}, where callboard itself listens (expected the instance's own address and port)",
                SocketAddr::new(address, port)
            )));
        }
        if !self.allow.iter().any(|net| net.contains(&dialed)) {
            let allowed: Vec<_> = self.allow.iter().map(ToString::to_string).collect();
            return Err(refused(match allowed.as_slice() {
                [] => format!("is {address}, and no network is allowed to register"),
                allowed => format!(
                    "is {address} (expected an address in {})",
                    allowed.join(", ")
                ),
            }));
        }
        match link_local(dialed) {
            Some(range) if !self.names(dialed, &range) => Err(refused(format!(
                "is {address}, a link-local address (expected another, or a network within \
                 {range} in registry.allow)"
            ))),
            _ => Ok(()),
        }
    }

    fn readmit_path(&self, path: &Path) -> Result<(), Refusal> {
        let shown = path.display();
        if !is_plain(path) {
            return Err(refused(format!(
                "is unix:{shown} (expected a path without . and .. and empty parts)"
            )));
        }
        if self.own_paths.iter().any(|own| own == path) {
            return Err(refused(format!(
                "is unix:{shown}, which is callboard's own (expected the instance's own socket)"
            )));
        }
        if !self
            .allow_paths
            .iter()
            .any(|allowed| allowed.contains(path))
        {
            return Err(refused(format!(
                "is unix:{shown}, a Unix socket that is not allowed (expected an IP address, or \
                 that path or a folder above it in registry.allow)"
            )));
        }
        Ok(())
    }

    /// Whether `address` is allowed by a network within `range`.
    fn names(&self, address: IpAddr, range: &IpNet) -> bool {
        let mut allowed = self.allow.iter();
        allowed.any(|net| range.contains(net) && net.contains(&address))
    }
}

/// The loopback network that `address` is in.
fn loopback(address: IpAddr) -> IpNet {
    match address {
        IpAddr::V4(_) => Ipv4Net::new_assert(Ipv4Addr::LOCALHOST, 8).trunc().into(),
        IpAddr::V6(_) => IpNet::from(address),
    }
}

/// The link-local network that `address` is in, if it is one (RFC 3927, RFC 4291).
fn link_local(address: IpAddr) -> Option<IpNet> {
    let range = match address {
        IpAddr::V4(_) => Ipv4Net::new_assert(Ipv4Addr::new(169, 254, 0, 0), 16).into(),
        IpAddr::V6(_) => Ipv6Net::new_assert([0xfe80, 0, 0, 0, 0, 0, 0, 0].into(), 10).into(),
    };
    IpNet::contains(&range, &address).then_some(range)
}

/// Whether one machine can have `address`. 0.0.0.0/8 is "this network" (RFC 1122, 3.2.1.3).
fn is_one_machine(address: IpAddr) -> bool {
    let no_host = match address {
        IpAddr::V4(v4) => v4 == Ipv4Addr::BROADCAST || v4.octets()[0] == 0,
        IpAddr::V6(v6) => v6.is_unspecified(),
    };
    !no_host && !address.is_multicast()
}

fn refused(problem: String) -> Refusal {
    invalid("address", problem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::fixtures::{instance, rules};
    use crate::registry::paths::AllowedPath;

    fn peer(address: &str) -> Actor {
        Actor::Peer {
            address: address.parse().unwrap(),
            token: None,
            admin: true,
        }
    }

    fn rules_of(allow: &[&str], own: &[(&str, u16)]) -> Rules {
        Rules {
            allow: allow.iter().map(|net| net.parse().unwrap()).collect(),
            own: (own.iter())
                .map(|(net, port)| (net.parse().unwrap(), *port))
                .collect(),
            ..rules()
        }
    }

    /// What is said of `address` at port 8080.
    fn verdict(rules: &Rules, address: &str, caller: &str) -> Result<(), String> {
        let mut instance = instance("web", "a");
        instance.address = Address::from_parts(address, Some(8080)).unwrap();
        rules
            .admit(&instance, &peer(caller))
            .map_err(|refusal| refusal.to_string())
    }

    const ALL: &[&str] = &["0.0.0.0/0", "::/0"];

    #[test]
    fn addresses_outside_the_allowed_networks_are_refused() {
        let verdict = |allow, address| verdict(&rules_of(allow, &[]), address, "10.0.0.9");
        assert_eq!(
            verdict(&["10.0.0.0/8"], "11.0.0.1").unwrap_err(),
            "address: is 11.0.0.1 (expected an address in 10.0.0.0/8)"
        );
        assert_eq!(
            verdict(&[], "10.0.0.1").unwrap_err(),
            "address: is 10.0.0.1, and no network is allowed to register"
        );
        assert!(verdict(&["10.0.0.0/8"], "::ffff:10.0.0.1").is_ok());
        assert!(verdict(ALL, "fd00::1").is_ok());
    }

    #[test]
    fn unix_sockets_are_for_callers_on_the_machine_where_they_are_allowed() {
        let rules = Rules {
            allow_paths: ["/run/app/", "/run/callboard.sock"]
                .map(|path| AllowedPath::parse(path).unwrap())
                .into(),
            own_paths: vec!["/run/callboard.sock".into()],
            ..rules()
        };
        let verdict = |rules: &Rules, address: &str, actor: &Actor| {
            let mut instance = instance("web", "a");
            instance.address = address.parse().unwrap();
            rules
                .admit(&instance, actor)
                .map_err(|refusal| refusal.to_string())
        };
        let here = peer("::ffff:127.0.0.1");
        let mirrored = |here| Actor::Registry {
            url: "http://board:8500".into(),
            here,
        };
        let good = "unix:/run/app/a.sock";
        assert_eq!(verdict(&rules, good, &here), Ok(()));
        assert_eq!(verdict(&rules, good, &mirrored(true)), Ok(()));
        for elsewhere in [peer("10.0.0.9"), mirrored(false)] {
            let problem = verdict(&rules, good, &elsewhere).unwrap_err();
            assert!(
                problem.contains("only callers on the same machine"),
                "{problem}"
            );
        }
        for (address, problem) in [
            ("unix:/run/other.sock", "that is not allowed"),
            ("unix:/run/app2/a.sock", "that is not allowed"),
            ("unix:/run/app/../docker.sock", "without . and .."),
            ("unix:/run/app/./a.sock", "without . and .."),
            ("unix:/run/app//a.sock", "without . and .."),
            ("unix:/run/callboard.sock", "callboard's own"),
        ] {
            let refused = verdict(&rules, address, &here).unwrap_err();
            assert!(refused.contains(problem), "{refused}");
        }
        let problem = verdict(&rules_of(ALL, &[]), good, &here).unwrap_err();
        assert!(problem.contains("registry.allow"), "{problem}");
    }

    #[test]
    fn what_is_no_single_machine_is_refused_everywhere() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "::",
            "::ffff:0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "ff02::1",
        ] {
            let problem = verdict(&rules_of(ALL, &[]), address, "127.0.0.1").unwrap_err();
            assert!(problem.ends_with("(expected the address of one machine)"));
        }
    }

    #[test]
    fn loopback_is_for_callers_on_loopback_unless_it_is_named() {
        let cases: &[(&[&str], &str, &str, bool)] = &[
            (ALL, "127.0.0.1", "127.0.0.1", true),
            (ALL, "127.0.0.1", "127.0.0.2", true),
            (ALL, "127.0.0.1", "::1", true),
            (ALL, "::1", "::ffff:127.0.0.1", true),
            (ALL, "127.0.0.1", "10.0.0.9", false),
            (ALL, "127.9.9.9", "10.0.0.9", false),
            (ALL, "::ffff:127.0.0.1", "10.0.0.9", false),
            (ALL, "::1", "10.0.0.9", false),
            (&["127.0.0.0/8", "::/0"], "127.0.0.1", "10.0.0.9", true),
            (&["127.0.0.0/8", "::/0"], "::1", "10.0.0.9", false),
            (&["127.0.0.1/32", "::1/128"], "::1", "10.0.0.9", true),
            (
                &["127.0.0.2/32", "0.0.0.0/0"],
                "127.0.0.1",
                "10.0.0.9",
                false,
            ),
            (&["126.0.0.0/7"], "127.0.0.1", "10.0.0.9", false),
            (&["10.0.0.0/8"], "127.0.0.1", "127.0.0.1", false),
        ];
        for (allow, address, caller, admitted) in cases {
            let verdict = verdict(&rules_of(allow, &[]), address, caller);
            assert_eq!(verdict.is_ok(), *admitted, "{allow:?} {address} {caller}");
        }
        let problem = verdict(&rules_of(ALL, &[]), "127.0.0.1", "10.0.0.9").unwrap_err();
        assert!(problem.contains("within 127.0.0.0/8 in registry.allow"));
        assert_eq!(
            rules_of(ALL, &[]).readmit_address(&Instance {
                address: "127.0.0.1:8080".parse().unwrap(),
                ..instance("web", "a")
            }),
            Ok(()),
            "whoever registered it was on the machine"
        );
    }

    #[test]
    fn link_local_addresses_are_for_nobody_unless_they_are_named() {
        let cases: &[(&[&str], &str, bool)] = &[
            (ALL, "169.254.169.254", false),
            (ALL, "::ffff:169.254.169.254", false),
            (ALL, "fe80::1", false),
            (ALL, "febf::1", false),
            (ALL, "fec0::1", true),
            (&["169.254.0.0/16"], "169.254.169.254", true),
            (&["169.254.7.0/24"], "169.254.169.254", false),
            (&["169.254.0.0/15"], "169.254.169.254", false),
            (&["fe80::/64"], "fe80::1", true),
        ];
        for (allow, address, admitted) in cases {
            for caller in ["127.0.0.1", "10.0.0.9"] {
                let verdict = verdict(&rules_of(allow, &[]), address, caller);
                assert_eq!(verdict.is_ok(), *admitted, "{allow:?} {address}");
            }
        }
    }

    #[test]
    fn callboards_own_listeners_are_refused_by_address_and_port() {
        let own = [("127.0.0.0/8", 8080), ("10.0.0.2/32", 9090)];
        let rules = rules_of(ALL, &own);
        assert_eq!(
            verdict(&rules, "127.0.0.1", "127.0.0.1").unwrap_err(),
            "address: is 127.0.0.1:8080, where callboard itself listens (expected the instance's \
             own address and port)"
        );
        assert!(verdict(&rules, "::ffff:127.0.0.5", "127.0.0.1").is_err());
        assert!(verdict(&rules, "10.0.0.2", "127.0.0.1").is_ok());
    }
}
