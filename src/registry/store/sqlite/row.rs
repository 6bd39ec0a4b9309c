//! A row of the table `events`.
//!
//! Each row carries a checksum of its own: SQLite notices a damaged page only where the damage
//! breaks the tree, and a flipped bit in an address would send requests to a stranger.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use rusqlite::types::ValueRef;
use rusqlite::{Row, Statement, params};
use xxhash_rust::xxh3::Xxh3;

use crate::registry::event::{Actor, Change, Event};
use crate::registry::snapshot::{Fitness, Member, Revision};
use crate::registry::store::{Remembered, StoreError};

use super::description::Description;
use super::time::{millis, moment};

/// The columns in the order that [`EventRow`] reads and writes them.
pub(super) const COLUMNS: &str = "revision, at, actor, peer, token, admin, service, id, change, \
     why, instance, draining, created, modified, registered_at, owner, checksum";

/// Inserts a row with [`EventRow::insert`].
pub(super) const INSERT: &str = "INSERT INTO events VALUES \
     (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)";

/// What stands in the column `actor`.
const CALLBOARD: &str = "callboard";
const PEER: &str = "peer";
const REGISTRY: &str = "registry";

/// A row as it stands in the file, not yet believed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct EventRow<'a> {
    pub(super) revision: i64,
    at: i64,
    actor: &'a str,
    peer: Option<Cow<'a, str>>,
    token: Option<&'a str>,
    admin: i64,
    pub(super) service: &'a str,
    pub(super) id: &'a str,
    change: &'a str,
    why: Option<&'a str>,
    instance: Cow<'a, str>,
    draining: i64,
    created: i64,
    modified: i64,
    registered_at: i64,
    owner: Option<&'a str>,
    checksum: i64,
}

impl<'a> EventRow<'a> {
    /// The row of an event.
    ///
    /// # Errors
    /// When a number is beyond what a column holds.
    pub(super) fn of(event: &'a Event) -> Result<Self, StoreError> {
        let Member {
            instance,
            draining,
            created,
            modified,
            registered_at,
            owner,
            ..
        } = &*event.member;
        let (actor, peer, token, admin) = match &event.actor {
            Actor::Callboard => (CALLBOARD, None, None, false),
            Actor::Peer {
                address,
                token,
                admin,
            } => (
                PEER,
                Some(Cow::Owned(address.to_string())),
                token.as_deref(),
                *admin,
            ),
            Actor::Registry { url, .. } => (REGISTRY, Some(Cow::Borrowed(&**url)), None, false),
        };
        let description = serde_json::to_string(&Description::from(&**instance))
            .map_err(|error| StoreError::Failed(format!("{}: {error}", instance.id)))?;
        let mut row = Self {
            revision: column(event.revision)?,
            at: millis(event.at),
            actor,
            peer,
            token,
            admin: admin.into(),
            service: instance.service.as_str(),
            id: instance.id.as_str(),
            change: event.change.as_str(),
            why: event.why.as_deref(),
            instance: Cow::Owned(description),
            draining: i64::from(*draining),
            created: column(*created)?,
            modified: column(*modified)?,
            registered_at: millis(*registered_at),
            owner: owner.as_deref(),
            checksum: 0,
        };
        row.checksum = row.digest();
        Ok(row)
    }

    /// The row a query of [`COLUMNS`] stands at.
    ///
    /// # Errors
    /// The column whose value is not of its type.
    pub(super) fn read(row: &'a Row<'_>) -> Result<Self, String> {
        let mut columns = COLUMNS
            .split(", ")
            .enumerate()
            .map(|(position, name)| Cell {
                name,
                value: row.get_ref(position).unwrap_or(ValueRef::Null),
            });
        // Each call takes the next column.
        let mut next = || columns.next().unwrap_or_default();
        Ok(Self {
            revision: next().number()?,
            at: next().number()?,
            actor: next().text()?,
            peer: next().text_or_null()?.map(Cow::Borrowed),
            token: next().text_or_null()?,
            admin: next().number()?,
            service: next().text()?,
            id: next().text()?,
            change: next().text()?,
            why: next().text_or_null()?,
            instance: Cow::Borrowed(next().text()?),
            draining: next().number()?,
            created: next().number()?,
            modified: next().number()?,
            registered_at: next().number()?,
            owner: next().text_or_null()?,
            checksum: next().number()?,
        })
    }

    /// Runs a statement of [`INSERT`].
    pub(super) fn insert(&self, statement: &mut Statement<'_>) -> rusqlite::Result<()> {
        statement.execute(params![
            self.revision,
            self.at,
            self.actor,
            self.peer,
            self.token,
            self.admin,
            self.service,
            self.id,
            self.change,
            self.why,
            self.instance,
            self.draining,
            self.created,
            self.modified,
            self.registered_at,
            self.owner,
            self.checksum,
        ])?;
        Ok(())
    }

    /// The event.
    ///
    /// # Errors
    /// What is wrong with the row.
    pub(super) fn event(&self) -> Result<Event, String> {
        let remembered = self.remembered(Fitness::Unproven)?;
        Ok(Event {
            revision: revision("revision", self.revision)?,
            at: date("at", self.at)?,
            actor: self.actor()?,
            change: self.change()?,
            why: self.why.map(str::to_owned),
            member: Arc::new(Member {
                instance: Arc::new(remembered.instance),
                // A lease is a matter of the process that granted it.
                lease: None,
                draining: remembered.draining,
                created: remembered.created,
                modified: remembered.modified,
                observed: remembered.modified,
                registered_at: remembered.registered_at,
                owner: remembered.owner,
                recalled: None,
            }),
        })
    }

