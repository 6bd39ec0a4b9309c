//! Requests through a process, and what a connection takes that stays open.

use std::time::Duration;

use rlimit::Resource;
use tokio::time::sleep;

use crate::common::lanes::Lanes;
use crate::common::process::{Callboard, Connection};
use crate::machine::Machine;
use crate::series::{Scale, Series};
use crate::site::{Axis, Site};

/// How many requests are under way at a time.
pub(crate) const LANES: usize = 32;
/// How many requests there have been before one counts, for each that they go to; and at least.
const WARM: usize = 3;
const WARM_AT_LEAST: usize = 2_000;
/// How long that may take.
const WARMING: Duration = Duration::from_secs(10);
/// So many connections at least have to be open for their memory to be told from everything else's.
const COUNTABLE: usize = 1_000;

/// A process at work.
struct Turn {
    site: Site,
    lanes: Lanes,
    /// What is open beside them.
    _held: Vec<Connection>,
    costs: Vec<f64>,
    /// KiB of a connection.
    memory: Option<f64>,
}

pub(crate) async fn measure(
    axis: Axis,
    scale: &Scale,
    machine: &Machine,
    port: u16,
) -> Vec<Series> {
    let mut turns = Vec::new();
    for size in &scale.sizes {
        turns.push(Turn::start(axis, *size, machine, port).await);
    }
    for _ in 0..scale.turns {
        for turn in &mut turns {
            turn.load(axis, (scale.span, usize::MAX)).await;
        }
    }
    let memory: Vec<_> = (turns.iter())
        .map(|turn| (turn.site.size, turn.memory.into_iter().collect()))
        .collect();
    let costs = turns.into_iter().map(|turn| (turn.site.size, turn.costs));
    let mut series = vec![Series::new(("request", "µs CPU"), axis.name(), costs)];
    if axis == Axis::Connections {
        series.push(Series::new(
            ("memory of an open connection", "KiB"),
            axis.name(),
            memory,
        ));
    }
    series
}

impl Turn {
    async fn start(axis: Axis, size: usize, machine: &Machine, port: u16) -> Self {
        let site = Site::start(axis, size, machine, port).await;
        let lanes = Lanes::open(site.proxy(), LANES).await;
        let mut turn = Self {
            site,
            lanes,
            _held: Vec::new(),
            costs: Vec::new(),
            memory: None,
        };
        let enough = (WARM * size).max(WARM_AT_LEAST);
        turn.load(axis, (WARMING, enough)).await;
        turn.costs.clear();
        if axis == Axis::Connections {
            turn.hold(axis, size).await;
        }
        turn
    }

    /// Opens connections, and asks once on each.
    async fn hold(&mut self, axis: Axis, count: usize) {
        // callboard lets clients have half of the files that it may open.
        let (files, _) = Resource::NOFILE.get().unwrap();
        let count = count.min(files as usize / 2 - 2 * LANES);
        let before = settled(&self.site.callboard).await;
        for n in 0..count {
            let mut connection = Connection::open(self.site.proxy()).await;
            let ask = axis.ask(self.site.size, n);
            assert_eq!(connection.exchange(&ask).await, 200);
            self._held.push(connection);
        }
        let after = settled(&self.site.callboard).await;
        let each = (after as f64 - before as f64) / count as f64;
        self.memory = (count >= COUNTABLE).then_some(each);
    }

    async fn load(&mut self, axis: Axis, bounds: (Duration, usize)) {
        let size = self.site.size;
        let ask = move |n| axis.ask(size, n);
        let load = self.lanes.load(&self.site.callboard, bounds, 200, ask);
        self.costs.push(load.await.micros());
    }
}

/// The memory in use once it changes no more, in KiB.
async fn settled(callboard: &Callboard) -> u64 {
    let mut last = callboard.resident();
    loop {
        sleep(Duration::from_millis(300)).await;
        let now = callboard.resident();
        if now.abs_diff(last) < 64 {
            return now;
        }
        last = now;
    }
}
