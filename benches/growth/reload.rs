//! Reading the configuration again.

use std::time::Duration;

use tokio::time::sleep;

use crate::common::process::Connection;
use crate::machine::Machine;
use crate::series::{Scale, Series};
use crate::site::{Axis, Site};

/// How long to wait before asking again. Whoever asks costs callboard something, so not often.
const PAUSE: Duration = Duration::from_millis(4);
/// What a reload leaves to be done is done by then.
const AFTERWARDS: Duration = Duration::from_millis(20);
/// Reloads take longer than requests, so there are fewer turns.
const TURNS: usize = 5;

/// The processor time of a reload that adds a route, and takes another away.
pub(crate) async fn measure(axis: Axis, scale: &Scale, machine: &Machine, port: u16) -> Series {
    let mut sites = Vec::new();
    for size in &scale.sizes {
        let site = Site::start(axis, *size, machine, port).await;
        let mut proxy = Connection::open(site.proxy()).await;
        assert_eq!(proxy.exchange(&to("first")).await, 200);
        sites.push((site, proxy, Vec::new()));
    }
    for turn in 0..TURNS.min(scale.turns) {
        for (site, proxy, turns) in &mut sites {
            let host = format!("turn-{turn}");
            site.rewrite(&host);
            let before = site.callboard.cpu();
            site.callboard.hang_up();
            proxy.until_served(&to(&host), PAUSE).await;
            sleep(AFTERWARDS).await;
            let cost = site.callboard.cpu() - before;
            turns.push(cost.as_secs_f64() * 1e3);
        }
    }
    let turns = sites.into_iter().map(|(site, _, turns)| (site.size, turns));
    let series = Series::new(("reload", "ms CPU"), axis.name(), turns);
    match axis {
        Axis::Hosts | Axis::Paths => series.growing("a reload reads the whole file"),
        Axis::Services => series.growing("a reload tells every service its policy"),
        _ => series,
    }
}

fn to(host: &str) -> String {
    format!("GET /nobody/ HTTP/1.1\r\nHost: {host}\r\n\r\n")
}
