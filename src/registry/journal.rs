//! The history of the membership, for people: what changed, when, by whom and why.

use std::time::SystemTime;

use crate::names::{InstanceId, ServiceName};
use crate::units::moment::format_moment;

use super::event::Event;
use super::snapshot::Revision;
use super::store::Remembered;

/// Reads the history. A call may block on a disk.
pub trait Journal: Send + Sync + 'static {
    /// The events that `query` asks for, newest first.
    ///
    /// # Errors
    /// [`JournalError::Failed`].
    fn events(&self, query: &Query) -> Result<Vec<Event>, JournalError>;

    /// The members that `service` had at a moment.
    ///
    /// # Errors
    /// [`JournalError::Forgotten`] when the history does not reach back that far.
    fn members_at(
        &self,
        service: &ServiceName,
        at: SystemTime,
    ) -> Result<Vec<Remembered>, JournalError>;
}

/// Which events to read; `None` is any.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Query {
    /// Of this service only.
    pub service: Option<ServiceName>,
    /// Of instances with this id only.
    pub id: Option<InstanceId>,
    /// Not before this moment.
    pub since: Option<SystemTime>,
    /// Not after this moment.
    pub until: Option<SystemTime>,
    /// Of earlier revisions only: where the page before this one ended.
    pub before: Option<Revision>,
    /// At most so many.
    pub limit: usize,
}

/// Why the history could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// It does not reach back that far.
    #[error("the journal reaches back to {} only", format_moment(*.0))]
    Forgotten(SystemTime),
    /// Anything else, in words for people.
    #[error("the journal cannot be read: {0}")]
    Failed(String),
}

impl Query {
    /// Whether it asks for `event`, its limit aside.
    pub fn admits(&self, event: &Event) -> bool {
        let instance = &event.member.instance;
        (self.service.as_ref()).is_none_or(|service| *service == instance.service)
            && self.id.as_ref().is_none_or(|id| *id == instance.id)
            && self.since.is_none_or(|since| event.at >= since)
            && self.until.is_none_or(|until| event.at <= until)
            && self.before.is_none_or(|before| event.revision < before)
    }
}
