//! Finding an instance that takes a connection: when one cannot be connected to, the next.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::debug;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use crate::balance::HashOn;
use crate::cluster::Cluster;
use crate::cluster::pick::{Nobody, Outcome, Pick, Tried};
use crate::cluster::policy::Policy;
use crate::cluster::queue::Refusal;
use crate::dial::{self, Handshake};
use crate::names::ServiceName;
use crate::proxy::connection::Connections;
use crate::proxy::gate::Gate;
use crate::proxy::hash_key;
use crate::proxy::retry::{Fault, MAX_TRIES};
use crate::tls::HTTP_2;

use super::counts::Reason;
use super::{Ends, header};

/// A connection to an instance.
pub(super) struct Connected {
    pub(super) pick: Pick,
    pub(super) instance: dial::Stream,
    pub(super) policy: Arc<Policy>,
    /// How long connecting took.
    pub(super) took: Duration,
}

/// Connects to an instance of `service` on behalf of the client at one of `ends`.
///
/// # Errors
/// When no instance takes it within the policy's `timeouts.request`.
pub(super) async fn connect(
    connections: &Connections,
    service: &ServiceName,
    ends: Ends,
) -> Result<Connected, Reason> {
    let clusters = &connections.clusters;
    let cluster = clusters
        .find(service.as_str())
        .or_else(|| clusters.expect(service.as_str(), true))
        .ok_or(Reason::Unavailable)?;
    let policy = cluster.policy();
    let deadline = Instant::now() + policy.timeouts.request;
    let hash = hash_of(&policy.balance.hash_on, ends.client);
    let preamble = policy
        .proxy_protocol
        .map_or_else(Vec::new, |version| header::of(version, ends));
    let mut tried = Tried::default();
    let mut failure = None;
    for _ in 0..MAX_TRIES {
        let gate = connections.gate();
        let mut pick = match acquire(&cluster, gate, hash, &tried, deadline).await {
            Ok(pick) => pick,
            Err(refusal) => return Err(failure.unwrap_or(refusal)),
        };
        let started = Instant::now();
        let remaining = deadline.saturating_duration_since(started);
        let within = policy.timeouts.connect.min(remaining);
        match open(&pick, &policy, &preamble, within).await {
            Ok(_) if !pick.holds() => pick.withdraw(),
            Ok(instance) => {
                return Ok(Connected {
                    pick,
                    instance,
                    policy,
                    took: started.elapsed(),
                });
            }
            Err(error) => {
                debug!("{service}: connect to {}: {error}", pick.address());
                let timed_out = error.kind() == io::ErrorKind::TimedOut;
                if timed_out && within < policy.timeouts.connect {
                    // It was given less than it is to be given.
                    pick.withdraw();
                    return Err(failure.unwrap_or(Reason::TimedOut));
                }
                failure = Some(if timed_out {
                    Reason::TimedOut
                } else {
                    Reason::Unconnected
                });
                pick.report(Outcome::Unreachable, Instant::now());
                tried.add(pick.endpoint());
                drop(pick);
                if !(Fault::Connect { timed_out }).is_covered(&policy.retry.on) {
                    break;
                }
            }
        }
    }
    Err(failure.unwrap_or(Reason::Unavailable))
}

async fn acquire(
    cluster: &Arc<Cluster>,
    gate: &Gate,
    hash: u64,
    tried: &Tried,
    deadline: Instant,
) -> Result<Pick, Reason> {
    tokio::select! {
        biased;
        acquired = cluster.acquire(hash, tried, deadline) => acquired.map_err(|refusal| {
            let (Refusal::Nobody(nobody)
                | Refusal::Crowded(nobody, _)
                | Refusal::Waited(nobody, _)) = refusal;
            match nobody {
                Nobody::Full(_) => Reason::OverLimit,
                Nobody::Available | Nobody::Untried => Reason::Unavailable,
            }
        }),
        () = gate.last_call() => Err(Reason::Unavailable),
    }
}

/// The connection's hash: of the client's address, if that is what is hashed; there is no more to go by.
fn hash_of(hash_on: &HashOn, client: Option<SocketAddr>) -> u64 {
    match (hash_on, client) {
        (HashOn::ClientIp, Some(client)) => hash_key::of_client(client.ip().to_canonical()),
        _ => fastrand::u64(..),
    }
}

/// Connects to the instance picked and says the preamble, then agrees on keys if it speaks TLS, all
/// within `within`.
async fn open(
    pick: &Pick,
    policy: &Policy,
    preamble: &[u8],
    within: Duration,
) -> io::Result<dial::Stream> {
    let scheme = pick.endpoint().instance.scheme;
    let protocols: &[&[u8]] = if scheme.is_http2() { &[HTTP_2] } else { &[] };
    let opening = async {
        let mut plain = dial::open(pick.address(), None, within).await?;
        plain.write_all(preamble).await?;
        if !scheme.is_tls() {
            return Ok(plain);
        }
        let handshake = Handshake {
            client: &policy.tls,
            service: pick.cluster().name().as_str(),
            protocols,
        };
        handshake.shake(plain).await
    };
    let opened = timeout(within, opening).await;
    opened.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
