//! Following: a callboard that keeps no registrations of its own, and mirrors those of another.
//!
//! ```text
//! GET /watch ─ decoder ─▶ Event ─ wire ─▶ Told ─ mirror ─▶ Command ─▶ the ordinary Registry
//! ```
//!
//! This is how proxies are added. The mirrored membership lives in a registry like any other, so that
//! clusters, probes, the store and every GET work as they do where instances sign in; only who gives
//! the commands differs. Whether an instance takes traffic is for the probes here to say: the way from
//! here to it need not be the way from there.
//!
//! Architecture invariant: nothing the followed registry does, being away and coming back empty
//! included, empties a service by itself. What was last known goes on until an event, a lease or a
//! probe says otherwise about each instance; see [`mirror`].

mod apply;
mod backoff;
mod keep;
mod mirror;
mod settings;
pub mod status;
mod stream;
mod wire;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use reqwest::redirect::Policy;
use reqwest::{Certificate, Client};
use tokio::sync::mpsc;

use crate::registry::Registry;
use apply::Applier;
use keep::{Pace, keep};
use mirror::Mirror;
use status::Status;
use stream::{CONNECT_TIMEOUT, Stream};

pub use settings::{Origin, OriginError, Settings, Token, TokenError};

/// How many events wait for the store before the stream does.
const MAX_WAITING: usize = 256;

/// Follows a registry, once it is run.
pub struct Puller {
    registry: Registry,
    status: Status,
    client: Client,
    settings: Settings,
}

/// Why no registry can be followed.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// There is none to follow.
    #[error("no registry is named (expected at least one)")]
    Nowhere,
    /// The client cannot be made; mostly a matter of certificates.
    #[error("{0} (expected certificates that can be read, of the system or of registry.pull.ca)")]
    Client(#[source] reqwest::Error),
}

impl Puller {
    /// Makes ready to mirror a registry that `settings` name in `registry`, which nobody else is to
    /// change meanwhile.
    ///
    /// # Errors
    /// When none is named, or the certificates to know them by cannot be loaded.
    pub fn new(settings: Settings, registry: Registry) -> Result<Self, PullError> {
        let from = settings.from.first().ok_or(PullError::Nowhere)?.clone();
        let snapshot = registry.snapshot();
        let mut services = snapshot.services.values();
        let recovered = services.any(|members| !members.instances.is_empty());
        Ok(Self {
            client: client(&settings).map_err(PullError::Client)?,
            status: Status::new(from, recovered, Instant::now()),
            settings,
            registry,
        })
    }

    /// How it goes.
    pub fn status(&self) -> Status {
        self.status.clone()
    }

    /// Follows for as long as it is polled.
    pub async fn run(self) {
        let (heard, told) = mpsc::channel(MAX_WAITING);
        let shared = Shared::default();
        let stream = Stream {
            client: self.client,
            origins: self.settings.from,
            token: self.settings.token,
            registry: self.registry.clone(),
            status: self.status.clone(),
            heard,
        };
        let applier = Applier {
            registry: self.registry.clone(),
            shared: shared.clone(),
            status: self.status,
        };
        tokio::join!(stream.run(), applier.run(told), keep(self.registry, shared));
    }
}

/// What those who hear, apply and renew have in common.
#[derive(Clone, Debug, Default)]
struct Shared {
    mirror: Arc<Mutex<Mirror>>,
    pace: Arc<Pace>,
}

impl Shared {
    fn mirror(&self) -> MutexGuard<'_, Mirror> {
        // Nothing under the lock leaves it half changed.
        self.mirror.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client that goes where it is told and nowhere else: no redirects, which would carry the token
/// elsewhere, and no proxies out of the environment.
fn client(settings: &Settings) -> Result<Client, reqwest::Error> {
    // Somebody else may have chosen one for the process before; any will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder()
        .http1_only()
        .no_proxy()
        .redirect(Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_max_idle_per_host(0);
    let encrypted = settings.from.iter().any(Origin::is_encrypted);
    if encrypted && settings.ca.is_empty() {
        // Those of the system, which need not have any when nobody asks for them.
        return builder.build();
    }
    let authorities: Vec<_> = settings
        .ca
        .iter()
        .map(|authority| Certificate::from_der(authority))
        .collect::<Result<_, _>>()?;
    builder.tls_certs_only(authorities).build()
}

#[cfg(test)]
mod tests;
