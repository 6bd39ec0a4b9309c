//! What heartbeats cost.

use crate::documented;
use crate::lanes::Lanes;
use crate::process::request;
use crate::spread::rounded;
use crate::summary::Row;
use crate::world::{BATCH, Scale, World};

/// How many instances send theirs at a time.
const LANES: usize = 64;
/// How many send batches.
const BATCH_LANES: usize = 4;

/// Of all instances in turn.
pub(crate) async fn measure(scale: &Scale, world: &World) -> Vec<Row> {
    let (callboard, bounds) = (world.callboard(), (scale.span, usize::MAX));
    let (all, each) = (scale.instances, scale.each);
    let mut lanes = Lanes::open(callboard.registry, LANES).await;
    let single = lanes.load(callboard, bounds, 204, move |n| {
        // Neighbours are not in one service, as they would not be in a deployment.
        let n = n * 7_919 % all;
        let path = format!("/api/v1/services/s{}/instances/s-{n}/lease", n / each);
        request("PUT", &path, "")
    });
    let single = single.await;

    let calls: Vec<_> = (0..all / BATCH).map(|call| batch(call, each)).collect();
    let mut lanes = Lanes::open(callboard.registry, BATCH_LANES).await;
    let batched = lanes.load(callboard, bounds, 200, move |n| {
        calls[n % calls.len()].clone()
    });
    let batched = batched.await;

    let row = |what: String, micros: f64| {
        let figure = format!("{}, {micros:.1} µs CPU each", rounded(1e6 / micros));
        Row::new(what, figure, documented::HEARTBEATS)
    };
    vec![
        row(
            "heartbeats for a second of one processor".to_owned(),
            single.micros(),
        ),
        row(
            format!("the same, batches of {BATCH}"),
            batched.micros() / BATCH as f64,
        ),
    ]
}

fn batch(call: usize, each: usize) -> String {
    let leases = (call * BATCH..(call + 1) * BATCH)
        .map(|n| format!(r#"{{"service":"s{}","id":"s-{n}"}}"#, n / each));
    let body = format!(r#"{{"leases":[{}]}}"#, leases.collect::<Vec<_>>().join(","));
    request("POST", "/api/v1/leases:renew", &body)
}
