//! The lean path and Pingora's do the same: two callboards that differ in nothing but which of them takes
//! the requests, the same requests to both, and the same answers from their instances.
//!
//! `PROPTEST_CASES` asks for more cases than a run has by default. A failure prints the exchange, and
//! `CALLBOARD_EXCHANGE_SEED` with the seed it prints plays the same series again.

mod bodies;
mod exchange;
mod normal;
mod play;

use std::env;

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use serde_json::json;
use tokio::runtime::Runtime;

use crate::support::{Callboard, Setup};

use exchange::Exchange;
use play::{Outcome, Stage};

/// How many exchanges a run has by default.
const CASES: u32 = 500;

/// A callboard with its instance.
struct Side {
    callboard: Callboard,
    stage: Stage,
}

impl Side {
    async fn start(lean: &str) -> Self {
        let callboard = Setup::default()
            .registry("admission: trust")
            .proxy(&format!("lean_path: {lean}"))
            .top("defaults: {check: off, outlier: off, timeouts: {request: 3s, between_bytes: 3s}}")
            .start();
        let stage = Stage::open().await;
        let url = callboard.api("/services/web/instances/web-1");
        let body = json!({"address": "127.0.0.1", "port": stage.port, "check": "off",
            "lease": {"ttl": "10m"}});
        let reply = callboard.client.put(url).json(&body).send().await.unwrap();
        assert!(reply.status().is_success(), "{reply:?}");
        Self { callboard, stage }
    }

    async fn play(&self, exchange: &Exchange) -> Outcome {
        self.stage.play(self.callboard.port(0), exchange).await
    }
}

#[test]
fn both_paths_pass_on_the_same_requests_and_the_same_answers() {
    let runtime = Runtime::new().unwrap();
    let (lean, other) =
        runtime.block_on(async { (Side::start("on").await, Side::start("off").await) });
    let cases = env::var("PROPTEST_CASES").ok();
    let cases = cases.map_or(CASES, |cases| cases.parse().unwrap());
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 300,
        ..Config::default()
    };
    let seed: u64 = match env::var("CALLBOARD_EXCHANGE_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => fastrand::u64(..),
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let outcome = runner.run(&exchange::any(), |exchange| {
        let (lean, other) =
            runtime.block_on(async { tokio::join!(lean.play(&exchange), other.play(&exchange)) });
        let differs = |what: String| {
            let raw = |outcome: &Outcome| outcome.received.escape_ascii().to_string();
            TestCaseError::fail(format!(
                "{what}\non the lean path the client got: {}\non Pingora's: {}",
                raw(&lean),
                raw(&other)
            ))
        };
        normal::compare(&exchange, &lean, &other).map_err(differs)
    });
    if let Err(error) = outcome {
        panic!("seed {seed}: {error}");
    }
}
