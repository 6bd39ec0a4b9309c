//! The list that a crowd of long polls is answered with, made once.
//!
//! A change wakes everyone who waits for a service, within a moment, and all who asked alike are
//! answered alike. Only they share: somebody who did not wait, or waited in vain, wants the live
//! counters of this moment and not of the last change. Those who share cannot be shown the old
//! availability of an instance for good either: a change of it moves the index on, and wakes them
//! again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Json;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Serialize;

use crate::names::ServiceName;
use crate::registry::snapshot::Revision;

use super::lists::Filter;

/// The most lists kept.
const LISTS: usize = 16;
/// The most all lists may take, in bytes; a longer one is not kept.
const ROOM: usize = 16 << 20;

/// What was asked for, at which revision of the service.
type Subject = (ServiceName, Revision, Filter);

/// Lists that were made not long ago, oldest first. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Crowd(Arc<Mutex<VecDeque<(Subject, Bytes)>>>);

impl Crowd {
    /// Answers with the list about `subject`.
    pub(super) fn list<T: Serialize>(
        &self,
        subject: Subject,
        make: impl FnOnce() -> T,
    ) -> Response {
        if let Some(text) = self.find(&subject) {
            return json(text);
        }
        let list = make();
        let Ok(text) = serde_json::to_vec(&list).map(Bytes::from) else {
            // Fails again, and answers with why.
            return Json(list).into_response();
        };
        self.keep(subject, text.clone());
        json(text)
    }

    fn find(&self, subject: &Subject) -> Option<Bytes> {
        let lists = self.lists();
        let (_, text) = lists.iter().rfind(|(made_for, _)| made_for == subject)?;
        Some(text.clone())
    }

    /// Keeps a list in place of the last one that answered the same question.
    fn keep(&self, subject: Subject, text: Bytes) {
        let mut lists = self.lists();
        let (service, _, filter) = &subject;
        lists.retain(|((of, _, by), _)| of != service || by != filter);
        lists.push_back((subject, text));
        let size = |lists: &VecDeque<(_, Bytes)>| -> usize {
            lists.iter().map(|(_, text)| text.len()).sum()
        };
        while lists.len() > LISTS || size(&lists) > ROOM {
            lists.pop_front();
        }
    }

    fn lists(&self) -> MutexGuard<'_, VecDeque<(Subject, Bytes)>> {
        // Whatever a panic left out will be made again.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn json(text: Bytes) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn subject(service: &str, revision: u64) -> Subject {
        let service = service.parse().unwrap();
        (service, Revision(revision), Filter::default())
    }

    #[test]
    fn a_list_is_made_once_for_each_revision() {
        let (crowd, made) = (Crowd::default(), Cell::new(0));
        let ask = |service, revision| {
            crowd.list(subject(service, revision), || made.replace(made.get() + 1));
            made.get()
        };
        assert_eq!(ask("web", 1), 1);
        assert_eq!(ask("web", 1), 1);
        assert_eq!(ask("api", 1), 2);
        assert_eq!(ask("web", 2), 3);
        assert_eq!(ask("web", 2), 3);
        assert_eq!(crowd.lists().len(), 2, "the list of before is gone");
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let crowd = Crowd::default();
        for n in 0..2 * LISTS {
            crowd.list(subject(&format!("s{n}"), 1), || "x");
        }
        assert_eq!(crowd.lists().len(), LISTS);
        crowd.list(subject("long", 1), || "x".repeat(ROOM - 64));
        assert!(crowd.find(&subject("long", 1)).is_some());
        crowd.list(subject("longer", 1), || "x".repeat(ROOM));
        assert!(crowd.lists().is_empty());
    }
}
