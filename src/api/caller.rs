//! Who is calling and what about, as handlers receive it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts, Path};
use axum::http::Extensions;
use axum::http::request::Parts;

use crate::names::{InstanceId, ServiceName};
use crate::registry::event::Actor;

use super::access::Token;
use super::problem::{Faults, Kind, Problem};

/// Who is calling, as the guard found out.
#[derive(Clone, Debug)]
pub struct Caller {
    address: IpAddr,
    token: Option<Arc<Token>>,
}

impl Caller {
    pub(super) fn new(address: IpAddr, token: Option<Arc<Token>>) -> Self {
        Self { address, token }
    }

    /// Where the request came from, which is also the address of an instance that registers without
    /// naming one. The unspecified address, which cannot be registered, if the server did not say.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The token it showed; `None` where none is asked for.
    pub(super) fn token(&self) -> Option<&Token> {
        self.token.as_deref()
    }

    /// The caller as the one who changes instances of `service`. Every change needs an actor, and
    /// there is no other way to one, so no handler can forget to ask.
    ///
    /// # Errors
    /// [`Kind::InsufficientScope`].
    pub fn on(&self, service: &ServiceName) -> Result<Actor, Problem> {
        self.with_scope(
            |token| token.registers(service),
            format_args!("register:{service}"),
        )?;
        Ok(Actor::Peer {
            address: self.address,
            token: self.token.as_ref().map(|token| token.name().clone()),
            admin: self.token.as_ref().is_none_or(|token| token.is_admin()),
        })
    }

    /// Whether the caller may change how callboard itself works.
    ///
    /// # Errors
    /// [`Kind::InsufficientScope`].
    pub fn administers(&self) -> Result<(), Problem> {
        match &self.token {
            Some(token) if !token.is_admin() => {
                let detail = format!(
                    "token {:?} does not have the scope (expected admin)",
                    token.name()
                );
                Err(Problem::new(Kind::InsufficientScope, detail))
            }
            _ => Ok(()),
        }
    }

    /// # Errors
    /// [`Kind::InsufficientScope`].
    pub(super) fn may_read(&self) -> Result<(), Problem> {
        self.with_scope(Token::reads, "read")
    }

    /// Whether there is anything that the caller may change.
    ///
    /// # Errors
    /// [`Kind::InsufficientScope`].
    pub(super) fn may_write(&self) -> Result<(), Problem> {
        self.with_scope(Token::writes, "register:SERVICE")
    }

    fn with_scope(
        &self,
        has: impl FnOnce(&Token) -> bool,
        scope: impl fmt::Display,
    ) -> Result<(), Problem> {
        match &self.token {
            Some(token) if !has(token) => {
                let detail = format!(
                    "token {:?} does not have the scope (expected {scope} or admin)",
                    token.name()
                );
                Err(Problem::new(Kind::InsufficientScope, detail))
            }
            _ => Ok(()),
        }
    }
}

/// As the log names it.
impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.token {
            Some(token) => write!(f, "{} (token {:?})", self.address, token.name()),
            None => write!(f, "{}", self.address),
        }
    }
}

/// The address a request came from; the unspecified one if the server did not say.
pub(super) fn peer(extensions: &Extensions) -> IpAddr {
    let address = extensions
        .get::<ConnectInfo<SocketAddr>>()
        .map_or(Ipv4Addr::UNSPECIFIED.into(), |info| info.0.ip());
    // A listener on [::] sees IPv4 callers as ::ffff:a.b.c.d.
    address.to_canonical()
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let unguarded = || {
            let detail = "nobody asked who is calling (expected a guard in front of this call)";
            Problem::new(Kind::Unauthenticated, detail)
        };
        parts.extensions.get().cloned().ok_or_else(unguarded)
    }
}

/// A caller that may change the instance its path names.
#[derive(Clone, Debug)]
pub struct Registrant {
    /// Where it called from.
    pub address: IpAddr,
    /// The instance.
    pub path: InstancePath,
    /// The caller as the one who changes it.
    pub actor: Actor,
}

impl<S: Send + Sync> FromRequestParts<S> for Registrant {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, state).await?;
        let path = InstancePath::from_request_parts(parts, state).await?;
        Ok(Self {
            address: caller.address,
            actor: caller.on(&path.service)?,
            path,
        })
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
