//! How long whoever misses its time may stay, under simulated time.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A writer without its thread, with members whose leases last a second.
struct Scene {
    writer: Writer,
    shelf: Shelf,
    witness: Arc<Witness>,
    now: Instant,
}

impl Scene {
    fn of(ids: &[&str]) -> Self {
        let now = Instant::now();
        let witness = Arc::new(Witness::default());
        let rules = Arc::new(ArcSwap::from_pointee(rules()));
        let shelf = Shelf::default();
        let store = Box::new(shelf.clone());
        let writer = Writer::new(store, rules, witness.clone(), now, Revision(1)).unwrap();
        let mut scene = Self {
            writer,
            shelf,
            witness,
            now,
        };
        for id in ids {
            scene.request(Command::Register(Instance {
                ttl: Some(SECOND),
                ..instance("web", id)
            }));
        }
        scene
    }

    fn request(&mut self, command: Command) {
        let submission = Submission {
            commands: vec![command],
            actor: PEER,
            answer: oneshot::channel().0,
        };
        let now = self.now;
        let batch = std::iter::once(Request::Commands(submission));
        self.writer.carry_out(batch, || now);
    }

    fn key(id: &str) -> Key {
        ("web".parse().unwrap(), id.parse().unwrap())
    }

    fn testify(&mut self, id: &str, testimony: Testimony) {
        let (service, id) = Self::key(id);
        let now = self.now;
        let batch = std::iter::once(Request::Testimony(service, id, testimony));
        self.writer.carry_out(batch, || now);
        self.writer.expire_due(now);
    }

    fn renew(&mut self, id: &str) {
        let lease = self.lease(id);
        if lease.renew(self.now) == Renewal::Settled {
            let now = self.now;
            self.writer.settle(&[Self::key(id)], now);
        }
    }

    fn lease(&self, id: &str) -> Arc<Lease> {
        let member = self.writer.state.snapshot().member("web", id).unwrap();
        member.lease.clone().unwrap()
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.writer.expire_due(self.now);
    }

    fn here(&self) -> Vec<String> {
        let members = self.writer.state.snapshot().members("web").unwrap();
        members.instances.keys().map(ToString::to_string).collect()
    }

    fn told(&self) -> Vec<Key> {
        std::mem::take(&mut *self.witness.leases.lock().unwrap())
    }
}

fn fails() -> Testimony {
    Testimony::Fails("refused".to_owned())
}

#[test]
fn a_missed_heartbeat_alone_takes_nobody_out() {
    let mut scene = Scene::of(&["a", "b", "c"]);
    scene.wait(SECOND / 2);
    scene.renew("b");
    scene.renew("c");
    scene.wait(SECOND / 2);
    assert_eq!(scene.told(), [Scene::key("a")]);
    assert!(scene.lease("a").is_in_doubt());
    assert_eq!(scene.here(), ["a", "b", "c"]);

    scene.renew("a");
    assert_eq!(scene.told(), [Scene::key("a")]);
    assert!(!scene.lease("a").is_in_doubt());
    for _ in 0..10 {
        scene.wait(SECOND / 2);
        for id in ["a", "b", "c"] {
            scene.renew(id);
        }
    }
    assert_eq!(scene.here(), ["a", "b", "c"]);
}

#[test]
fn one_failed_probe_takes_a_suspect_out_at_once_and_nobody_else() {
    let mut scene = Scene::of(&["a", "b", "c"]);
    scene.testify("a", fails());
    assert_eq!(scene.here(), ["a", "b", "c"], "it holds a lease");
    scene.wait(SECOND / 2);
    scene.renew("b");
    scene.renew("c");
    scene.wait(SECOND / 2);
    scene.testify("a", fails());
    scene.testify("b", fails());
    assert_eq!(scene.here(), ["b", "c"]);
}

#[test]
fn a_suspect_that_answers_stays_for_two_more_ttls() {
    let mut scene = Scene::of(&["a", "b", "c"]);
    for halves in 1..=5 {
        scene.renew("b");
        scene.renew("c");
        scene.wait(SECOND / 2);
        scene.testify("a", Testimony::Answers);
        assert_eq!(scene.here().len(), 3, "after {halves} halves");
    }
    scene.renew("b");
    scene.renew("c");
    scene.wait(SECOND / 2);
    assert_eq!(scene.here(), ["b", "c"]);
}

#[test]
fn an_answer_after_a_failure_counts() {
    let mut scene = Scene::of(&["a", "b", "c"]);
    scene.wait(SECOND / 2);
    scene.renew("b");
    scene.renew("c");
    scene.wait(SECOND / 2);
    let key = Scene::key("a");
    scene.writer.suspects.testify(&key, fails(), scene.now);
    scene.testify("a", Testimony::Answers);
    assert_eq!(scene.here(), ["a", "b", "c"]);
}

