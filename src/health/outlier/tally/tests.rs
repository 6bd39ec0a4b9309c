use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::*;
use crate::endpoint::Standing;
use crate::instance::check::CheckOverride;
use crate::instance::{Instance, Scheme};

fn endpoint() -> Endpoint {
    let instance = Instance {
        service: "web".parse().unwrap(),
        id: "web-1".parse().unwrap(),
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, 8_080)).into(),
        scheme: Scheme::Http,
        weight: 1,
        zone: None,
        tags: Default::default(),
        metadata: Default::default(),
        ttl: None,
        check: CheckOverride::default(),
        generation: None,
    };
    Endpoint::new(Arc::new(instance), Standing::Usable)
}

/// What was counted of one endpoint under these settings.
struct Scene {
    endpoint: Endpoint,
    settings: Outlier,
    now: Instant,
}

impl Scene {
    fn new(settings: Outlier) -> Self {
        Self {
            endpoint: endpoint(),
            settings,
            now: Instant::now() + Duration::from_secs(60),
        }
    }

    fn in_a_row_only() -> Self {
        Self::new(Outlier {
            failure_ratio: None,
            ..Outlier::default()
        })
    }

    fn succeed(&self, times: usize) {
        for _ in 0..times {
            succeeded(&self.endpoint, Scale::of(&self.settings), self.now);
        }
    }

    fn fail(&self, failure: Failure, times: usize) {
        for _ in 0..times {
            failed(&self.endpoint, failure, Scale::of(&self.settings), self.now);
        }
    }

    fn grounds(&self) -> Option<Grounds> {
        grounds(&self.endpoint, &self.settings, self.now)
    }
}

#[test]
fn the_fifth_failure_in_a_row_is_one_too_many() {
    for failure in [Failure::Unanswered, Failure::Faulted] {
        let scene = Scene::in_a_row_only();
        scene.fail(failure, 4);
        assert_eq!(scene.grounds(), None);
        scene.fail(failure, 1);
        let count = 5;
        assert_eq!(scene.grounds(), Some(Grounds::InARow { failure, count }));
        forget(&scene.endpoint);
        assert_eq!(scene.grounds(), None);
    }
}

#[test]
fn a_success_ends_both_runs() {
    let scene = Scene::in_a_row_only();
    scene.fail(Failure::Faulted, 4);
    scene.fail(Failure::Unanswered, 4);
    scene.succeed(1);
    scene.fail(Failure::Faulted, 4);
    scene.fail(Failure::Unanswered, 4);
    assert_eq!(scene.grounds(), None);
}

#[test]
fn a_failed_answer_is_still_an_answer_and_silence_says_nothing_of_answers() {
    let scene = Scene::in_a_row_only();
    for _ in 0..4 {
        scene.fail(Failure::Unanswered, 4);
        scene.fail(Failure::Faulted, 1);
        assert_eq!(scene.grounds(), None);
    }
    scene.fail(Failure::Unanswered, 4);
    scene.fail(Failure::Faulted, 1);
    let fifth = Grounds::InARow {
        failure: Failure::Faulted,
        count: 5,
    };
    assert_eq!(scene.grounds(), Some(fifth));
}

#[test]
fn a_share_of_failures_counts_once_there_are_enough_requests() {
    let scene = Scene::new(Outlier {
        min_requests: 8,
        ..Outlier::default()
    });
    for _ in 0..3 {
        scene.succeed(1);
        scene.fail(Failure::Faulted, 1);
    }
    assert_eq!(scene.grounds(), None, "six requests are too few");
    scene.succeed(1);
    scene.fail(Failure::Unanswered, 1);
    let share = scene.grounds().unwrap();
    assert_eq!(share.to_string(), "4 of 8 requests failed within 10s");
    scene.succeed(1);
    assert_eq!(scene.grounds(), None, "four of nine are less than half");
}

#[test]
fn old_failures_are_outweighed_by_nothing_and_still_forgotten() {
    let mut scene = Scene::new(Outlier {
        consecutive_failures: 100,
        ..Outlier::default()
    });
    scene.fail(Failure::Faulted, 20);
    assert!(scene.grounds().is_some());
    scene.now += scene.settings.interval;
    assert_eq!(scene.grounds(), None);
}

#[test]
fn a_success_after_a_success_writes_nothing_to_the_runs() {
    let scene = Scene::in_a_row_only();
    scene.succeed(3);
    let tallies = scene.endpoint.tallies();
    assert_eq!(tallies.runs.load(Ordering::Relaxed), 0);
    let untouched = |cell: &std::sync::atomic::AtomicU64| cell.load(Ordering::Relaxed) == 0;
    assert!(tallies.recent.iter().all(untouched), "no ratio, no window");
}

#[test]
fn grounds_read_as_the_end_of_a_sentence() {
    let row = |failure, count| Grounds::InARow { failure, count }.to_string();
    assert_eq!(row(Failure::Faulted, 5), "5 failed requests in a row");
    assert_eq!(
        row(Failure::Unanswered, 5),
        "5 unanswered requests in a row"
    );
    assert_eq!(row(Failure::Faulted, 1), "1 failed request in a row");
    let trial = Grounds::Trial(Failure::Unanswered).to_string();
    assert_eq!(trial, "an unanswered request on trial");
}
