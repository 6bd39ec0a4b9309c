//! The JSON of a registration, and the [`Instance`] it describes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::address;
use crate::api::body;
use crate::api::caller::InstancePath;
use crate::api::problem::{Faults, Problem};
use crate::instance::{Instance, MAX_WEIGHT, Scheme};
use crate::names::{InstanceId, ServiceName};
use crate::units::DurationText;

use super::wire::{Address, Generation, Integer, Object, nullable};
use super::wire_check::CheckJson;

/// What registers and how it wants to be treated.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Registration {
    /// Names the service in a batch; elsewhere the path does, and this must agree.
    service: Option<ServiceName>,
    /// Names the instance in a batch; elsewhere the path does, and this must agree.
    id: Option<InstanceId>,
    /// Where it listens; where the call comes from unless given. A Unix socket may be registered by
    /// callers on the same machine, where the configuration allows it.
    #[schema(inline)]
    address: Option<Address>,
    /// The port it listens on; none beside a Unix socket, and needed otherwise.
    #[schema(value_type = Option<u16>, minimum = 1, maximum = 65_535)]
    port: Option<Integer<1, 65_535>>,
    scheme: Option<Scheme>,
    /// Its share of the traffic relative to the other instances, 1 unless given; 0 takes none.
    #[schema(value_type = Option<u32>, maximum = 65_535)]
    weight: Option<Integer<0, { MAX_WEIGHT as u64 }>>,
    /// The failure domain it runs in, in at most 512 bytes.
    #[schema(max_length = 512)]
    zone: Option<String>,
    /// At most 64 labels to filter by, each of at most 512 bytes.
    #[schema(value_type = Option<Vec<String>>)]
    tags: Option<BTreeSet<String>>,
    /// At most 64 facts about it, each of at most 512 bytes.
    metadata: Option<BTreeMap<String, String>>,
    /// `null` registers a static member, which needs no heartbeats.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<LeaseFields>)]
    lease: Option<Option<Object<LeaseFields>>>,
    /// How to probe it; as the service's policy says unless given.
    check: Option<CheckJson>,
    /// Which life of the instance this is, for example its start time in milliseconds. Calls of an
    /// earlier one get 409.
    #[schema(inline)]
    generation: Option<Generation>,
}

/// For how long it stays without a heartbeat.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = LeaseRequest)]
pub(super) struct LeaseFields {
    /// From 1s to 1h unless the configuration says otherwise.
    ttl: Option<DurationText>,
}

/// What a registration that leaves things out gets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Defaults {
    /// The caller's address.
    pub(super) address: IpAddr,
    /// The length of a lease.
    pub(super) ttl: Duration,
}

/// Reads the registration of the instance at `path`; a body that names itself must agree.
///
/// # Errors
/// A problem that names every field that is wrong.
pub(super) fn read_at(
    path: &InstancePath,
    value: Value,
    defaults: Defaults,
) -> Result<Instance, Problem> {
    let mut faults = Faults::default();
    let fields: Registration = body::fields(value, &mut faults);
    if fields.service.as_ref().is_some_and(|s| *s != path.service) {
        let detail = format!("is not the path's (expected {:?}, or none)", path.service);
        faults.add("service", detail);
    }
    if fields.id.as_ref().is_some_and(|id| *id != path.id) {
        let detail = format!("is not the path's (expected {:?}, or none)", path.id);
        faults.add("id", detail);
    }
    let instance = fields.instance(path.clone(), defaults, &mut faults);
    finish(instance, faults)
}

/// Reads a registration that names its own service and id.
///
/// # Errors
/// As [`read_at`]; the names come along if they are right.
pub(super) fn read_named(
    value: Value,
    defaults: Defaults,
) -> Result<Instance, (Problem, Option<InstancePath>)> {
    let mut faults = Faults::default();
    let mut fields: Registration = body::fields(value, &mut faults);
    let names = (fields.service.take(), fields.id.take());
    for (field, missing) in [("service", names.0.is_none()), ("id", names.1.is_none())] {
        if missing && !faults.cover(field) {
            faults.add(field, "is missing (expected a name)");
        }
    }
    let (Some(service), Some(id)) = names else {
        return Err((faults.into(), None));
    };
    let path = InstancePath { service, id };
    let instance = fields.instance(path.clone(), defaults, &mut faults);
    finish(instance, faults).map_err(|problem| (problem, Some(path)))
}

fn finish(instance: Option<Instance>, faults: Faults) -> Result<Instance, Problem> {
    match instance {
        Some(instance) => faults.none_or(instance),
        None => Err(faults.into()),
    }
}

