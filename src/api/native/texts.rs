//! The JSON of members, made once for all who are sent it at about the same time.
//!
//! A change wakes everyone who follows along, and all are told the same. A member is immutable and
//! another one takes its place when anything observable about it changes, so the member itself, not
//! its name, is what a text is found by. A text may thus be made just before the availability it
//! shows is published as changed, and then shows the new one early; never the old one for the
//! new member, because a member is published after the change it stands for.
//!
//! What a text shows of live counters is what they were when it was made. So that this is not long
//! ago, and so that nothing is held that nobody asks for, texts live in two generations (as in
//! generational collectors): every now and then, or when the young one has grown large, the young
//! one becomes the old one and the old one goes.
//!
//! The lock is held for a few dozen look-ups at a time, and never while a text is made.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::cluster::policy::Policies;
use crate::registry::snapshot::Member;

use super::view::Views;

/// How long a generation is young. No text is older than twice this.
const YOUTH: Duration = Duration::from_secs(1);
/// How many bytes a generation holds.
const ROOM: usize = 16 << 20;

/// Texts that were made not long ago. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Texts(Arc<Mutex<Generations>>);

#[derive(Default)]
struct Generations {
    young: HashMap<usize, Text>,
    old: HashMap<usize, Text>,
    /// The bytes of the young texts.
    held: usize,
    born: Option<Instant>,
    /// What the texts were made by: they show checks, which come from the policies.
    policies: Option<Arc<Policies>>,
}

/// A text, and the member that it is found by the address of; held, so that no other gets it.
struct Text {
    _member: Arc<Member>,
    json: Bytes,
}

impl Texts {
    /// The JSON of each of the `members`, in order.
    pub(super) fn of<'m>(
        &self,
        members: impl Iterator<Item = &'m Arc<Member>> + Clone,
        views: &Views<'_>,
    ) -> Result<Vec<Bytes>, serde_json::Error> {
        let mut found: Vec<_> = {
            let mut generations = self.generations();
            generations.turn(views);
            members.clone().map(|m| generations.find(m)).collect()
        };
        let mut made = Vec::new();
        for (json, member) in found.iter_mut().zip(members) {
            if json.is_none() {
                let text = Bytes::from(serde_json::to_vec(&views.instance(member))?);
                made.push((Arc::clone(member), text.clone()));
                *json = Some(text);
            }
        }
        if !made.is_empty() {
            self.generations().keep(made, views);
        }
        Ok(found.into_iter().flatten().collect())
    }

    fn generations(&self) -> MutexGuard<'_, Generations> {
        // Whatever a panic left out will be made again.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generations {
    fn find(&self, member: &Arc<Member>) -> Option<Bytes> {
        let key = key(member);
        let text = self.young.get(&key).or_else(|| self.old.get(&key))?;
        Some(text.json.clone())
    }

    fn keep(&mut self, made: Vec<(Arc<Member>, Bytes)>, views: &Views<'_>) {
        // Policies may have changed while the texts were made.
        if !self.made_by(views.policies()) {
            return;
        }
        for (member, json) in made {
            self.held += json.len();
            let text = Text {
                json,
                _member: member.clone(),
            };
            self.young.insert(key(&member), text);
        }
    }

    fn turn(&mut self, views: &Views<'_>) {
        let is_over = |born| views.now().saturating_duration_since(born) >= YOUTH;
        if !self.made_by(views.policies()) {
            *self = Self {
                policies: Some(Arc::clone(views.policies())),
                ..Self::default()
            };
        } else if self.held >= ROOM || self.born.is_some_and(is_over) {
            self.old = std::mem::take(&mut self.young);
            self.held = 0;
            self.born = Some(views.now());
        }
        self.born.get_or_insert(views.now());
    }

    fn made_by(&self, policies: &Arc<Policies>) -> bool {
        let own = self.policies.as_ref();
        own.is_some_and(|own| Arc::ptr_eq(own, policies))
    }
}

fn key(member: &Arc<Member>) -> usize {
    Arc::as_ptr(member).addr()
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;

    use crate::api::Api;
    use crate::api::native::poll::tests::api;
    use crate::api::native::view::tests::member;

    use super::*;

    fn text(texts: &Texts, member: &Arc<Member>, views: &Views<'_>) -> Bytes {
        texts.of([member].into_iter(), views).unwrap().remove(0)
    }

    fn later(api: &Api, by: Duration) -> Views<'_> {
        Views::at(api, Instant::now() + by)
    }

    #[tokio::test]
    async fn a_text_is_made_once_and_another_member_has_another() {
        let (_leave, closing) = watch::channel(false);
        let (api, texts) = (api(closing), Texts::default());
        let views = Views::new(&api);
        let (one, two) = (member("web", "web-1", 1), member("web", "web-1", 2));
        let first = text(&texts, &one, &views);
        assert_eq!(first, serde_json::to_vec(&views.instance(&one)).unwrap());
        assert_eq!(text(&texts, &one, &views).as_ptr(), first.as_ptr());
        assert_ne!(text(&texts, &two, &views), first);
    }

    #[tokio::test]
    async fn a_text_is_no_older_than_two_generations() {
        let (_leave, closing) = watch::channel(false);
        let (api, texts) = (api(closing), Texts::default());
        let member = member("web", "web-1", 1);
        let first = text(&texts, &member, &later(&api, Duration::ZERO));
        let second = text(&texts, &member, &later(&api, YOUTH));
        assert_eq!(second.as_ptr(), first.as_ptr());
        let third = text(&texts, &member, &later(&api, 2 * YOUTH));
        assert_ne!(third.as_ptr(), first.as_ptr());
    }

    #[tokio::test]
    async fn new_policies_make_new_texts() {
        let (_leave, closing) = watch::channel(false);
        let (api, texts) = (api(closing), Texts::default());
        let member = member("web", "web-1", 1);
        let first = text(&texts, &member, &Views::new(&api));
        api.clusters.configure(Policies::default());
        let second = text(&texts, &member, &Views::new(&api));
        assert_ne!(second.as_ptr(), first.as_ptr());
    }

    #[tokio::test]
    async fn what_is_held_is_bounded() {
        let (_leave, closing) = watch::channel(false);
        let (api, texts) = (api(closing), Texts::default());
        let views = Views::new(&api);
        let mut large = member("web", "web-1", 1);
        Arc::make_mut(&mut Arc::make_mut(&mut large).instance).tags = ["x".repeat(1 << 20)].into();
        for _ in 0..64 {
            text(&texts, &Arc::new(Member::clone(&large)), &views);
        }
        let generations = texts.generations();
        let texts = generations.young.values().chain(generations.old.values());
        let held: usize = texts.map(|text| text.json.len()).sum();
        assert!((ROOM..3 * ROOM).contains(&held), "{held}");
    }
}
