//! One proxy's turn: from its start to its end.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use crate::certificate::Certificate;
use crate::load::changes::Changes;
use crate::load::{self, Clients, Tally, Target};
use crate::machine::Machine;
use crate::options::Options;
use crate::process::Tree;
use crate::proxies::Proxy;
use crate::results::{Latency, Sample};
use crate::site::{Site, endpoint};
use crate::workload::{Client, Workload};

/// How long a proxy has to forget connections that were closed.
const SETTLING: Duration = Duration::from_millis(200);
/// How long to wait before looking again.
const PAUSE: Duration = Duration::from_millis(20);
/// How long a proxy may take until it passes requests on.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many requests for each endpoint have most of them connected to, and how long that may take.
const CONNECTED: u64 = 3;
const CONNECTING: Duration = Duration::from_secs(15);

/// A proxy at work.
struct Running {
    tree: Tree,
    site: Site,
    target: Target,
}

/// What all turns have.
pub(crate) struct Bench<'a> {
    pub(crate) options: &'a Options,
    pub(crate) machine: &'a Machine,
    /// The endpoints'.
    pub(crate) port: u16,
    pub(crate) certificate: Certificate,
}

impl Bench<'_> {
    /// As much as a proxy can do.
    pub(crate) async fn saturated(
        &self,
        proxy: &dyn Proxy,
        workload: &Workload,
    ) -> Result<Sample, String> {
        let running = self.start(proxy, workload).await?;
        let mut sample = Sample::default();
        let held = self.idle(&running, workload, &mut sample).await?;
        let changes = proxy
            .is_changing()
            .then(|| Changes::start(running.site.control, endpoint(100, self.port)));
        self.saturate(&running, workload, changes.as_ref(), &mut sample)
            .await;
        sample.memory = running.tree.memory();
        drop(held);
        Ok(sample)
    }

    /// How long a proxy's requests take that come at a rate.
    pub(crate) async fn paced(
        &self,
        proxy: &dyn Proxy,
        workload: &Workload,
        rate: f64,
    ) -> Result<Option<Latency>, String> {
        let running = self.start(proxy, workload).await?;
        Ok(self.latency(&running.target, workload, rate).await)
    }

    /// The same without a proxy.
    pub(crate) async fn direct(&self, workload: &Workload, rate: f64) -> Option<Latency> {
        let target = self.target(endpoint(1, self.port), workload);
        self.latency(&target, workload, rate).await
    }

    /// The connections on which nobody is to say anything; gives what they are, and what they take.
    async fn idle(
        &self,
        running: &Running,
        workload: &Workload,
        sample: &mut Sample,
    ) -> Result<Vec<impl Sized + use<>>, String> {
        if workload.idle > 0 {
            // What is made once, for so many connections as work, is there by then.
            let clients = Clients::closed(&running.target, workload.lanes);
            sleep(self.options.spans(workload).0).await;
            drop(clients);
            sleep(SETTLING).await;
        }
        let empty = running.tree.memory();
        let held = load::idle(&running.target, workload.idle).await?;
        if workload.idle > 0 {
            let full = running.tree.memory();
            sample.idle = Some((full as f64 - empty as f64) / workload.idle as f64);
        }
        Ok(held)
    }

    async fn start(&self, proxy: &dyn Proxy, workload: &Workload) -> Result<Running, String> {
        let site = Site::new(workload, self.port, &self.certificate);
        let mut command = proxy.command(&site, self.machine);
        site.settle(&mut command);
        let child = command
            .spawn()
            .map_err(|error| format!("{command:?}: {error}"))?;
        let mut tree = Tree(child);
        let address = if workload.client.is_secure() {
            site.https
        } else {
            site.http
        };
        let target = self.target(address, workload);
        let started = Instant::now();
        let mut is_instructed = false;
        loop {
            if tree.has_ended() {
                return Err(format!("it ended instead of starting: {}", site.said()));
            }
            let settling = async {
                match is_instructed {
                    false => proxy.instruct(&site).await,
                    true => load::once(&target).await,
                }
            };
            let settled = timeout(PATIENCE, settling).await;
            let settled = settled.unwrap_or_else(|_| Err("not ready in time".to_owned()));
            match settled {
                Ok(()) if is_instructed => return Ok(Running { tree, site, target }),
                Ok(()) => is_instructed = true,
                Err(error) if started.elapsed() > PATIENCE => {
                    return Err(format!("{error}; it said: {}", site.said()));
                }
                Err(_) => sleep(PAUSE).await,
            }
        }
    }

    async fn saturate(
        &self,
        running: &Running,
        workload: &Workload,
        changes: Option<&Changes>,
        sample: &mut Sample,
    ) {
        let (before, measured) = self.options.spans(workload);
        let clients = Clients::closed(&running.target, workload.lanes);
        let started = Instant::now();
        sleep(before).await;
        let enough = CONNECTED * workload.endpoints as u64;
        while clients.tally.answered() < enough && started.elapsed() < CONNECTING {
            sleep(PAUSE).await;
        }
        let made = changes.map_or(0, Changes::made);
        let (asked, cpu, answered) = (Instant::now(), running.tree.cpu(), clients.tally.answered());
        sleep(measured).await;
        sample.took = asked.elapsed();
        sample.cpu = running.tree.cpu() - cpu;
        sample.requests = clients.tally.answered() - answered;
        sample.failed = failed(&clients.tally);
        let changed = changes.map(|changes| changes.made() - made);
        sample.changes = changed.map(|changed| changed as f64 / sample.took.as_secs_f64());
    }

    async fn latency(&self, target: &Target, workload: &Workload, rate: f64) -> Option<Latency> {
        let (before, measured) = self.options.spans(workload);
        let clients = Clients::open(target, workload.lanes, rate);
        sleep(before).await;
        clients.tally.latencies();
        sleep(measured).await;
        let latencies = clients.tally.latencies()?;
        let at = |quantile| latencies.value_at_quantile(quantile) as f64 / 1e3;
        // A failed request says nothing of how long others take.
        (failed(&clients.tally) == 0 && !latencies.is_empty()).then(|| Latency {
            p50: at(0.5),
            p99: at(0.99),
        })
    }

    fn target(&self, address: SocketAddr, workload: &Workload) -> Target {
        let protocol = match workload.client {
            Client::Http2 => "h2",
            _ => "http/1.1",
        };
        Target::new(address, workload, self.certificate.connector(protocol))
    }
}

/// How many requests failed; the first is told of.
fn failed(tally: &Tally) -> u64 {
    if let Some(failure) = tally.failure() {
        eprintln!("FAILED: {} requests, the first: {failure}", tally.failed());
    }
    tally.failed()
}
