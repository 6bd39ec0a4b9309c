//! `callboard instances`: the instances of a service, or one of them in full.

pub(super) mod shape;

use std::time::SystemTime;

use clap::Args;
use clap::builder::PossibleValuesParser;

use crate::client::{Answer, Call, Client, Error};
use crate::names::{InstanceId, ServiceName};
use crate::units::moment::parse_moment;

use super::facts;
use super::remote::{Ask, Failure, Remote};
use super::screen::Screen;
use super::suggest::{self, Among};
use super::table::Table;
use shape::{HEADINGS, Instance, PRIORITY};

/// The availabilities there are.
const AVAILABILITIES: [&str; 7] = [
    "starting",
    "ready",
    "suspect",
    "draining",
    "unhealthy",
    "ejected",
    "down",
];

/// Which instances.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The service
    #[arg(value_name = "SERVICE")]
    service: ServiceName,

    /// Everything about this instance
    #[arg(value_name = "ID", conflicts_with_all = ["status", "tag", "zone", "at"])]
    id: Option<InstanceId>,

    /// Only those of this availability; of several, any
    #[arg(long, value_name = "STATUS", value_parser = PossibleValuesParser::new(AVAILABILITIES))]
    status: Vec<String>,

    /// Only those with this tag; of several, all
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,

    /// Only those in this zone; of several, any
    #[arg(long, value_name = "ZONE")]
    zone: Vec<String>,

    /// Those that were registered at this time (2026-11-22T20:00:00Z), or this long ago (15m)
    #[arg(long, value_name = "WHEN", value_parser = moment, conflicts_with = "status")]
    at: Option<String>,

    /// JSON, as the API gives it
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    remote: Remote,
}

impl Ask for Arguments {
    fn remote(&self) -> &Remote {
        &self.remote
    }

    async fn ask(&self, client: &Client, screen: &mut Screen<'_>) -> Result<(), Failure> {
        match &self.id {
            Some(id) => self.one(id, client, screen).await,
            None => self.list(client, screen).await,
        }
    }
}

impl Arguments {
    async fn list(&self, client: &Client, screen: &mut Screen<'_>) -> Result<(), Failure> {
        let path = format!("/api/v1/services/{}/instances", self.service);
        let query = self.query();
        let call = Call {
            query: &query,
            ..Call::get(&path)
        };
        let answer = client.call(call).await?;
        let instances: Vec<Instance> = client.read(&answer)?;
        if self.json {
            return Ok(screen.json(&answer.body)?);
        }
        if instances.is_empty() {
            let none = self.none(!query.is_empty(), client).await;
            screen.note(&none);
        }
        let mut table = Table::new(HEADINGS).sparse().by(PRIORITY).on(screen.look);
        Ok(table.write(screen.out, instances.iter().map(Instance::row))?)
    }

    fn query(&self) -> Vec<(&str, &str)> {
        [
            ("status", &self.status),
            ("tag", &self.tag),
            ("zone", &self.zone),
        ]
        .into_iter()
        .flat_map(|(name, values)| values.iter().map(move |value| (name, value.as_str())))
        .chain(self.at.as_deref().map(|at| ("at", at)))
        .collect()
    }

    /// Says that there are none, and what may have been meant.
    async fn none(&self, filtered: bool, client: &Client) -> String {
        let service = &self.service;
        if filtered {
            return format!("service {service} has no such instances");
        }
        let meant = suggest::meant(client, service.as_str(), Among::Services).await;
        format!("service {service} has no instances{meant}")
    }

    async fn one(
        &self,
        id: &InstanceId,
        client: &Client,
        screen: &mut Screen<'_>,
    ) -> Result<(), Failure> {
        let path = path(&self.service, id);
        let answer = match client.call(Call::get(&path)).await {
            Ok(answer) => answer,
            Err(error) => return Err(unknown(error, client, &self.service, id).await),
        };
        let instance = read(client, &answer, id)?;
        if self.json {
            return Ok(screen.json(&answer.body)?);
        }
        screen.line(&format!("{}/{}", instance.service, instance.id))?;
        Ok(facts::write(screen, 2, &instance.facts())?)
    }
}

/// The instance that an answer tells of. A page of JSON that tells of another one, or of none, is no
/// callboard's.
pub(super) fn read(client: &Client, answer: &Answer, id: &InstanceId) -> Result<Instance, Error> {
    let instance: Instance = client.read(answer)?;
    if instance.id == id.as_str() {
        return Ok(instance);
    }
    let cause = format!("it told of {:?} when asked for {id}", instance.id);
    Err(client.strange(cause))
}

/// Where the API has an instance.
pub(super) fn path(service: &ServiceName, id: &InstanceId) -> String {
    // Names hold nothing that a path would have to encode.
    format!("/api/v1/services/{service}/instances/{id}")
}

/// The failure of a call about an instance, with what may have been meant if there is no such one.
pub(super) async fn unknown(
    error: Error,
    client: &Client,
    service: &ServiceName,
    id: &InstanceId,
) -> Failure {
    let among = Among::Instances(service.as_str());
    suggest::failure(error, client, id.as_str(), among).await
}

fn moment(text: &str) -> Result<String, String> {
    parse_moment(text, SystemTime::now()).map(|_| text.to_owned())
}
