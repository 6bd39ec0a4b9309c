//! One instance of a service, as a process of its own: it signs in, sends heartbeats, answers, and on
//! SIGTERM leaves the way a service should. What it can be told to do badly is what instances out
//! there do badly.

mod membership;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::serve::ListenerExt;
use tokio::net::TcpSocket;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{sleep, sleep_until};

use super::answer;
use super::record::Recorder;
use membership::Membership;

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 1024;
/// More than any request of the prover carries.
const MAX_BODY: usize = 64 * 1024;

/// How an instance is to be.
#[derive(Clone, Debug)]
pub struct Settings {
    /// callboard's control plane.
    pub registry: SocketAddr,
    /// The service it belongs to.
    pub service: String,
    /// Its id.
    pub id: String,
    /// The port to listen on; 0 for any.
    pub port: u16,
    /// The time to live of its lease, as the API reads it.
    pub ttl: String,
    /// Where it keeps its record of requests.
    pub record: PathBuf,
    /// How long it takes over a request.
    pub work: Duration,
    /// How long after signing in it begins to listen.
    pub listens_after: Duration,
    /// How long after its start it is ready; until then its health check fails.
    pub ready_after: Duration,
    /// Whether it ends without signing out.
    pub abrupt: bool,
}

/// Runs an instance until SIGTERM.
///
/// # Errors
/// What went wrong, in words.
pub fn run(settings: Settings) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    runtime.block_on(live(settings))
}

async fn live(settings: Settings) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", settings.id);
    let mut leaving = signal(SignalKind::terminate()).map_err(failed)?;
    // Bound and not yet listening, the port is taken and refuses connections.
    let socket = TcpSocket::new_v4().map_err(failed)?;
    socket.set_reuseaddr(true).map_err(failed)?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, settings.port));
    socket.bind(address).map_err(failed)?;
    let port = socket.local_addr().map_err(failed)?.port();
    let instance = Arc::new(Instance {
        service: settings.service.clone(),
        id: settings.id.clone(),
        recorder: Recorder::open(&settings.record).map_err(failed)?,
        work: settings.work,
        ready_at: Instant::now() + settings.ready_after,
    });
    let listen = || -> Result<(), String> {
        let listener = socket.listen(BACKLOG).map_err(failed)?;
        let listener = listener.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        let router = Router::new().fallback(serve).with_state(instance);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(())
    };
    let membership = Membership::new(&settings, port);
    if settings.listens_after.is_zero() {
        listen()?;
        membership.stay(leaving.recv()).await;
    } else {
        let late = async {
            sleep(settings.listens_after).await;
            listen()
        };
        let stay = membership.stay(leaving.recv());
        let (listening, ()) = tokio::join!(late, stay);
        listening?;
    }
    if settings.abrupt {
        return Ok(());
    }
    membership.leave().await
}

struct Instance {
    service: String,
    id: String,
    recorder: Recorder,
    work: Duration,
    ready_at: Instant,
}

/// `/health/SERVICE/ID` is well when this is that very instance and is ready. A path that names the
/// instance keeps a stranger on a port that was somebody else's from passing for them.
async fn serve(
    State(instance): State<Arc<Instance>>,
    request: Request,
) -> Result<String, (StatusCode, String)> {
    let Instance { service, id, .. } = &*instance;
    let begun = Instant::now();
    let ready = begun >= instance.ready_at;
    let path = request.uri().path();
    if let Some(asked) = path.strip_prefix("/health/") {
        let own = asked.split_once('/') == Some((service, id));
        return match (own, ready) {
            (true, true) => Ok("well".to_owned()),
            (true, false) => Err((StatusCode::SERVICE_UNAVAILABLE, "not yet".to_owned())),
            (false, _) => Err((StatusCode::NOT_FOUND, format!("this is {service}/{id}"))),
        };
    }
    let Some(tag) = answer::tag(path) else {
        return Err((StatusCode::NOT_FOUND, "no such path".to_owned()));
    };
    let repeatable = *request.method() == Method::GET;
    let noted = instance.recorder.note(tag, repeatable, ready);
    noted.map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    if !ready {
        let problem = format!("{id} is not ready");
        return Err((StatusCode::SERVICE_UNAVAILABLE, problem));
    }
    let payload = match repeatable {
        true => Ok(Bytes::from(answer::payload(tag))),
        false => to_bytes(request.into_body(), MAX_BODY).await,
    };
    let payload = payload.map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?;
    sleep_until((begun + instance.work).into()).await;
    let payload = String::from_utf8_lossy(&payload);
    Ok(answer::text(service, id, tag, &payload))
}
