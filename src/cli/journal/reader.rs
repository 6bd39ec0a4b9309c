//! Reads the journal page by page, and on from where it was read to.

use std::time::Duration;

use crate::client::{Client, Error, Reply};
use crate::names::{InstanceId, ServiceName};

use super::entry::Entry;

/// The most entries the API gives at once.
const PAGE: u32 = 1_000;
/// How many to ask for when few are expected.
const SMALL_PAGE: u32 = 100;

/// How long the registry is to wait for something to happen.
const WAIT: Duration = Duration::from_secs(30);
/// How much longer than it was to take an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(20);
/// The time between two requests that bring nothing. The registry wakes whoever waits for more
/// reasons than the journal has entries for.
const PAUSE: Duration = Duration::from_millis(100);

/// Asks for entries of certain instances.
pub(super) struct Reader<'a> {
    client: &'a Client,
    only: Vec<(&'static str, String)>,
}

/// The newest entries.
pub(super) struct Newest {
    /// In the order they happened.
    pub(super) entries: Vec<Entry>,
    /// Whether there are older ones that were asked for too.
    pub(super) more: bool,
    /// Where to read on.
    pub(super) place: Place,
}

/// How far the journal was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// The index of the last entry that was read, or a later one that is none's.
    seen: u64,
    /// The index to wait for a change after.
    index: u64,
}

impl Place {
    /// Takes in what was read last: the reply's index, and its entries, newest first.
    ///
    /// An index that went back is one of a registry that forgets everything when it restarts. All
    /// that it has to tell is new.
    fn advance(&mut self, reply: u64, mut entries: Vec<Entry>) -> Vec<Entry> {
        if reply < self.index {
            self.seen = 0;
        }
        entries.retain(|entry| entry.index() > self.seen);
        entries.reverse();
        let newest = entries.last().map_or(0, Entry::index);
        self.seen = self.seen.max(newest).max(reply);
        self.index = reply;
        entries
    }
}

impl<'a> Reader<'a> {
    /// Of one service or all, and of instances with one id or all.
    pub(super) fn new(
        client: &'a Client,
        service: Option<&ServiceName>,
        id: Option<&InstanceId>,
    ) -> Self {
        let service = service.map(|service| ("service", service.to_string()));
        let id = id.map(|id| ("id", id.to_string()));
        Self {
            client,
            only: service.into_iter().chain(id).collect(),
        }
    }

    /// The newest `limit` entries within `bounds`.
    ///
    /// # Errors
    /// When the registry gives no good answer.
    pub(super) async fn newest(
        &self,
        bounds: &[(&'static str, String)],
        limit: u32,
    ) -> Result<Newest, Error> {
        // One more than is wanted tells whether there is more.
        let wanted = limit.saturating_add(1) as usize;
        let first = self
            .page(bounds, limit.saturating_add(1).min(PAGE), PATIENCE)
            .await?;
        let index = first.index.unwrap_or_default();
        let mut entries = first.body;
        let mut page = entries.len();
        while entries.len() < wanted && page == PAGE as usize {
            let earlier = self.earlier(bounds, &entries, PAGE).await?;
            page = earlier.len();
            entries.extend(earlier);
        }
        let more = entries.len() >= wanted;
        entries.truncate(limit as usize);
        let mut place = Place::default();
        Ok(Newest {
            entries: place.advance(index, entries),
            more,
            place,
        })
    }

    /// The entries since `place`, in the order they happened; waits a while for the first.
    ///
    /// # Errors
    /// When the registry gives no good answer; `place` is then what it was.
    pub(super) async fn newer(&self, place: &mut Place) -> Result<Vec<Entry>, Error> {
        let wait = [
            ("index", place.index.to_string()),
            ("wait", format!("{}s", WAIT.as_secs())),
        ];
        let first = self.page(&wait, SMALL_PAGE, WAIT + PATIENCE).await?;
        let index = first.index.unwrap_or_default();
        let mut entries = first.body;
        let mut page = entries.len();
        let gone_back = index < place.index;
        while page == SMALL_PAGE as usize
            && (gone_back
                || entries
                    .last()
                    .is_some_and(|oldest| oldest.index() > place.seen))
        {
            let earlier = self.earlier(&[], &entries, SMALL_PAGE).await?;
            page = earlier.len();
            entries.extend(earlier);
        }
        let entries = place.advance(index, entries);
        if entries.is_empty() {
            tokio::time::sleep(PAUSE).await;
        }
        Ok(entries)
    }

    /// The page after `entries`.
    async fn earlier(
        &self,
        bounds: &[(&'static str, String)],
        entries: &[Entry],
        limit: u32,
    ) -> Result<Vec<Entry>, Error> {
        let oldest = entries.last().map_or(u64::MAX, Entry::index);
        let mut query = bounds.to_vec();
        query.push(("before", oldest.to_string()));
        Ok(self.page(&query, limit, PATIENCE).await?.body)
    }

    async fn page(
        &self,
        more: &[(&'static str, String)],
        limit: u32,
        patience: Duration,
    ) -> Result<Reply<Vec<Entry>>, Error> {
        let limit = [("limit", limit.to_string())];
        let query = self.only.iter().chain(more).chain(&limit);
        let query: Vec<_> = query.map(|(name, value)| (*name, value.as_str())).collect();
        self.client.get("/api/v1/journal", &query, patience).await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::entry::tests::entry;
    use super::*;

    /// Entries as a page has them.
    fn page(indexes: &[u64]) -> Vec<Entry> {
        let by = json!({"actor": "callboard", "peer": null, "token": null});
        let entries = indexes.iter().map(|index| entry(*index, by.clone()));
        entries
            .map(|entry| serde_json::from_value(entry).unwrap())
            .collect()
    }

    fn indexes(entries: &[Entry]) -> Vec<u64> {
        entries.iter().map(Entry::index).collect()
    }

    #[test]
    fn nothing_is_told_twice_and_nothing_is_left_out() {
        let mut place = Place::default();
        assert_eq!(indexes(&place.advance(8, page(&[9, 8, 5]))), [5, 8, 9]);
        assert_eq!(indexes(&place.advance(9, page(&[9, 8, 5]))), [0; 0]);
        assert_eq!(indexes(&place.advance(20, page(&[12, 9, 8]))), [12]);
        assert_eq!(
            place,
            Place {
                seen: 20,
                index: 20
            }
        );
    }

    #[test]
    fn all_is_new_of_a_registry_that_has_forgotten() {
        let mut place = Place {
            seen: 20,
            index: 20,
        };
        assert_eq!(indexes(&place.advance(3, page(&[3, 2]))), [2, 3]);
        assert_eq!(place, Place { seen: 3, index: 3 });
    }
}
