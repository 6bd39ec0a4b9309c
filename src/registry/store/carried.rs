//! The membership as one process tells it to the next, for stores that the next cannot open.
//!
//! Instances are written as the SQLite file has them, so that there is one notation to keep: the two
//! processes may be of different versions.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::names::{InstanceId, ServiceName};
use crate::registry::snapshot::Revision;

use super::sqlite::description::Description;
use super::sqlite::time::{millis, moment};
use super::sqlite::write::{fitness, word};
use super::{Recovered, Remembered, StoreError};

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Membership {
    members: Vec<Member>,
    last: Revision,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Member {
    service: String,
    id: String,
    instance: Description,
    draining: bool,
    created: Revision,
    modified: Revision,
    /// In milliseconds since 1970.
    registered_at: i64,
    owner: Option<String>,
    fitness: String,
}

/// `recovered` as JSON.
///
/// # Errors
/// When a member cannot be written down.
pub fn write(recovered: &Recovered) -> Result<String, StoreError> {
    let membership = Membership {
        members: recovered.members.iter().map(Member::from).collect(),
        last: recovered.last,
    };
    serde_json::to_string(&membership)
        .map_err(|error| StoreError::Failed(format!("the membership cannot be written: {error}")))
}

/// The reverse of [`write()`].
///
/// # Errors
/// When any of it cannot be believed.
pub fn read(text: &str) -> Result<Recovered, StoreError> {
    let wrong = |error: String| {
        StoreError::Failed(format!(
            "the membership that was handed over is wrong: {error}"
        ))
    };
    let membership: Membership =
        serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
    let members = membership.members.into_iter().map(Member::remembered);
    Ok(Recovered {
        members: members.collect::<Result<_, _>>().map_err(wrong)?,
        last: membership.last,
    })
}

impl From<&Remembered> for Member {
    fn from(remembered: &Remembered) -> Self {
        let instance = &remembered.instance;
        Self {
            service: instance.service.to_string(),
            id: instance.id.to_string(),
            instance: Description::from(instance),
            draining: remembered.draining,
            created: remembered.created,
            modified: remembered.modified,
            registered_at: millis(remembered.registered_at),
            owner: remembered.owner.as_deref().map(str::to_owned),
            fitness: word(remembered.fitness).to_owned(),
        }
    }
}

impl Member {
    fn remembered(self) -> Result<Remembered, String> {
        let about = format!("service {:?} instance {:?}", self.service, self.id);
        let wrong = |error: String| format!("{about}: {error}");
        let service: ServiceName = self
            .service
            .parse()
            .map_err(|error| wrong(format!("{error}")))?;
        let id: InstanceId = self.id.parse().map_err(|error| wrong(format!("{error}")))?;
        Ok(Remembered {
            instance: self.instance.instance(service, id).map_err(wrong)?,
            draining: self.draining,
            created: self.created,
            modified: self.modified,
            registered_at: moment(self.registered_at).unwrap_or(SystemTime::UNIX_EPOCH),
            owner: self.owner.map(Into::into),
            fitness: fitness(&self.fitness),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::registry::fixtures::instance;
    use crate::registry::snapshot::Fitness;

    fn one() -> Recovered {
        let mut instance = instance("web", "a");
        instance.generation = Some(u64::MAX);
        instance.zone = Some("z".to_owned());
        Recovered {
            members: vec![Remembered {
                instance,
                draining: true,
                created: Revision(3),
                modified: Revision(u64::MAX),
                registered_at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_234),
                owner: Some("orders".into()),
                fitness: Fitness::Failing,
            }],
            last: Revision(9),
        }
    }

    #[test]
    fn what_was_written_reads_back() {
        for recovered in [one(), Recovered::default()] {
            let text = write(&recovered).unwrap();
            assert_eq!(read(&text).unwrap(), recovered, "{text}");
            assert!(!text.contains('\n'), "it is one line: {text}");
        }
    }

    #[test]
    fn what_cannot_be_believed_is_refused_with_its_name() {
        let text = write(&one()).unwrap();
        let refused = |text: &str| read(text).unwrap_err().to_string();
        let error = refused(&text.replace("\"web\"", "\"a b\""));
        assert!(error.contains(r#"service "a b" instance "a""#), "{error}");
        refused(&text.replace("draining", "draning"));
        refused(&text[..text.len() - 1]);
    }
}