    /// The member as the event left it.
    ///
    /// # Errors
    /// What is wrong with the row.
    pub(super) fn remembered(&self, fitness: Fitness) -> Result<Remembered, String> {
        let digest = self.digest();
        if self.checksum != digest {
            return Err(format!("checksum is {} (expected {digest})", self.checksum));
        }
        let service = (self.service.parse()).map_err(|error| format!("service {error}"))?;
        let id = self.id.parse().map_err(|error| format!("id {error}"))?;
        let description: Description = serde_json::from_str(&self.instance)
            .map_err(|error| format!("instance is not a description: {error}"))?;
        let instance = description
            .instance(service, id)
            .map_err(|wrong| format!("instance: {wrong}"))?;
        if instance.service.as_str() != self.service {
            return Err(format!(
                "service is {:?} (expected lower case)",
                self.service
            ));
        }
        Ok(Remembered {
            instance,
            draining: self.draining != 0,
            created: revision("created", self.created)?,
            modified: revision("modified", self.modified)?,
            registered_at: date("registered_at", self.registered_at)?,
            owner: self.owner.map(Arc::from),
            fitness,
        })
    }

    /// What the event did.
    ///
    /// # Errors
    /// When it is no word for that.
    pub(super) fn change(&self) -> Result<Change, String> {
        let known = Change::ALL.into_iter();
        let mut named = known.filter(|change| change.as_str() == self.change);
        named.next().ok_or_else(|| {
            let known = Change::ALL.map(Change::as_str).join(", ");
            format!("change is {:?} (expected one of {known})", self.change)
        })
    }

    fn actor(&self) -> Result<Actor, String> {
        let peer = self.peer.as_deref();
        let address = peer.and_then(|peer| peer.parse::<IpAddr>().ok());
        match (self.actor, peer, address) {
            (CALLBOARD, None, _) => Ok(Actor::Callboard),
            (PEER, _, Some(address)) => Ok(Actor::Peer {
                address,
                token: self.token.map(Arc::from),
                admin: self.admin != 0,
            }),
            (REGISTRY, Some(url), _) => Ok(Actor::Registry {
                url: url.into(),
                // Of no matter for what has been.
                here: false,
            }),
            (actor, peer, _) => Err(format!(
                "actor is {actor:?} with peer {peer:?} (expected {CALLBOARD}, {PEER} with an IP \
                 address, or {REGISTRY} with a URL)"
            )),
        }
    }

    /// XXH3 (64 bits) over all columns but the checksum itself, in their order. Texts go in behind
    /// their length, so that moving a character from one to the next makes a difference.
    fn digest(&self) -> i64 {
        let mut hash = Xxh3::new();
        let mut number = |number: i64| hash.update(&number.to_le_bytes());
        number(self.revision);
        number(self.at);
        number(self.admin);
        number(self.draining);
        number(self.created);
        number(self.modified);
        number(self.registered_at);
        let texts = [
            Some(self.actor),
            self.peer.as_deref(),
            self.token,
            Some(self.service),
            Some(self.id),
            Some(self.change),
            self.why,
            Some(&self.instance),
            self.owner,
        ];
        for text in texts {
            match text {
                Some(text) => {
                    hash.update(&(text.len() as u64).to_le_bytes());
                    hash.update(text.as_bytes());
                }
                None => hash.update(&u64::MAX.to_le_bytes()),
            }
        }
        hash.digest().cast_signed()
    }
}

/// A revision as a column holds it.
///
/// # Errors
/// When it is beyond 2^63.
pub(super) fn column(revision: Revision) -> Result<i64, StoreError> {
    i64::try_from(revision.0)
        .map_err(|_| StoreError::Failed(format!("index {revision} is beyond what SQLite can keep")))
}

fn revision(name: &str, column: i64) -> Result<Revision, String> {
    u64::try_from(column)
        .map(Revision)
        .map_err(|_| format!("{name} is {column} (expected at least 0)"))
}

fn date(name: &str, millis: i64) -> Result<std::time::SystemTime, String> {
    moment(millis).ok_or_else(|| format!("{name} is {millis} (expected milliseconds since 1970)"))
}

/// One value of a row.
struct Cell<'a> {
    name: &'static str,
    value: ValueRef<'a>,
}

impl Default for Cell<'_> {
    fn default() -> Self {
        Self {
            name: "",
            value: ValueRef::Null,
        }
    }
}

impl<'a> Cell<'a> {
    fn number(self) -> Result<i64, String> {
        self.value.as_i64().map_err(|_| self.no("a number"))
    }

    fn text(self) -> Result<&'a str, String> {
        self.value.as_str().map_err(|_| self.no("text"))
    }

    fn text_or_null(self) -> Result<Option<&'a str>, String> {
        self.value.as_str_or_null().map_err(|_| self.no("text"))
    }

    fn no(&self, expected: &str) -> String {
        format!("{} is not {expected}", self.name)
    }
}
