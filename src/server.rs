//! The only wiring: builds every part, ties it to the others, runs and ends the process.
//!
//! Order of life: sockets are bound first, or taken over from the process before (see [`handover`]),
//! so that a taken port is a clear error before anything else happens; the registry comes back from
//! its store; then Pingora's server runs the data plane, the control plane, the prober, the reloader
//! and the handover to the next process, each on its own runtime, until [`shutdown`] lets it end.

mod certificates;
mod control_plane;
mod data_plane;
mod door;
mod entrance;
mod handover;
mod issued;
mod listening;
mod membership;
mod nameplate;
mod once;
mod own;
mod patience;
mod reload;
mod rotation;
mod shutdown;
mod slots;
mod sockets;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use log::{info, warn};
use pingora::server::configuration::ServerConf;
use pingora::server::{RunArgs, Server};

use crate::acme::Certifier;
use crate::address::Address;
use crate::admin;
use crate::admin::reloads::Reloads;
use crate::api::Api;
use crate::api::live::Live;
use crate::config::Config;
use crate::health::probe::Prober;
use crate::plan;
use crate::proxy::connection::Connections;
use crate::proxy::gate::Gate;
use crate::proxy::listener::Listener;
use crate::proxy::retry::MAX_TRIES;
use crate::proxy::tcp::counts::Counts;
use crate::proxy::{DataPlane, Settings};
use crate::pull::Puller;
use crate::registry::store::StoreError;
use crate::telemetry::Telemetry;
use crate::telemetry::access_log::Unopened;

use control_plane::ControlPlane;
use door::Door;
use entrance::Entrance;
use handover::{Carried, Failure, Giver, Handover, Held, Place, Successor};
use membership::{membership, rules, splits, store};
use once::Once;
use reload::Reloader;
use sockets::Sockets;

pub use handover::TakeOverError;

/// How many probes run at once.
const PROBE_CONCURRENCY: usize = 256;
/// How long the last lines of the access log may take.
const LAST_LINES: Duration = Duration::from_secs(1);
/// Idle connections kept per worker thread to all instances together, on each of the two paths: enough for
/// one to each instance of a very large service.
const UPSTREAM_POOL: usize = 16_384;
/// How long the end of the process waits for the last traces to be exported.
const TRACES_GRACE: Duration = Duration::from_secs(1);

