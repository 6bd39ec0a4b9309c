//! What instances take of memory.

use std::time::Duration;

use tokio::time::sleep;

use crate::documented;
use crate::process::Callboard;
use crate::spread::thousands;
use crate::summary::Row;
use crate::world::{BATCH, Scale, World, batch};

/// The resident size before and after, with a journal, and with each of them watched by a probe.
pub(crate) async fn measure(scale: &Scale, world: World, port: u16) -> Row {
    let mut control = world.control().await;
    // What is made with the first of everything is there by then.
    let first = batch(0, "first", BATCH, port);
    assert_eq!(control.exchange(&first).await, 200);
    let before = settled(world.callboard()).await;
    for n in 0..scale.instances / BATCH {
        let call = batch(n, "s", scale.each, port);
        assert_eq!(control.exchange(&call).await, 200);
    }
    let after = settled(world.callboard()).await;
    let grown = after.saturating_sub(before) as f64;
    Row::new(
        format!("memory of {} instances", thousands(scale.instances as f64)),
        format!(
            "{:.0} MiB, {:.1} KiB each",
            grown / 1_024.0,
            grown / scale.instances as f64
        ),
        documented::MEMORY,
    )
}

/// The memory in use once it changes no more, in KiB.
async fn settled(callboard: &Callboard) -> u64 {
    let mut last = callboard.resident();
    loop {
        sleep(Duration::from_secs(1)).await;
        let now = callboard.resident();
        if now.abs_diff(last) < 256 {
            return now;
        }
        last = now;
    }
}
