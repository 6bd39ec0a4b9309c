//! Certificates that change while callboard runs. Their files are read again every few seconds, rather
//! than watched: a name may lead to another file through any of its folders, as Kubernetes and certbot
//! have it, and a poll sees that too.

use std::time::{Duration, SystemTime};

use log::{info, warn};
use tokio::time::{MissedTickBehavior, interval};

use crate::cluster::clusters::Clusters;
use crate::config::Config;
use crate::tls::Wrong;

/// How often the files are read.
const INTERVAL: Duration = Duration::from_secs(2);

/// What is made of some files.
pub(super) struct Watched {
    /// The setting that names them; empty if what is wrong with them says so itself.
    name: String,
    /// Reads them again; says whether they had changed, and what is wrong with them.
    refresh: Box<dyn Fn() -> (bool, Vec<Wrong>) + Send>,
    /// What clients will not accept at this time.
    unfit: Box<dyn Fn(SystemTime) -> Vec<Wrong> + Send>,
    state: State,
}

/// What was found out about the files, and what was said of it.
#[derive(Default)]
struct State {
    failing: Vec<Wrong>,
    told: Vec<Wrong>,
    unfit: Vec<Wrong>,
}

impl State {
    /// What to say of failures: once, and only of what is there to stay. Of two files that belong
    /// together, one may not be written yet.
    fn fails(&mut self, wrong: Vec<Wrong>) -> Vec<Wrong> {
        let stays = |one: &&Wrong| self.failing.contains(one);
        let staying: Vec<_> = wrong.iter().filter(stays).cloned().collect();
        self.failing = wrong;
        let before = std::mem::replace(&mut self.told, staying.clone());
        let is_new = |one: &Wrong| !before.contains(one);
        staying.into_iter().filter(is_new).collect()
    }

    /// Those that clients have not been refused before.
    fn newly_unfit(&mut self, unfit: Vec<Wrong>) -> Vec<Wrong> {
        let before = std::mem::replace(&mut self.unfit, unfit);
        let now = self.unfit.iter();
        now.filter(|wrong| !before.contains(wrong))
            .cloned()
            .collect()
    }
}

/// What `config` names for listeners, and what the policies of `clusters` name for instances.
pub(super) fn watched(config: &Config, clusters: &Clusters) -> Vec<Watched> {
    let clusters = clusters.clone();
    let instances = Watched {
        name: String::new(),
        state: State::default(),
        refresh: Box::new(move || clusters.policies().refresh_tls()),
        unfit: Box::new(|_| Vec::new()),
    };
    let listeners = config.proxy.listen.iter().enumerate();
    let listeners =
        listeners.map(|(at, listener)| (format!("proxy.listen[{at}].tls"), &listener.tls));
    listeners
        .chain([("registry.tls".to_owned(), &config.registry.tls)])
        .filter_map(|(setting, tls)| {
            let name = format!("{setting}.");
            let (refreshed, asked) = (tls.clone()?, tls.clone()?);
            Some(Watched {
                name,
                state: State {
                    // The configuration has told of these.
                    unfit: asked.unfit(SystemTime::now()),
                    ..State::default()
                },
                refresh: Box::new(move || match refreshed.refresh() {
                    Ok(changed) => (changed, Vec::new()),
                    Err(wrong) => (false, vec![wrong]),
                }),
                unfit: Box::new(move |now| asked.unfit(now)),
            })
        })
        .chain([instances])
        .collect()
}

/// Keeps what is made of the files up to date, for as long as the process lives.
pub(super) async fn keep(mut watched: Vec<Watched>) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = SystemTime::now();
        for watched in &mut watched {
            watched.look(now);
        }
    }
}

impl Watched {
    fn look(&mut self, now: SystemTime) {
        let name = &self.name;
        let (changed, wrong) = (self.refresh)();
        if changed {
            let whose = name.strip_suffix('.').unwrap_or("TLS to instances");
            info!("{whose}: the files changed; new connections go by them");
        }
        for wrong in self.state.fails(wrong) {
            warn!("{name}{wrong}; what was read before stays in force");
        }
        for wrong in self.state.newly_unfit((self.unfit)(now)) {
            warn!("{name}{wrong}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(problem: &str) -> Wrong {
        Wrong {
            field: "key".to_owned(),
            certificate: None,
            problem: problem.to_owned(),
        }
    }

    #[test]
    fn a_failure_that_stays_is_told_once() {
        let [a, b] = ["a", "b"].map(wrong);
        let both = || vec![a.clone(), b.clone()];
        let mut state = State::default();
        assert!(state.fails(vec![a.clone()]).is_empty());
        assert_eq!(state.fails(both()), std::slice::from_ref(&a));
        assert_eq!(state.fails(both()), std::slice::from_ref(&b));
        assert!(state.fails(both()).is_empty());
        assert!(state.fails(vec![b.clone()]).is_empty());
        assert!(state.fails(both()).is_empty());
        assert_eq!(state.fails(both()), std::slice::from_ref(&a));
        assert!(state.fails(Vec::new()).is_empty());
        assert!(state.fails(vec![b.clone()]).is_empty());
        assert_eq!(state.fails(vec![b.clone()]), [b]);
    }

    #[test]
    fn what_expires_is_told_when_it_does() {
        let mut state = State::default();
        assert_eq!(state.newly_unfit(vec![wrong("a")]), [wrong("a")]);
        assert_eq!(
            state.newly_unfit(vec![wrong("a"), wrong("b")]),
            [wrong("b")]
        );
        assert!(state.newly_unfit(vec![wrong("b")]).is_empty());
    }
}