/// Why callboard could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address could not be listened on.
    #[error("cannot listen on {address} ({setting}): {error}")]
    Listen {
        /// The address.
        address: Address,
        /// The setting that names it.
        setting: &'static str,
        /// What the system said.
        error: std::io::Error,
    },
    /// The registry could not be brought up.
    #[error("cannot start the registry: {0}")]
    Registry(#[from] StoreError),
    /// No registry can be followed.
    #[error("cannot follow a registry (registry.pull): {0}")]
    Pull(#[from] crate::pull::PullError),
    /// There is nowhere to write the access log.
    #[error(transparent)]
    AccessLog(#[from] Unopened),
    /// Nobody's place could be taken.
    #[error("cannot take over: {0}")]
    TakeOver(#[from] TakeOverError),
}

/// Runs callboard until it is told to leave.
///
/// `source` is where `config` was read from, to be read again on SIGHUP; `None` when it is the
/// built-in defaults.
///
/// # Errors
/// When it could not start.
pub fn run(config: Config, source: Option<PathBuf>) -> Result<(), StartError> {
    let sockets = sockets::bind(&config)?;
    serve(config, source, sockets, None)
}

/// Takes the place of the callboard that runs by the same configuration, then does as [`run`].
///
/// # Errors
/// When it could not take that place. Whoever has it goes on undisturbed.
pub fn take_over(config: Config, source: Option<PathBuf>) -> Result<(), StartError> {
    let (sockets, successor) = handover::take_sockets(&config)?;
    serve(config, source, sockets, Some(successor))
}

fn serve(
    config: Config,
    source: Option<PathBuf>,
    mut sockets: Sockets,
    mut successor: Option<Successor>,
) -> Result<(), StartError> {
    // Before anybody's place is taken: what cannot be opened is a reason not to.
    let telemetry = Arc::new(Telemetry::new(config.telemetry.clone())?);
    let listeners = sockets.addresses();
    let held = held(&mut sockets, &config);
    let open_files = open_files();
    let entrance = Arc::new(Entrance::new(&config.registry, open_files));

    let (prober, probes) = Prober::new(PROBE_CONCURRENCY);
    let mut carried = Carried::default();
    let kept = match &mut successor {
        Some(successor) => {
            carried = successor.ready()?;
            successor.open(|| store(&config.registry.store, carried.membership.take()))?
        }
        None => store(&config.registry.store, None)?,
    };
    let (clusters, registry) = membership(&config, &listeners, prober, kept)?;
    let clusters_in_time = clusters.clone().keep_time();
    let settings = Arc::new(ArcSwap::from_pointee(request_settings(&config)));
    let splits = Arc::new(splits(&config, carried.splits.as_deref()));
    let gate = Arc::new(Gate::default());
    let (phases, phase) = shutdown::phases(match successor {
        Some(_) => Door::Shut,
        None => Door::Open,
    });
    let (quiet, is_quiet) = tokio::sync::watch::channel(false);
    let failure = Failure::default();
    let path = config.proxy.upgrade_socket.clone();
    let handover = Handover {
        // The process before has the path until it has no say any more.
        place: path
            .as_deref()
            .filter(|_| successor.is_none())
            .and_then(|path| handover::placed(path, Place::at(path))),
        successor,
        giver: Giver {
            phases: phases.clone(),
            quiet: is_quiet,
            registry: registry.clone(),
            splits: Arc::clone(&splits),
            store: config.registry.store.clone(),
            held: held.clone(),
        },
        path,
        failure: Arc::clone(&failure),
    };
    let served: Vec<_> = listeners_of(&config).collect();
    let certifier = issued::certifier(&config, &served);
    let puller = (config.registry.pull.clone())
        .map(|settings| Puller::new(settings, registry.clone()))
        .transpose()?;
    let counts = Arc::<Counts>::default();
    let reloads = Arc::new(Reloads::new(SystemTime::now()));
    let operators = admin::routes(admin::Sources {
        readiness: phase.readiness,
        registry: registry.clone(),
        pull: puller.as_ref().map(Puller::status),
        connections: Arc::clone(&counts),
        clusters: clusters.clone(),
        telemetry: Arc::clone(&telemetry),
        certificates: certifier.as_ref().map(Certifier::expiries),
        reloads: Arc::clone(&reloads),
    });
    let acceptors = served.len();
    let entered = Arc::clone(&gate);
    let live = Live::new(clusters.clone(), registry.clone(), move || {
        // Whoever accepts connections holds the gate open as well.
        entered.connections().saturating_sub(acceptors)
    });
    let sampling = live.clone().run();
    let in_force = Arc::new(ArcSwap::from_pointee(config.clone()));
    let operators = operators.merge(plan::routes(plan::Running::new(
        Arc::clone(&in_force),
        registry.clone(),
        clusters.clone(),
        Arc::clone(&splits),
    )));
    let api = Api {
        live,
        registry: registry.clone(),
        clusters: clusters.clone(),
        splits: Arc::clone(&splits),
        telemetry: Arc::clone(&telemetry),
        mirrored_from: mirrored_from(&config),
        closing: phase.control_closing.clone(),
    };
    let data_plane = DataPlane::new(
        clusters.clone(),
        Arc::clone(&splits),
        Arc::clone(&settings),
        Arc::clone(&gate),
        Arc::clone(&telemetry),
    )
    .proving(certifier.as_ref().map(Certifier::challenges));
    let watched = certificates::watched(&config, &clusters);
    let reloader = Reloader {
        running: config.clone(),
        in_force,
        source,
        clusters,
        registry,
        entrance: Arc::clone(&entrance),
        listeners,
        splits,
        settings,
        telemetry: Arc::clone(&telemetry),
        reloads,
        names_changed: certifier.as_ref().map(Certifier::reconsider),
    };

    let mut server = Server::new_with_opt_and_conf(None, server_conf(&config));
    let conf = Arc::clone(&server.configuration);
    server.add_service(Once::service("probes", probes));
    server.add_service(Once::service("tempo", clusters_in_time));
    server.add_service(Once::service("live", sampling));
    server.add_service(Once::service(
        "registry",
        control_plane::serve(ControlPlane {
            socket: sockets.registry,
            router: api.control_plane(operators, Arc::clone(&entrance.guard)),
            entrance,
            door: phase.door,
            quiet,
            closing: phase.control_closing,
        }),
    ));
    server.add_service(data_plane::Bound::new(
        Connections::new(&conf, data_plane, phase.data_closing.clone(), counts),
        served.into_iter().zip(sockets.proxy).collect(),
        phase.data_closing,
        phases.serving(),
        usize::try_from(open_files / 2).unwrap_or(usize::MAX),
    ));
    server.add_service(Once::service("reload", reloader.run()));
    server.add_service(Once::service(
        "rotation",
        rotation::run(Arc::clone(&telemetry)),
    ));
    server.add_service(Once::service("certificates", certificates::keep(watched)));
    server.add_service(Once::service("handover", handover.run()));
    if let Some(certifier) = certifier {
        let work = issued::run(certifier, phases.readiness());
        server.add_service(Once::service("acme", work));
    }
    if let Some(puller) = puller {
        server.add_service(Once::service("pull", puller.run()));
    }
    server.run(RunArgs {
        shutdown_signal: Box::new(shutdown::Signals {
            gate,
            phases,
            held,
            grace: config.proxy.shutdown_grace,
        }),
    });
    telemetry.access_log().close(LAST_LINES);
    telemetry.tracer().close(TRACES_GRACE);
    match failure.get() {
        Some(why) => Err(TakeOverError::Withdrawn(why.clone()).into()),
        None => Ok(()),
    }
}

/// What is done with the connections of each socket.
fn listeners_of(config: &Config) -> impl Iterator<Item = Arc<Listener>> {
    config.proxy.listen.iter().cloned().map(Arc::new)
}

/// The sockets once more, for a process to come.
fn held(sockets: &mut Sockets, config: &Config) -> Held {
    let holdings = sockets.holdings(config).inspect_err(|error| {
        warn!("nobody can take over from this process: its sockets: {error}");
    });
    Held::new(holdings.ok(), std::mem::take(&mut sockets.plates))
}

/// How many files the process may have open, raised as far as the system allows.
fn open_files() -> u64 {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => {
            info!("up to {limit} open files");
            limit
        }
        Err(error) => {
            warn!("the limit of open files stays as it is: {error}");
            u64::MAX
        }
    }
}

/// The registries to sign in at instead of this one.
fn mirrored_from(config: &Config) -> Option<Arc<[Arc<str>]>> {
    let pull = config.registry.pull.as_ref()?;
    Some(
        pull.from
            .iter()
            .map(|origin| origin.as_str().into())
            .collect(),
    )
}

/// What a reload may change for requests.
fn request_settings(config: &Config) -> Settings {
    Settings {
        trusted_proxies: config.proxy.trusted_proxies.clone(),
        clients: config.proxy.clients.clone(),
        lean_path: config.proxy.lean_path,
    }
}

/// Pingora's own settings. Its grace period is slept in full, even with nothing in flight, so it is
/// 0: [`shutdown`] waits instead, and only as long as there is something to wait for.
fn server_conf(config: &Config) -> ServerConf {
    let threads = config.proxy.threads.unwrap_or_else(|| {
        std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
    });
    ServerConf {
        threads,
        upstream_keepalive_pool_size: UPSTREAM_POOL,
        max_retries: MAX_TRIES,
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(1),
        ..ServerConf::default()
    }
}
