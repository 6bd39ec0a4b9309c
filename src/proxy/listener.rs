//! What one listener of the data plane does with its connections.

use std::sync::Arc;

use crate::address::Address;
use crate::names::ServiceName;
use crate::tls;

/// One listener.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// Where it listens.
    pub address: Address,
    /// What clients speak.
    pub protocol: Protocol,
    /// What their handshakes go by; `None` is clear text.
    pub tls: Option<Arc<tls::Server>>,
    /// Whether every connection begins with a header of the PROXY protocol that says where it is from.
    pub proxy_protocol: bool,
    /// Who may connect to a Unix socket, as the bits of chmod(1).
    pub mode: Option<u32>,
}

/// What clients of a listener speak.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP, routed by the request.
    Http,
    /// Anything, passed on byte by byte.
    Tcp(TcpRoutes),
}

/// Which service a connection goes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TcpRoutes {
    /// By the name the client asks for in its TLS handshake (SNI); `*.example.com` is every name below.
    /// An exact match comes first, then the first wildcard that matches.
    pub by_name: Vec<(String, ServiceName)>,
    /// Any other connection; `None` closes it.
    pub otherwise: Option<ServiceName>,
}

impl TcpRoutes {
    /// The service of a connection whose TLS asks for `name`, if it asks for one: an exact match comes
    /// before all others.
    pub fn find(&self, name: Option<&str>) -> Option<&ServiceName> {
        let name = name.map(|name| name.strip_suffix('.').unwrap_or(name));
        let matching = |matches: fn(&str, &str) -> bool| {
            let name = name?;
            (self.by_name.iter()).find(|(pattern, _)| matches(pattern, name))
        };
        matching(str::eq_ignore_ascii_case)
            .or_else(|| matching(is_below))
            .map(|(_, service)| service)
            .or(self.otherwise.as_ref())
    }
}

/// Whether `pattern` is a wildcard and `name` is below it.
fn is_below(pattern: &str, name: &str) -> bool {
    let Some(suffix) = pattern.strip_prefix('*') else {
        return false;
    };
    let start = name.len().checked_sub(suffix.len());
    start.is_some_and(|start| {
        start > 0
            && (name.as_bytes().get(start..))
                .is_some_and(|end| end.eq_ignore_ascii_case(suffix.as_bytes()))
    })
}

impl Listener {
    /// Whether it can do as `new` says without being bound again: only what handshakes go by may differ.
    pub fn can_become(&self, new: &Self) -> bool {
        let bare = |listener: &Self| Self {
            tls: None,
            ..listener.clone()
        };
        self.tls.is_some() == new.tls.is_some() && bare(self) == bare(new)
    }

    /// The schemes there are, see [`Listener::scheme`].
    pub const SCHEMES: [&'static str; 4] = ["http", "https", "tcp", "tls"];

    /// What clients speak, as in a URL.
    pub fn scheme(&self) -> &'static str {
        Self::SCHEMES[self.scheme_index()]
    }

    pub(super) fn scheme_index(&self) -> usize {
        let is_tcp = matches!(self.protocol, Protocol::Tcp(_));
        2 * usize::from(is_tcp) + usize::from(self.tls.is_some())
    }

    /// A listener of plain HTTP.
    pub fn http(address: impl Into<Address>) -> Self {
        Self {
            address: address.into(),
            protocol: Protocol::Http,
            tls: None,
            proxy_protocol: false,
            mode: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_goes_to_its_service_before_the_first_wildcard_above_it() {
        let service = |name: &str| -> ServiceName { name.parse().unwrap() };
        let mut routes = TcpRoutes {
            by_name: [
                ("*.example.com", "wild"),
                ("db.example.com", "db"),
                ("*.eu.example.com", "late"),
            ]
            .map(|(name, to)| (name.to_owned(), service(to)))
            .into(),
            otherwise: None,
        };
        let find = |routes: &TcpRoutes, name: Option<&str>| {
            routes.find(name).map(|service| service.as_str().to_owned())
        };
        for (name, found) in [
            ("db.example.com", Some("db")),
            ("DB.Example.COM.", Some("db")),
            ("a.example.com", Some("wild")),
            ("a.eu.example.com", Some("wild")),
            ("example.com", None),
            (".example.com", None),
            ("badexample.com", None),
            ("", None),
        ] {
            assert_eq!(find(&routes, Some(name)).as_deref(), found, "{name}");
        }
        assert_eq!(find(&routes, None), None);
        routes.otherwise = Some(service("rest"));
        assert_eq!(find(&routes, None).as_deref(), Some("rest"));
        assert_eq!(find(&routes, Some("x")).as_deref(), Some("rest"));
    }
}
