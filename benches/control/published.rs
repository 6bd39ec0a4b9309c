//! How soon requests are chosen for by what has changed in a large service.

use std::time::Instant;

use crate::documented;
use crate::process::request;
use crate::spread::{percentiles, thousands};
use crate::summary::Row;
use crate::world::{BATCH, Scale, World, batch};

/// From sending the change until it is acknowledged. callboard does that after the change is on the disk,
/// published, and what requests are chosen from, so no request after it sees anything older.
pub(crate) async fn measure(scale: &Scale, world: &World, port: u16) -> Row {
    let mut control = world.control().await;
    for n in 0..scale.members / BATCH {
        let call = batch(n, "large", scale.members, port);
        assert_eq!(control.exchange(&call).await, 200);
    }
    let path = format!(
        "/api/v1/services/large0/instances/large-{}",
        scale.members / 2
    );
    let cpu = world.callboard().cpu();
    let mut times = Vec::with_capacity(scale.samples);
    for n in 0..scale.samples {
        // Another weight is another chance of being chosen, which is prepared ahead.
        let weight = 2 - n % 2;
        let change = request("PATCH", &path, &format!(r#"{{"weight":{weight}}}"#));
        let started = Instant::now();
        assert_eq!(control.exchange(&change).await, 200);
        times.push(started.elapsed());
    }
    let cpu = (world.callboard().cpu() - cpu).as_secs_f64() * 1e6 / scale.samples as f64;
    Row::new(
        format!(
            "change in a service of {} → in force for requests",
            thousands(scale.members as f64)
        ),
        format!("{}, {cpu:.0} µs CPU", percentiles(&mut times)),
        documented::PUBLISHED,
    )
}
