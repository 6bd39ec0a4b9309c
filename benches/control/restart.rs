//! How soon callboard serves again after it was killed.

use std::time::{Duration, Instant};

use crate::documented;
use crate::process::request;
use crate::spread::{shown, thousands};
use crate::summary::Row;
use crate::world::{Scale, World};

/// How long to wait before asking again.
const PAUSE: Duration = Duration::from_millis(1);

/// From the start of the process until an instance has answered a request.
pub(crate) async fn measure(scale: &Scale, world: &mut World) -> Row {
    let described = world
        .control()
        .await
        .ask(&request("GET", "/api/v1/services/new0", ""))
        .await;
    assert!(described.contains("\"ready\":1"), "{described}");
    let started = Instant::now();
    world.start_again();
    let mut proxy = world.proxy().await;
    let ask = request("GET", "/new0/", "");
    proxy.until_served(&ask, PAUSE).await;
    Row::new(
        format!(
            "`kill -9` with over {} instances → first request answered",
            thousands(scale.instances as f64)
        ),
        shown(started.elapsed()),
        documented::RESTART,
    )
}
