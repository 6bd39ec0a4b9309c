//! Readers that stop, are cut off and come back while the membership changes, over the real registry.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Body;
use futures_util::FutureExt;
use http_body_util::BodyExt;
use proptest::prelude::*;
use serde_json::Value;
use tokio::sync::watch as signal;

use crate::api::native::poll::tests::api;
use crate::api::native::view::tests::member;
use crate::instance::Instance as Registered;
use crate::registry::command::Command;
use crate::registry::event::Actor;
use crate::registry::snapshot::Fitness;

use super::*;

/// What a reader believes: the weight of each member.
type Picture = BTreeMap<(String, String), u64>;

/// A client of one stream, as the standard has it: what comes before a blank line counts, and
/// nothing else.
struct Reader {
    only: Option<ServiceName>,
    knows: Option<Revision>,
    picture: Picture,
    /// The connection, and what was read of the event that has not ended.
    stream: Option<(Body, String)>,
}

impl Reader {
    fn new(only: Option<&str>) -> Self {
        Self {
            only: only.map(|service| service.parse().unwrap()),
            knows: None,
            picture: Picture::new(),
            stream: None,
        }
    }

    fn body(&mut self, api: &Api, texts: &Texts) -> &mut Body {
        let (body, _) = self.stream.get_or_insert_with(|| {
            let feed = Feed::new(api.clone(), texts.clone(), self.only.clone(), self.knows);
            (sse::reply(feed, Feed::next).into_body(), String::new())
        });
        body
    }

    /// Reads a chunk if there is one.
    fn read(&mut self, api: &Api, texts: &Texts) {
        if let Some(frame) = self.body(api, texts).frame().now_or_never() {
            self.digest(&frame.unwrap().unwrap().into_data().unwrap());
        }
    }

    /// Reads a chunk, if there is one, up to a point where the connection breaks.
    fn break_off(&mut self, at: prop::sample::Index, api: &Api, texts: &Texts) {
        if let Some(frame) = self.body(api, texts).frame().now_or_never() {
            let chunk = frame.unwrap().unwrap().into_data().unwrap();
            self.digest(&chunk[..at.index(chunk.len())]);
        }
        self.stream = None;
    }

    /// Reads until it knows everything.
    async fn catch_up(&mut self, api: &Api, texts: &Texts) {
        let snapshot = api.registry.snapshot();
        let now = snapshot.revision_followed(self.only.as_ref());
        while self.knows.is_none_or(|knows| knows < now) {
            let frame = self.body(api, texts).frame().await;
            self.digest(&frame.unwrap().unwrap().into_data().unwrap());
        }
    }

    fn digest(&mut self, chunk: &[u8]) {
        let (_, text) = self.stream.as_mut().unwrap();
        *text += std::str::from_utf8(chunk).unwrap();
        let complete = text.rfind("\n\n").map_or(0, |end| end + 2);
        let rest = text.split_off(complete);
        let blocks = std::mem::replace(text, rest);
        blocks
            .split_terminator("\n\n")
            .for_each(|block| self.believe(block));
    }

    fn believe(&mut self, block: &str) {
        let field = |name| block.lines().find_map(|line| line.strip_prefix(name));
        let Some(event) = field("event: ") else {
            return;
        };
        let index = Revision(field("id: ").unwrap().parse().unwrap());
        assert!(self.knows.is_none_or(|knows| knows <= index), "went back");
        self.knows = Some(index);
        let data: Value = serde_json::from_str(field("data: ").unwrap()).unwrap();
        let text = |value: &Value, name: &str| value[name].as_str().unwrap().to_owned();
        let key = |value: &Value| (text(value, "service"), text(value, "id"));
        let weighed = |value: &Value| (key(value), value["weight"].as_u64().unwrap());
        match event {
            "snapshot" => self.picture = data.as_array().unwrap().iter().map(weighed).collect(),
            "upsert" => self.picture.extend([weighed(&data)]),
            "remove" => drop(self.picture.remove(&key(&data))),
            other => panic!("{other}"),
        }
    }
}

fn truth(api: &Api, only: Option<&ServiceName>) -> Picture {
    let snapshot = api.registry.snapshot();
    let seen = Seen::of(&snapshot, only);
    seen.members(None)
        .map(|member| {
            let instance = &member.instance;
            let key = (instance.service.to_string(), instance.id.to_string());
            (key, u64::from(instance.weight))
        })
        .collect()
}

fn instance(service: &str, id: &str, weight: u32) -> Registered {
    Registered {
        weight,
        // Long enough for a snapshot of a few to take several chunks.
        metadata: (0..24).map(|n| (n.to_string(), "x".repeat(256))).collect(),
        ..Registered::clone(&member(service, id, 1).instance)
    }
}

