//! Connections that are passed on byte by byte, whatever they carry.
//!
//! A connection finds its service by the listener it came to or by the name its TLS asks for
//! ([`hello`]), and an instance as a request does: through the same [`Cluster`](crate::cluster::Cluster),
//! so that selection, limits, queues and ejections are the same. It counts as in flight at the instance
//! for as long as it is open.
//!
//! What an instance is told to have come of a connection: it could not be connected to, which counts as
//! for requests; it broke the connection before it had said anything, which is a failure; or it spoke,
//! or at least held the connection for a while, which is an answer. That it took as long as connecting
//! took, since what follows depends on when the client asks for something. What happens later says
//! nothing of the next connection.

mod attempts;
pub mod counts;
mod header;
mod hello;
mod log;
mod transport;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::log::{debug, warn};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use crate::cluster::pick::{Outcome, Pick};
use crate::names::ServiceName;
use crate::tls;

use self::log::{Log, Passed};
use super::connection::{Connections, Socket, secured};
use super::gate::Gate;
use super::listener::TcpRoutes;
use super::relay::{Ended, Relay, Side};
use attempts::{Connected, connect};
use counts::{Reason, Tally};
use hello::Hello;
use transport::Transport;

/// How long an instance holds a connection in silence until it is taken for well.
const SETTLED: Duration = Duration::from_secs(10);
/// How long the last words to a client may take.
const FAREWELL: Duration = Duration::from_secs(1);
/// TLS 1.2's record of a fatal alert, unrecognized_name (RFC 6066, section 3); 1.3 has the same.
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// The two ends of a client's connection, as far as they are known.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ends {
    /// The client.
    pub(super) client: Option<SocketAddr>,
    /// Where it connected to.
    pub(super) local: Option<SocketAddr>,
}

/// Passes the connection on to an instance of the service it is for, until it ends.
///
/// # Errors
/// When it ends before its service is known.
pub(super) async fn serve(
    connections: &Connections,
    routes: &TcpRoutes,
    tls: Option<&tls::Server>,
    mut socket: Socket,
    ends: Ends,
) -> io::Result<()> {
    let log = Log::new(&connections.telemetry, ends, tls.is_some());
    if let Some(tls) = tls {
        let mut stream = secured::accept(tls, socket).await?;
        let service = routes.find(stream.get_ref().1.server_name());
        match service {
            Some(service) => {
                let tally = connections.counts.of(service, true);
                pass(connections, service, &tally, &mut stream, &log).await;
            }
            None => {
                connections.counts.fail_unrouted();
                log.unrouted();
            }
        }
        let _ = timeout(FAREWELL, stream.shutdown()).await;
        return Ok(());
    }
    let hello = if routes.by_name.is_empty() {
        // Some protocols let the server speak first, so the client is not waited for.
        Hello::Unknown
    } else {
        hello::read(&mut socket).await?
    };
    let (service, alert) = match hello {
        Hello::Tls { name } => (routes.find(name.as_deref()), &UNRECOGNIZED_NAME[..]),
        Hello::Unknown => (routes.otherwise.as_ref(), &[][..]),
    };
    match service {
        Some(service) => {
            let tally = connections.counts.of(service, false);
            pass(connections, service, &tally, &mut socket, &log).await;
        }
        None => {
            connections.counts.fail_unrouted();
            log.unrouted();
            let _ = timeout(FAREWELL, socket.write_all(alert)).await;
            let _ = timeout(FAREWELL, socket.shutdown()).await;
        }
    }
    Ok(())
}

/// Passes the connection on to an instance of `service`.
async fn pass<C: Transport>(
    connections: &Connections,
    service: &ServiceName,
    tally: &Tally,
    client: &mut C,
    log: &Log<'_>,
) {
    let _open = tally.open();
    let _inside = connections.gate().enter();
    let Connected {
        pick,
        mut instance,
        policy,
        took,
    } = match connect(connections, service, log.ends()).await {
        Ok(connected) => connected,
        Err(why) => {
            log.refused(service, why);
            return refuse(service, tally, why);
        }
    };
    client.set_up();
    instance.set_up();
    let mut relay = Relay::new(
        client,
        &mut instance,
        policy.timeouts.tunnel,
        tally.traffic(),
    );
    let taken_by = Arc::clone(&pick.endpoint().instance);
    let ended = follow(&mut relay, pick, took, connections.gate()).await;
    let passed = Passed {
        instance: taken_by,
        took,
        bytes: relay.passed(),
    };
    drop(relay);
    log.ended(service, &passed, ended.as_ref());
    match ended {
        Some(Ended::Closed) => {}
        Some(Ended::Broken(side, error)) => {
            debug!("{service}: a connection broke: {side:?}: {error}");
            match side {
                Side::Client => instance.reset_on_close(),
                Side::Instance => client.reset_on_close(),
            }
        }
        Some(Ended::Silent) => debug!("{service}: a connection was silent for too long"),
        None => debug!("{service}: a connection is closed, as its instance or callboard leaves"),
    }
}

/// Passes bytes on until the connection has ended, or its instance is done with (`None`), and reports
/// what came of it.
async fn follow<C: Transport, I: Transport>(
    relay: &mut Relay<'_, C, I>,
    mut pick: Pick,
    took: Duration,
    gate: &Gate,
) -> Option<Ended> {
    let early = tokio::select! {
        early = timeout(SETTLED, relay.answer()) => early.ok().flatten(),
        () = cut(&pick, gate) => return None,
    };
    let outcome = match &early {
        _ if relay.has_answer() => Some(Outcome::Answered),
        None | Some(Ended::Closed) => Some(Outcome::Answered),
        Some(Ended::Broken(Side::Instance, _)) => Some(Outcome::Failed),
        // Whose fault that is cannot be told.
        Some(Ended::Broken(Side::Client, _) | Ended::Silent) => None,
    };
    if let Some(outcome) = outcome {
        let now = Instant::now();
        pick.begin(now.checked_sub(took).unwrap_or(now));
        pick.report(outcome, now);
    }
    if early.is_some() {
        return early;
    }
    tokio::select! {
        ended = relay.run() => Some(ended),
        () = cut(&pick, gate) => None,
    }
}

/// Ends when the connection has to: its instance has drained for as long as it may, or callboard leaves.
async fn cut(pick: &Pick, gate: &Gate) {
    tokio::select! {
        () = pick.endpoint().parted() => {}
        () = gate.last_call() => {}
    }
}

fn refuse(service: &ServiceName, tally: &Tally, why: Reason) {
    tally.fail(why);
    if tally.may_warn(Instant::now()) {
        warn!(
            "{service}: a TCP connection is closed unserved: {why} (for a minute, more of them are \
             counted on /metrics only)"
        );
    }
}