impl Registration {
    /// The instance described; `None` if it is not told where it is, which is then among `faults`.
    fn instance(
        self,
        path: InstancePath,
        defaults: Defaults,
        faults: &mut Faults,
    ) -> Option<Instance> {
        let address = place(self.address, self.port, defaults.address, faults);
        let ttl = match self.lease {
            None => Some(defaults.ttl),
            Some(None) => None,
            Some(Some(Object(lease))) => Some(lease.ttl.map_or(defaults.ttl, |ttl| ttl.0)),
        };
        let check = self.check.map(|check| check.read(faults));
        Some(Instance {
            service: path.service,
            id: path.id,
            address: address?,
            scheme: self.scheme.unwrap_or_default(),
            weight: self
                .weight
                .map_or(1, |weight| u32::try_from(weight.0).unwrap_or(MAX_WEIGHT)),
            zone: self.zone,
            tags: self.tags.unwrap_or_default(),
            metadata: self.metadata.unwrap_or_default(),
            ttl,
            check: check.unwrap_or_default(),
            generation: self.generation.map(|generation| generation.0),
        })
    }
}

/// Where the instance is; `None` when that is among `faults`.
fn place(
    address: Option<Address>,
    port: Option<Integer<1, 65_535>>,
    default: IpAddr,
    faults: &mut Faults,
) -> Option<address::Address> {
    let port = port.and_then(|port| u16::try_from(port.0).ok());
    let ip = match (address, port) {
        (Some(Address::Unix(_)), Some(_)) => {
            faults.add(
                "port",
                "goes with an IP address (expected none beside a Unix socket)",
            );
            return None;
        }
        (Some(Address::Unix(socket)), None) => return Some(socket),
        (Some(Address::Ip(ip)), _) => ip,
        (None, _) => default,
    };
    if port.is_none() && !faults.cover("port") {
        faults.add(
            "port",
            "is missing (expected a whole number from 1 to 65535)",
        );
    }
    Some(SocketAddr::new(ip, port?).into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::instance::check::CheckOverride;

    use super::*;

    fn path() -> InstancePath {
        InstancePath {
            service: "web".parse().unwrap(),
            id: "web-1".parse().unwrap(),
        }
    }

    fn defaults() -> Defaults {
        Defaults {
            address: "10.0.0.9".parse().unwrap(),
            ttl: Duration::from_secs(15),
        }
    }

    #[test]
    fn a_port_is_all_it_takes() {
        let instance = read_at(&path(), json!({"port": 8080}), defaults()).unwrap();
        assert_eq!(instance.address.to_string(), "10.0.0.9:8080");
        assert_eq!(instance.weight, 1);
        assert_eq!(instance.ttl, Some(Duration::from_secs(15)));
        assert_eq!(instance.check, CheckOverride::default());
        assert_eq!(instance.scheme, Scheme::Http);
    }

    #[test]
    fn so_is_the_path_of_a_socket() {
        for body in [
            json!({"address": "unix:/run/app.sock"}),
            json!({"address": "unix:/run/app.sock", "port": null}),
        ] {
            let instance = read_at(&path(), body, defaults()).unwrap();
            assert_eq!(instance.address.to_string(), "unix:/run/app.sock");
        }
    }

    #[test]
    fn everything_can_be_said() {
        let body = json!({
            "service": "WEB", "id": "web-1", "address": "10.0.0.5", "port": 8080, "scheme": "http",
            "weight": 0, "zone": "a", "tags": ["v2", "v2"], "metadata": {"build": "7"},
            "lease": {"ttl": "30s"}, "check": "off", "generation": u64::MAX,
        });
        let instance = read_at(&path(), body, defaults()).unwrap();
        assert_eq!(instance.weight, 0);
        assert_eq!(instance.ttl, Some(Duration::from_secs(30)));
        assert_eq!(instance.check, CheckOverride::off());
        assert_eq!(instance.generation, Some(u64::MAX));
        assert_eq!(instance.tags.len(), 1);
    }

    #[test]
    fn a_null_lease_is_none_and_other_nulls_are_absent() {
        let body = json!({"port": 1, "lease": null, "zone": null, "check": null, "weight": null});
        let instance = read_at(&path(), body, defaults()).unwrap();
        assert_eq!(instance.ttl, None);
        assert_eq!(instance.weight, 1);
        let body = json!({"port": 1, "lease": {}});
        let instance = read_at(&path(), body, defaults()).unwrap();
        assert_eq!(instance.ttl, Some(Duration::from_secs(15)));
    }

    #[test]
    fn each_bad_field_is_named() {
        let cases = [
            (json!({}), "port"),
            (json!({"port": 0}), "port"),
            (json!({"port": 65_536}), "port"),
            (json!({"port": "8080"}), "port"),
            (json!({"port": 80.5}), "port"),
            (json!({"port": null}), "port"),
            (json!({"port": 1, "address": "db.internal"}), "address"),
            (json!({"port": 1, "address": "10.0.0.5:80"}), "address"),
            (json!({"port": 1, "address": "unix:/a"}), "port"),
            (json!({"address": "unix:a"}), "address"),
            (json!({"address": "unix:"}), "address"),
            (json!({"address": "unix:/a\u{0}"}), "address"),
            (json!({"address": "unix:/a\n"}), "address"),
            (
                json!({"address": format!("unix:/{}", "a".repeat(107))}),
                "address",
            ),
            (json!({"port": 1, "weight": -1}), "weight"),
            (json!({"port": 1, "weight": 65_536}), "weight"),
            (json!({"port": 1, "weight": 1.5}), "weight"),
            (json!({"port": 1, "scheme": "gopher"}), "scheme"),
            (json!({"port": 1, "zone": 7}), "zone"),
            (json!({"port": 1, "tags": "v2"}), "tags"),
            (json!({"port": 1, "tags": ["a", 1]}), "tags[1]"),
            (json!({"port": 1, "metadata": []}), "metadata"),
            (
                json!({"port": 1, "metadata": {"build": 7}}),
                "metadata.build",
            ),
            (json!({"port": 1, "lease": "15s"}), "lease"),
            (json!({"port": 1, "lease": ["15s"]}), "lease"),
            (json!({"port": 1, "lease": {"ttl": "soon"}}), "lease.ttl"),
            (json!({"port": 1, "lease": {"ttl": 15}}), "lease.ttl"),
            (json!({"port": 1, "lease": {"tll": "15s"}}), "lease.tll"),
            (json!({"port": 1, "check": "on"}), "check"),
            (json!({"port": 1, "check": true}), "check"),
            (
                json!({"port": 1, "check": {"tcp": {}, "http": {}}}),
                "check",
            ),
            (json!({"port": 1, "check": {"tcp": []}}), "check.tcp"),
            (json!({"port": 1, "check": {"http": ["/up"]}}), "check.http"),
            (json!({"port": 1, "check": {"udp": {}}}), "check.udp"),
            (
                json!({"port": 1, "check": {"tcp": {"port": 1}}}),
                "check.tcp.port",
            ),
            (
                json!({"port": 1, "check": {"http": {"path": "up"}}}),
                "check.http.path",
            ),
            (
                json!({"port": 1, "check": {"http": {"path": "/ HTTP/1.1\r\n"}}}),
                "check.http.path",
            ),
            (
                json!({"port": 1, "check": {"http": {"expect": []}}}),
                "check.http.expect",
            ),
            (
                json!({"port": 1, "check": {"http": {"expect": [99]}}}),
                "check.http.expect[0]",
            ),
            (
                json!({"port": 1, "check": {"http": {"expect": ["3-2"]}}}),
                "check.http.expect[0]",
            ),
            (
                json!({"port": 1, "check": {"interval": "1ms"}}),
                "check.interval",
            ),
            (
                json!({"port": 1, "check": {"timeout": "2h"}}),
                "check.timeout",
            ),
            (json!({"port": 1, "check": {"fall": 0}}), "check.fall"),
            (json!({"port": 1, "check": {"rise": 101}}), "check.rise"),
            (json!({"port": 1, "generation": -1}), "generation"),
            (json!({"port": 1, "generation": "1"}), "generation"),
            (json!({"port": 1, "service": "other"}), "service"),
            (json!({"port": 1, "service": "a b"}), "service"),
            (json!({"port": 1, "id": "web-2"}), "id"),
            (json!({"port": 1, "wieght": 2}), "wieght"),
            (json!([]), ""),
            (json!("hello"), ""),
        ];
        for (body, field) in cases {
            let problem = read_at(&path(), body.clone(), defaults()).unwrap_err();
            assert_eq!(problem.status(), 422, "{body}");
            assert_eq!(problem.errors()[0].field, field, "{body}: {problem:?}");
        }
    }

    #[test]
    fn all_bad_fields_are_named_at_once() {
        let body = json!({"port": "x", "weight": -1, "colour": "red", "id": "other",
            "check": {"interval": "1ms", "rise": 0}});
        let problem = read_at(&path(), body, defaults()).unwrap_err();
        let mut fields: Vec<_> = problem.errors().iter().map(|e| e.field.as_str()).collect();
        fields.sort_unstable();
        let expected = [
            "check.interval",
            "check.rise",
            "colour",
            "id",
            "port",
            "weight",
        ];
        assert_eq!(fields, expected);
    }

    #[test]
    fn a_registration_that_must_name_itself_does() {
        let (problem, named) = read_named(json!({"port": 1}), defaults()).unwrap_err();
        assert_eq!(named, None);
        let fields: Vec<_> = problem.errors().iter().map(|e| e.field.as_str()).collect();
        assert_eq!(fields, ["service", "id"]);
        let body = json!({"service": "web", "id": "web-1"});
        assert_eq!(read_named(body, defaults()).unwrap_err().1, Some(path()));
        let body = json!({"service": "web", "id": "web-1", "port": 1});
        assert_eq!(read_named(body, defaults()).unwrap().id, path().id);
    }
}
