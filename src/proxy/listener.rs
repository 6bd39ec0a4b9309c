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
    /// The first that matches.
    pub by_name: Vec<(String, ServiceName)>,
    /// Any other connection; `None` closes it.
    pub otherwise: Option<ServiceName>,
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
