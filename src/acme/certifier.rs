//! Keeps a certificate for each name that listeners ask for.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::pending;
use log::error;
use tokio::sync::{Notify, Semaphore};
use tokio::task::{AbortHandle, JoinSet};

use crate::tls;

use super::account::Accounts;
use super::folder::Folder;
use super::issue::Way;
use super::site::Site;
use super::{Challenges, Expiries, Settings};

/// How many names are worked on at a time.
const AT_ONCE: usize = 4;

/// Has the certificates that listeners ask for, and renews them.
pub struct Certifier {
    servers: Vec<Arc<tls::Server>>,
    /// Those that are not kept yet.
    sites: BTreeMap<String, Site>,
    shared: Arc<Shared>,
    reconsider: Arc<Notify>,
}

/// What all names have in common.
pub(super) struct Shared {
    pub(super) accounts: Accounts,
    pub(super) folder: Folder,
    pub(super) challenges: Challenges,
    pub(super) expiries: Expiries,
    /// How names can be proven, the better way first.
    pub(super) ways: Vec<Way>,
    pub(super) turns: Semaphore,
}

impl Certifier {
    /// Lets `servers` show the certificates that are kept already. `has_plain` is whether there is a
    /// listener that answers HTTP in clear text.
    pub fn new(settings: Settings, servers: Vec<Arc<tls::Server>>, has_plain: bool) -> Self {
        let folder = Folder::of(&settings.path, &settings.directory);
        let mut ways = vec![Way::TlsAlpn];
        if has_plain {
            ways.push(Way::Http);
        }
        let shared = Arc::new(Shared {
            accounts: Accounts::new(Arc::new(settings), folder.clone()),
            folder,
            challenges: Challenges::default(),
            expiries: Expiries::default(),
            ways,
            turns: Semaphore::new(AT_ONCE),
        });
        let sites = wanted(&servers)
            .into_iter()
            .map(|(name, servers)| (name.clone(), Site::open(name, servers, &shared)))
            .collect();
        Self {
            servers,
            sites,
            shared,
            reconsider: Arc::default(),
        }
    }

    /// What plain listeners answer.
    pub fn challenges(&self) -> Challenges {
        self.shared.challenges.clone()
    }

    /// When the certificates end.
    pub fn expiries(&self) -> Expiries {
        self.shared.expiries.clone()
    }

    /// To be notified when the servers have come to ask for other names.
    pub fn reconsider(&self) -> Arc<Notify> {
        Arc::clone(&self.reconsider)
    }

    /// Orders and renews for as long as it is polled. What is under way when it is dropped stops, and
    /// is begun anew by the next callboard.
    pub async fn run(mut self) {
        let mut tasks = JoinSet::new();
        let mut kept: BTreeMap<String, (Vec<Arc<tls::Server>>, AbortHandle)> = BTreeMap::new();
        loop {
            let wanted = wanted(&self.servers);
            kept.retain(|name, (servers, task)| {
                let same = (wanted.get(name)).is_some_and(|wanted| same(wanted, servers));
                if !same {
                    task.abort();
                }
                same
            });
            self.shared.expiries.keep(|name| wanted.contains_key(name));
            for (name, servers) in wanted {
                if kept.contains_key(&name) {
                    continue;
                }
                let site = (self.sites.remove(&name))
                    .filter(|site| same(&site.servers, &servers))
                    .unwrap_or_else(|| Site::open(name.clone(), servers.clone(), &self.shared));
                let task = tasks.spawn(site.keep(Arc::clone(&self.shared)));
                kept.insert(name, (servers, task));
            }
            self.sites.clear();
            tokio::select! {
                () = self.reconsider.notified() => {}
                () = ended(&mut tasks) => {}
            }
        }
    }
}

/// Waits until a task has ended; by itself none does.
async fn ended(tasks: &mut JoinSet<()>) {
    match tasks.join_next().await {
        Some(Err(fault)) if fault.is_panic() => {
            error!("a certificate is not renewed any more: {fault} (expected a restart)");
        }
        Some(_) => {}
        None => pending().await,
    }
}

/// The names that are asked for, and who asks.
fn wanted(servers: &[Arc<tls::Server>]) -> BTreeMap<String, Vec<Arc<tls::Server>>> {
    let mut wanted: BTreeMap<String, Vec<Arc<tls::Server>>> = BTreeMap::new();
    for server in servers {
        for name in &server.settings().acme {
            let asking = wanted.entry(name.clone()).or_default();
            if !asking.iter().any(|other| Arc::ptr_eq(other, server)) {
                asking.push(Arc::clone(server));
            }
        }
    }
    wanted
}

fn same(some: &[Arc<tls::Server>], others: &[Arc<tls::Server>]) -> bool {
    some.len() == others.len() && some.iter().zip(others).all(|(a, b)| Arc::ptr_eq(a, b))
}
