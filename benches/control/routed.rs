//! From sending a registration until the instance has answered a client's request.

use std::time::Instant;

use crate::documented;
use crate::process::request;
use crate::spread::percentiles;
use crate::summary::Row;
use crate::world::{Scale, World};

/// Each sample is a service nobody has heard of, with an instance that is probed before it gets traffic, as
/// is the default. A client asks for it all the while.
pub(crate) async fn measure(scale: &Scale, world: &World, port: u16) -> Row {
    let (mut control, mut proxy) = (world.control().await, world.proxy().await);
    let mut times = Vec::with_capacity(scale.samples);
    for n in 0..scale.samples {
        let body = format!(
            r#"{{"address":"127.0.0.1","port":{port},"lease":{{"ttl":"1h"}},"check":{{"tcp":{{}}}}}}"#
        );
        let path = format!("/api/v1/services/new{n}/instances/1");
        let (register, ask) = (
            request("PUT", &path, &body),
            request("GET", &format!("/new{n}/"), ""),
        );
        let started = Instant::now();
        let registered = async { assert_eq!(control.exchange(&register).await, 201) };
        let answered = async {
            while proxy.exchange_anew(&ask).await != Some(200) {}
            started.elapsed()
        };
        let ((), took) = tokio::join!(registered, answered);
        times.push(took);
    }
    Row::new(
        "registration sent → first request answered by the instance",
        percentiles(&mut times),
        documented::ROUTED,
    )
}