#[test]
fn a_service_that_loses_most_of_its_members_loses_only_those_that_fail_a_probe() {
    let mut scene = Scene::of(&["a", "b", "c", "d"]);
    for _ in 0..4 {
        scene.renew("d");
        scene.wait(SECOND / 2);
    }
    scene.testify("a", fails());
    assert_eq!(scene.here(), ["b", "c", "d"]);
    for _ in 0..40 {
        scene.renew("d");
        scene.wait(SECOND / 2);
        scene.testify("b", Testimony::Answers);
    }
    assert_eq!(scene.here(), ["b", "c", "d"], "two of three are silent");

    scene.renew("c");
    for _ in 0..2 {
        scene.renew("c");
        scene.renew("d");
        scene.wait(SECOND / 2);
    }
    assert_eq!(scene.here(), ["c", "d"], "one of three is");
}

#[test]
fn whoever_went_within_a_ttl_counts_as_lost() {
    let mut scene = Scene::of(&["a", "b", "c"]);
    for _ in 0..6 {
        scene.renew("c");
        scene.wait(SECOND / 2);
        scene.testify("b", Testimony::Answers);
    }
    assert_eq!(scene.here(), ["a", "b", "c"], "two of three are silent");
    scene.testify("a", fails());
    scene.wait(SECOND / 2);
    assert_eq!(scene.here(), ["b", "c"], "the one that went counts");
    for _ in 0..3 {
        scene.renew("c");
        scene.wait(SECOND / 2);
    }
    assert_eq!(scene.here(), ["c"], "and no longer does a ttl later");
}

#[test]
fn a_suspect_that_signs_out_or_in_again_is_none() {
    let mut scene = Scene::of(&["a", "b"]);
    scene.wait(SECOND);
    scene.request(deregister("web", "a"));
    scene.request(Command::Register(Instance {
        ttl: Some(SECOND),
        ..instance("web", "b")
    }));
    assert!(scene.writer.suspects.next().is_none());
    assert_eq!(scene.told().pop(), Some(Scene::key("b")));
    scene.testify("b", fails());
    assert_eq!(scene.here(), ["b"]);
}

#[test]
fn a_member_that_came_back_from_the_store_is_in_doubt_and_has_a_whole_ttl() {
    let shelf = Shelf::default();
    let now = Instant::now();
    let context = Context {
        rules: &rules(),
        actor: &PEER,
        now,
        at: SystemTime::UNIX_EPOCH,
    };
    let (_, event) = State::default()
        .apply(&register("web", "a"), context)
        .unwrap();
    shelf.0.events.lock().unwrap().extend(event);
    let rules = Arc::new(ArcSwap::from_pointee(rules()));
    let witness = Arc::new(Witness::default());
    let store = Box::new(shelf.clone());
    let mut writer = Writer::new(store, rules, witness, now, Revision(1)).unwrap();
    let member = writer.state.snapshot().member("web", "a").cloned().unwrap();
    let lease = member.lease.clone().unwrap();
    assert_eq!(member.recalled, Some(Fitness::Unproven));
    assert!(lease.is_in_doubt());
    writer.expire_due(now + TTL - Duration::from_millis(1));
    assert!(writer.suspects.next().is_none());
    writer.expire_due(now + TTL);
    assert!(writer.suspects.next().is_some());
}

#[test]
fn whoever_could_not_be_taken_out_stays_suspected_of_the_same_and_may_still_clear_itself() {
    let mut scene = Scene::of(&["a", "b", "c"]);
    scene.wait(SECOND * 9 / 10);
    scene.renew("b");
    scene.renew("c");
    scene.wait(SECOND / 10);
    scene.shelf.refuse(true);
    scene.testify("a", fails());
    assert_eq!(scene.here(), ["a", "b", "c"]);

    scene.testify("a", Testimony::Answers);
    scene.shelf.refuse(false);
    scene.renew("b");
    scene.renew("c");
    scene.wait(RETRY * 9 / 10);
    scene.renew("b");
    scene.renew("c");
    scene.wait(RETRY / 5);
    assert_eq!(
        scene.here(),
        ["a", "b", "c"],
        "it answers, and has its grace"
    );

    scene.shelf.refuse(true);
    scene.testify("a", fails());
    scene.shelf.refuse(false);
    scene.renew("b");
    scene.renew("c");
    scene.wait(RETRY * 9 / 10);
    scene.renew("b");
    scene.renew("c");
    scene.wait(RETRY / 5);
    assert_eq!(scene.here(), ["b", "c"]);
    let events = scene.shelf.events();
    let why = events.last().and_then(|event| event.why.clone()).unwrap();
    assert!(why.ends_with("probe: refused"), "{why}");
}
