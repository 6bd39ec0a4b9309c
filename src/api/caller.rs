//! Who is calling and what about, as handlers receive it.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts, Path};
use axum::http::request::Parts;

use crate::names::{InstanceId, ServiceName};
use crate::registry::event::Actor;

use super::problem::{Faults, Problem};

/// The address a request came from, which is also the address of an instance that registers
/// without naming one. The unspecified address, which cannot be registered, if the server did not
/// say.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// Where the request came from.
    pub address: IpAddr,
}

impl Caller {
    /// The caller as the one who caused a change.
    pub fn actor(self) -> Actor {
        Actor::Peer {
            address: self.address,
            token: None,
            admin: true,
        }
    }

    pub(super) fn of(extensions: &axum::http::Extensions) -> Self {
        let address = extensions
            .get::<ConnectInfo<SocketAddr>>()
            .map_or(Ipv4Addr::UNSPECIFIED.into(), |info| info.0.ip());
        // A listener on [::] sees IPv4 callers as ::ffff:a.b.c.d.
        Self {
            address: address.to_canonical(),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.extensions))
    }
}

/// The service a path names.
#[derive(Clone, Debug)]
pub struct ServicePath(pub ServiceName);

/// The instance a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstancePath {
    /// Its service.
    pub service: ServiceName,
    /// Its id.
    pub id: InstanceId,
}

impl InstancePath {
    /// The problem that there is no such instance.
    pub fn unknown(&self) -> Problem {
        Problem::unknown_instance(self.service.as_str(), self.id.as_str())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ServicePath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(service) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(unreadable)?;
        match service.parse() {
            Ok(service) => Ok(Self(service)),
            Err(error) => Err(Faults::one("service", error.to_string()).into()),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for InstancePath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path((service, id)) = Path::<(String, String)>::from_request_parts(parts, state)
            .await
            .map_err(unreadable)?;
        match (service.parse(), id.parse()) {
            (Ok(service), Ok(id)) => Ok(Self { service, id }),
            (service, id) => {
                let mut faults = Faults::default();
                if let Err(error) = service {
                    faults.add("service", error.to_string());
                }
                if let Err(error) = id {
                    faults.add("id", error.to_string());
                }
                Err(faults.into())
            }
        }
    }
}

fn unreadable(rejection: axum::extract::rejection::PathRejection) -> Problem {
    let detail = format!("the path: {} (expected UTF-8)", rejection.body_text());
    Faults::one("", detail).into()
}
