//! One entry of the journal as JSON.

use std::net::IpAddr;

use serde::Serialize;
use utoipa::ToSchema;

use crate::api::native::described::Described;
use crate::api::native::wire::IpAddress;
use crate::names::{InstanceId, ServiceName};
use crate::registry::event::{Actor, Event};
use crate::registry::snapshot::Revision;
use crate::units::moment::format_moment;

/// One change.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = JournalEntry)]
pub(in crate::api::native) struct Entry<'a> {
    index: Revision,
    /// RFC 3339.
    #[schema(format = DateTime)]
    at: String,
    /// `registered`, `patched`, `drained`, `undrained`, `deregistered` or `expired`.
    change: &'static str,
    service: &'a ServiceName,
    id: &'a InstanceId,
    by: By<'a>,
    /// The reason, for people.
    #[schema(required)]
    why: Option<&'a str>,
    /// As the change left it; as it last was if the change was that it left.
    instance: Described<'a>,
}

/// Who made it. The fields are the same for everybody, so that a program can ask for `by.peer`
/// without asking who it was first.
#[derive(Debug, Serialize, ToSchema)]
struct By<'a> {
    /// `client`, the `registry` that is mirrored, or `callboard` itself.
    actor: &'static str,
    /// Where the client called from.
    #[schema(value_type = Option<IpAddress>, required)]
    peer: Option<IpAddr>,
    /// The name of the token it showed.
    #[schema(required)]
    token: Option<&'a str>,
    /// Where the registry is that is mirrored.
    #[schema(required)]
    registry: Option<&'a str>,
}

impl<'a> Entry<'a> {
    /// `event` for all to see.
    pub(super) fn of(event: &'a Event) -> Self {
        let instance = &event.member.instance;
        Self {
            index: event.revision,
            at: format_moment(event.at),
            change: event.change.as_str(),
            service: &instance.service,
            id: &instance.id,
            by: By::of(&event.actor),
            why: event.why.as_deref(),
            instance: (&*event.member).into(),
        }
    }
}

impl<'a> By<'a> {
    fn of(actor: &'a Actor) -> Self {
        match actor {
            Actor::Peer { address, token, .. } => Self {
                actor: "client",
                peer: Some(*address),
                token: token.as_deref(),
                registry: None,
            },
            Actor::Registry { url, .. } => Self {
                actor: "registry",
                peer: None,
                token: None,
                registry: Some(url),
            },
            Actor::Callboard => Self {
                actor: "callboard",
                peer: None,
                token: None,
                registry: None,
            },
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::{Duration, SystemTime};

    use serde_json::json;

    use crate::api::native::view::tests::member;
    use crate::registry::event::Change;

    use super::*;

    /// That web-1 of web drained at `revision`.
    pub(in crate::api::native::journal) fn event(revision: u64) -> Event {
        Event {
            revision: Revision(revision),
            at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_500),
            actor: Actor::Callboard,
            change: Change::Drained,
            why: None,
            member: member("web", "web-1", revision),
        }
    }

    #[test]
    fn an_entry_says_what_when_who_and_why() {
        let mut event = event(7);
        event.actor = Actor::Peer {
            address: "10.0.0.9".parse().unwrap(),
            token: Some("deploy".into()),
            admin: true,
        };
        event.why = Some("because".to_owned());
        let expected = json!({
            "index": 7,
            "at": "1970-01-01T00:00:01.500Z",
            "change": "drained",
            "service": "web",
            "id": "web-1",
            "by": {"actor": "client", "peer": "10.0.0.9", "token": "deploy", "registry": null},
            "why": "because",
            "instance": {
                "address": "10.0.0.5", "port": 8080, "scheme": "http", "weight": 1, "zone": null,
                "tags": [], "metadata": {}, "generation": null, "draining": false,
                "registered_at": "1970-01-01T00:00:00.000Z", "owner": null, "index": 7,
                "lease": null,
            },
        });
        assert_eq!(serde_json::to_value(Entry::of(&event)).unwrap(), expected);
    }

    #[test]
    fn callboard_itself_has_neither_address_nor_token() {
        let by = serde_json::to_value(Entry::of(&event(7))).unwrap()["by"].take();
        let expected = json!({"actor": "callboard", "peer": null, "token": null, "registry": null});
        assert_eq!(by, expected);
    }
}