async fn change(api: &Api, service: &str, id: &str, weight: u32) {
    let command = match weight {
        0 => Command::Deregister {
            service: service.parse().unwrap(),
            id: id.parse().unwrap(),
            generation: None,
        },
        weight => Command::Register(instance(service, id, weight)),
    };
    let done = api.registry.submit(command, Actor::Callboard).await;
    assert!(done.is_ok() || weight == 0, "{done:?}");
}

#[derive(Clone, Debug)]
enum Step {
    Change(usize, u8, u32),
    Touch(usize, u8),
    Read(usize),
    BreakOff(usize, prop::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3usize, 0..8u8, 0..3u32).prop_map(|(s, id, w)| Step::Change(s, id, w)),
        1 => (0..3usize, 0..8u8).prop_map(|(s, id)| Step::Touch(s, id)),
        2 => (0..3usize).prop_map(Step::Read),
        2 => (0..3usize, any::<prop::sample::Index>()).prop_map(|(r, at)| Step::BreakOff(r, at)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_a_reader_lived_through_it_ends_with_the_membership(
        steps in prop::collection::vec(step(), 1..60)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let (_leave, closing) = signal::channel(false);
            let (api, texts) = (api(closing), Texts::default());
            let services = ["a", "b", "c"];
            let mut readers = [Reader::new(None), Reader::new(Some("a")), Reader::new(Some("b"))];
            for step in steps {
                match step {
                    Step::Change(service, id, weight) => {
                        change(&api, services[service], &id.to_string(), weight).await;
                    }
                    Step::Touch(service, id) => api.registry.touch(
                        &services[service].parse().unwrap(),
                        &id.to_string().parse().unwrap(),
                        Fitness::Fit,
                    ),
                    Step::Read(reader) => readers[reader].read(&api, &texts),
                    Step::BreakOff(reader, at) => {
                        readers[reader].break_off(at, &api, &texts);
                    }
                }
            }
            for service in services {
                change(&api, service, "last", 7).await;
            }
            assert!(truth(&api, None).len() >= services.len());
            for reader in &mut readers {
                reader.catch_up(&api, &texts).await;
                prop_assert_eq!(&reader.picture, &truth(&api, reader.only.as_ref()));
            }
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn a_reader_that_is_not_too_old_is_told_the_difference() {
    let (_leave, closing) = signal::channel(false);
    let (api, texts) = (api(closing), Texts::default());
    for id in ["1", "2"] {
        change(&api, "a", id, 1).await;
    }
    let mut reader = Reader::new(None);
    reader.catch_up(&api, &texts).await;
    let knew = reader.knows;
    reader.stream = None;
    change(&api, "a", "1", 0).await;
    change(&api, "a", "3", 1).await;
    change(&api, "a", "3", 0).await;
    change(&api, "b", "4", 1).await;

    let mut opening = Feed::new(api.clone(), texts.clone(), None, knew)
        .next()
        .await
        .unwrap();
    let chunk = String::from_utf8(opening.0.unwrap().to_vec()).unwrap();
    let events: BTreeSet<_> = chunk.lines().filter(|l| l.starts_with("event: ")).collect();
    assert_eq!(
        events,
        BTreeSet::from(["event: remove", "event: upsert"]),
        "{chunk}"
    );
    assert!(
        opening
            .1
            .backlog
            .chunk(&texts, &Views::new(&api))
            .unwrap()
            .is_empty()
    );

    for unknown in [0, u64::MAX] {
        let unknown = Some(Revision(unknown));
        let opening = Feed::new(api.clone(), texts.clone(), None, unknown)
            .next()
            .await;
        let chunk = String::from_utf8(opening.unwrap().0.unwrap().to_vec()).unwrap();
        assert!(chunk.contains("event: snapshot\n"), "{chunk}");
    }
}

#[tokio::test]
async fn a_snapshot_is_sent_in_chunks_and_reads_as_one_event() {
    let (_leave, closing) = signal::channel(false);
    let (api, texts) = (api(closing), Texts::default());
    for id in 0..100 {
        change(&api, if id < 50 { "a" } else { "b" }, &id.to_string(), 1).await;
    }
    let mut feed = Feed::new(api.clone(), texts.clone(), None, None);
    let (mut text, mut chunks) = (String::new(), 0);
    while !text.ends_with("\n\n") {
        let (chunk, next) = feed.next().await.unwrap();
        let chunk = chunk.unwrap();
        assert!(chunk.len() <= 64 * 1_024, "{}", chunk.len());
        text += std::str::from_utf8(&chunk).unwrap();
        chunks += 1;
        feed = next;
    }
    assert!(chunks > 10, "{chunks}");
    let mut reader = Reader::new(None);
    reader.believe(text.trim_end());
    assert_eq!(reader.picture, truth(&api, None));
}
