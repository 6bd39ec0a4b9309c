//! What the registry's tests register, and as whom.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::instance::check::CheckOverride;
use crate::instance::{Instance, Scheme};

use super::event::Event;
use super::limits::Limits;
use super::rules::Rules;
use super::store::{Recovered, Remembered};

pub(super) const TTL: Duration = Duration::from_secs(10);

/// Leases of 10 ms to 1 h, for everybody.
pub(super) fn rules() -> Rules {
    Rules {
        ttl: TTL,
        min_ttl: Duration::from_millis(10),
        max_ttl: Duration::from_secs(3_600),
        allow: vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()],
        allow_paths: Vec::new(),
        own: Vec::new(),
        own_paths: Vec::new(),
        limits: Limits::default(),
    }
}

/// An instance with a lease of [`TTL`].
pub(super) fn instance(service: &str, id: &str) -> Instance {
    Instance {
        service: service.parse().unwrap(),
        id: id.parse().unwrap(),
        address: SocketAddr::from(([10, 0, 0, 1], 8080)).into(),
        scheme: Scheme::Http,
        weight: 1,
        zone: None,
        tags: ["v1".to_owned()].into(),
        metadata: [("build".to_owned(), "7".to_owned())].into(),
        ttl: Some(TTL),
        check: CheckOverride::default(),
        generation: None,
    }
}

/// What a store that was given these events brings back.
pub(super) fn recovered(events: &[Event]) -> Recovered {
    let mut members = BTreeMap::new();
    for event in events {
        let instance = &event.member.instance;
        let key = (instance.service.clone(), instance.id.clone());
        if event.change.is_leaving() {
            members.remove(&key);
        } else {
            members.insert(key, Remembered::from(&*event.member));
        }
    }
    Recovered {
        members: members.into_values().collect(),
        last: events
            .last()
            .map(|event| event.revision)
            .unwrap_or_default(),
    }
}
