//! What one change costs each of those who follow along: from the call that makes it to the bytes
//! for the last of them. The network is not measured.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a bench that cannot start may stop"
)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use callboard::api::Api;
use callboard::api::access::Access;
use callboard::api::guard::{Guard, Rates};
use callboard::api::live::Live;
use callboard::cluster::policy::Policy;
use callboard::instance::Instance;
use callboard::registry::Registry;
use callboard::registry::command::Command;
use callboard::registry::event::Actor;
use callboard::route::Routing;
use callboard::route::splits::Splits;
use callboard::telemetry::{self, Telemetry};
use divan::Bencher;
use divan::counter::ItemsCount;
use http_body_util::BodyExt;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use tokio::runtime::Runtime;
use utoipa_axum::router::OpenApiRouter;

/// Longer than a reader pauses between two steps.
const REST: Duration = Duration::from_millis(30);

fn main() {
    divan::main();
}

/// A registry, and readers of all of it that know everything.
struct World {
    registry: Registry,
    readers: Vec<Body>,
    runtime: Runtime,
    _leave: tokio::sync::watch::Sender<bool>,
}

fn world(members: usize, readers: usize) -> World {
    let (registry, clusters) = common::with_clusters(Policy::default());
    common::fill(&registry, common::batches(1, members));
    let (leave, closing) = tokio::sync::watch::channel(false);
    let api = Api {
        registry: registry.clone(),
        live: Live::new(clusters.clone(), registry.clone(), || 0),
        clusters,
        closing,
        telemetry: Arc::new(
            Telemetry::new(telemetry::Settings::default()).expect("nothing to open"),
        ),
        mirrored_from: None,
        splits: Arc::new(Splits::new(Routing::default())),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let guard = Guard::new(Access::default(), Rates::default());
    let router = api.control_plane(OpenApiRouter::new(), Arc::new(guard));
    let service = TowerToHyperService::new(router);
    let readers = runtime.block_on(async {
        let mut opened = Vec::with_capacity(readers);
        for _ in 0..readers {
            let request = http::Request::get("/api/v1/watch").body(Body::empty());
            let reply = service.call(request.expect("a request")).await;
            let mut body = reply.expect("a reply").into_body();
            while !chunk(&mut body).await.ends_with(b"\n\n") {}
            opened.push(body);
        }
        opened
    });
    World {
        registry,
        readers,
        runtime,
        _leave: leave,
    }
}

async fn chunk(body: &mut Body) -> Bytes {
    match body.frame().await {
        Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
        other => panic!("the stream ended: {other:?}"),
    }
}

/// One instance of a hundred is replaced, and all readers are told.
#[divan::bench(args = [1, 100, 1_000], sample_count = 50, sample_size = 1)]
fn one_change(bencher: Bencher<'_, '_>, readers: usize) {
    let mut world = world(100, readers);
    let mut weight = 1;
    bencher
        .counter(ItemsCount::new(readers))
        .with_inputs(|| std::thread::sleep(REST))
        .bench_local_values(move |()| {
            weight = weight % 60_000 + 1;
            let replaced = Instance {
                weight,
                ..common::instance(0, 50)
            };
            let World {
                registry,
                readers,
                runtime,
                ..
            } = &mut world;
            runtime.block_on(async {
                let change = registry.submit(Command::Register(replaced), Actor::Callboard);
                change.await.expect("an admitted instance");
                for reader in readers {
                    chunk(reader).await;
                }
            });
        });
}
