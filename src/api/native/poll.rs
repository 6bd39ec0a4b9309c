//! Long polls: `?index=N&wait=30s`.
//!
//! The caller says up to which index it knows everything. If something has changed since, it is
//! answered at once, else when it does, or with what there is at the end of the wait, which is
//! 5 minutes unless given and never more than 10 (Consul's figures). An index from the future is one
//! of another process's life: it is answered at once too, with an index of this one.
//!
//! A long wait in vain ends up to a sixteenth early, so that callers who began together do not come
//! back together ever after. (Consul adds as much; but a caller whose own patience is hardly longer
//! than the wait it asks for should not be kept beyond it.)

use std::time::Duration;

use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::{IntoParams, PartialSchema};

use crate::api::Api;
use crate::api::openapi::params;
use crate::api::query::Query;
use crate::names::ServiceName;
use crate::registry::snapshot::Revision;
use crate::units::DurationText;

const DEFAULT_WAIT: Duration = Duration::from_secs(5 * 60);
const MAX_WAIT: Duration = Duration::from_secs(10 * 60);

/// Shorter waits end when they should.
const LONG_WAIT: Duration = Duration::from_secs(10);

/// What a caller wants to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Poll {
    index: Option<Revision>,
    wait: Duration,
}

impl Poll {
    /// Takes `index` and `wait` out of a query. A `wait` without an `index` waits for nothing.
    pub(super) fn take(query: &mut Query) -> Self {
        Self {
            index: query.number("index").map(Revision),
            wait: query
                .duration("wait")
                .map_or(DEFAULT_WAIT, |wait| wait.min(MAX_WAIT)),
        }
    }

    /// Waits until there is something to answer with; says whether that came while it waited.
    pub(super) async fn wait(self, api: &Api, service: Option<&ServiceName>) -> bool {
        let Some(index) = self.index else {
            return false;
        };
        let snapshot = api.registry.snapshot();
        if index > snapshot.revision || snapshot.revision_followed(service) > index {
            return false;
        }
        drop(snapshot);
        let mut follower = api.registry.follow(service);
        tokio::select! {
            _ = follower.passed(index) => true,
            () = tokio::time::sleep(shortened(self.wait, fastrand::f64())) => false,
            () = api.closed() => false,
        }
    }
}

/// A wait that ends early, if it is long. `draw` is uniform in 0..1.
fn shortened(wait: Duration, draw: f64) -> Duration {
    if wait < LONG_WAIT {
        return wait;
    }
    wait - wait.mul_f64(draw / 16.0)
}

impl IntoParams for Poll {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![
            params::query(
                "index",
                Revision::schema(),
                "Wait until something has changed after this index.",
            ),
            params::query(
                "wait",
                DurationText::schema(),
                "How long to wait for a change: 5m unless given, at most 10m. Without `index` \
                 nothing is waited for.",
            ),
        ]
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use futures_util::FutureExt;
    use tokio::sync::watch;

    use crate::api::live::Live;
    use crate::api::query::tests::query;
    use crate::cluster::clusters::Clusters;
    use crate::cluster::policy::Policies;
    use crate::health::probe::Prober;
    use crate::registry::store::memory::MemoryStore;
    use crate::registry::{Limits, Registry, Rules};
    use crate::route::Routing;
    use crate::route::splits::Splits;
    use crate::telemetry::{self, Telemetry};

    use super::*;

    /// An API with nobody in it.
    pub(in crate::api) fn api(closing: watch::Receiver<bool>) -> Api {
        let (prober, _probes) = Prober::new(1);
        let clusters = Clusters::new(Policies::default(), prober, ());
        let rules = Rules {
            ttl: Duration::from_secs(15),
            min_ttl: Duration::from_secs(1),
            max_ttl: Duration::from_secs(60),
            allow: vec!["10.0.0.0/8".parse().unwrap()],
            allow_paths: Vec::new(),
            own: Vec::new(),
            own_paths: Vec::new(),
            limits: Limits::default(),
        };
        let observer = Arc::new(clusters.clone());
        let registry = Registry::start(Box::new(MemoryStore::default()), rules, observer).unwrap();
        Api {
            live: Live::new(clusters.clone(), registry.clone(), || 0),
            telemetry: Arc::new(Telemetry::new(telemetry::Settings::default()).unwrap()),
            mirrored_from: None,
            splits: Arc::new(Splits::new(Routing::default())),
            registry,
            clusters,
            closing,
        }
    }

    #[tokio::test]
    async fn a_poll_ends_when_the_process_leaves() {
        let (leave, closing) = watch::channel(false);
        let api = api(closing);
        let poll = Poll {
            index: Some(api.registry.snapshot().revision),
            wait: MAX_WAIT,
        };
        let mut waiting = Box::pin(poll.wait(&api, None));
        assert!((&mut waiting).now_or_never().is_none());
        leave.send_replace(true);
        waiting.await;
    }

    #[tokio::test]
    async fn nothing_to_wait_for_is_not_waited_for() {
        let (_leave, closing) = watch::channel(false);
        let api = api(closing);
        for index in [None, Some(Revision(u64::MAX))] {
            let poll = Poll {
                index,
                wait: MAX_WAIT,
            };
            let waited = poll.wait(&api, None).now_or_never();
            assert_eq!(waited, Some(false), "{index:?}");
        }
    }

    #[test]
    fn a_long_wait_ends_up_to_a_sixteenth_early() {
        let short = Duration::from_secs(9);
        assert_eq!(shortened(short, 0.999), short);
        let wait = Duration::from_secs(160);
        assert_eq!(shortened(wait, 0.0), wait);
        assert_eq!(shortened(wait, 0.5), Duration::from_secs(155));
    }

    #[tokio::test]
    async fn a_wait_has_a_default_and_a_cap() {
        let cases = [
            ("", None, 300),
            ("index=7", Some(7), 300),
            ("index=7&wait=30s", Some(7), 30),
            ("index=0&wait=1h", Some(0), 600),
        ];
        for (text, index, seconds) in cases {
            let mut query = query(text).await;
            let expected = Poll {
                index: index.map(Revision),
                wait: Duration::from_secs(seconds),
            };
            assert_eq!(Poll::take(&mut query), expected, "{text}");
            assert!(query.finish().is_ok());
        }
    }
}
