//! How many registrations are acknowledged, which is when they are on the disk.

use std::time::Duration;

use crate::documented;
use crate::lanes::{Done, Lanes};
use crate::process::request;
use crate::spread::rounded;
use crate::summary::Row;
use crate::world::{BATCH, Scale, World, batch, registration};

/// How many clients many are.
const MANY: usize = 64;
/// How many of them send batches.
const MANY_BATCHES: usize = 8;

/// The first to be measured fill the registry that all else is measured in.
pub(crate) async fn measure(scale: &Scale, world: &World, port: u16) -> Vec<Row> {
    let each = scale.each;
    let batches = scale.instances / BATCH;
    let filling = (Duration::from_secs(600), batches);
    let batched = |prefix: &'static str| move |n| batch(n, prefix, each, port);
    let filled = run(world, 1, filling, 200, batched("s")).await;
    let crowded = run(
        world,
        MANY_BATCHES,
        (scale.span, batches),
        200,
        batched("m"),
    )
    .await;

    let one_by_one = |prefix: &'static str| {
        move |n: usize| {
            let path = format!("/api/v1/services/{prefix}{}/instances/{n}", n / each);
            request("PUT", &path, &registration(n, port, ""))
        }
    };
    let alone = (scale.span, usize::MAX);
    let single = run(world, 1, alone, 201, one_by_one("one")).await;
    let many = run(world, MANY, alone, 201, one_by_one("many")).await;

    let row = |what: String, done: &Done, size: usize| {
        let (rate, micros) = (done.rate() * size as f64, done.micros() / size as f64);
        let figure = format!("{}, {micros:.0} µs CPU each", rounded(rate));
        Row::new(what, figure, documented::REGISTRATIONS)
    };
    vec![
        row(
            "registrations a second, on the disk: one client".to_owned(),
            &single,
            1,
        ),
        row(format!("the same, {MANY} clients"), &many, 1),
        row(
            format!("the same, one client, batches of {BATCH}"),
            &filled,
            BATCH,
        ),
        row(
            format!("the same, {MANY_BATCHES} clients, batches of {BATCH}"),
            &crowded,
            BATCH,
        ),
    ]
}

async fn run(
    world: &World,
    clients: usize,
    bounds: (Duration, usize),
    status: u16,
    ask: impl Fn(usize) -> String + Send + Sync + 'static,
) -> Done {
    let callboard = world.callboard();
    let mut lanes = Lanes::open(callboard.registry, clients).await;
    lanes.load(callboard, bounds, status, ask).await
}
