//! What the registry tells, over outages.

use std::time::Duration;

use serde::Deserialize;
use tokio::sync::{mpsc, watch};

use crate::cli::remote::Failure;
use crate::client::{Call, Client, Error, Stream};
use crate::names::ServiceName;
use crate::units::format_duration;

use super::figures::Event;
use super::instances::Instance;

/// How long a stream may take to begin, and a list to come.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait before asking again a registry that could not be reached.
const RETRY: Duration = Duration::from_secs(1);

/// Where events come from.
#[derive(Clone, Debug)]
pub(super) struct Feed {
    pub(super) client: Client,
    pub(super) service: Option<ServiceName>,
    pub(super) every: Duration,
}

/// Something to show.
#[derive(Debug)]
pub(super) enum Told {
    /// What goes on.
    Figures(Box<Event>),
    /// Nothing comes, for this reason; it is tried again.
    Lost(String),
    /// The instances of a service, or why they are not known.
    Instances(String, Result<Vec<Instance>, String>),
}

impl Feed {
    /// Opens the stream.
    ///
    /// # Errors
    /// Those of the client.
    pub(super) async fn open(&self) -> Result<Stream, Error> {
        let every = format_duration(self.every);
        let mut query = vec![("every", every.as_str())];
        if let Some(service) = &self.service {
            query.push(("service", service.as_str()));
        }
        let call = Call {
            query: &query,
            patience: PATIENCE,
            ..Call::get("/api/v1/live")
        };
        self.client.follow(call, None).await
    }

    /// Tells what goes on until nobody listens.
    ///
    /// # Errors
    /// When the registry will not have it, now or later.
    pub(super) async fn run(self, to: mpsc::Sender<Told>) -> Result<(), Failure> {
        loop {
            let lost = match self.follow(&to).await {
                Ok(()) => return Ok(()),
                Err(error) if error.may_pass() => error.to_string(),
                Err(error) => return Err(error.into()),
            };
            if to.send(Told::Lost(lost)).await.is_err() {
                return Ok(());
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn follow(&self, to: &mpsc::Sender<Told>) -> Result<(), Error> {
        let mut events = self.open().await?;
        loop {
            let Some(event) = events.next().await? else {
                if to
                    .send(Told::Lost("the registry left".to_owned()))
                    .await
                    .is_err()
                {
                    return Ok(());
                }
                tokio::time::sleep(RETRY).await;
                events = self.open().await?;
                continue;
            };
            let told = match serde_json::from_slice(event.data()) {
                Ok(event) => Told::Figures(Box::new(event)),
                Err(error) => Told::Lost(format!("the registry tells strange things: {error}")),
            };
            if to.send(told).await.is_err() {
                return Ok(());
            }
        }
    }

    /// Tells of the instances of the service that is `wanted`, again and again.
    pub(super) async fn look(
        self,
        mut wanted: watch::Receiver<Option<String>>,
        to: mpsc::Sender<Told>,
    ) {
        loop {
            let service = wanted.borrow_and_update().clone();
            if let Some(service) = &service {
                let told = Told::Instances(service.clone(), self.instances(service).await);
                if to.send(told).await.is_err() {
                    return;
                }
            }
            let rest = async {
                match service {
                    Some(_) => tokio::time::sleep(self.every).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = wanted.changed() => if changed.is_err() { return },
                () = rest => {}
            }
        }
    }

    async fn instances(&self, service: &str) -> Result<Vec<Instance>, String> {
        // Whatever the registry called it, it must be a segment of a path.
        let service: ServiceName = service
            .parse()
            .map_err(|error| format!("its name {error}"))?;
        let path = format!("/api/v1/services/{service}/instances");
        let reply = self.client.get::<Vec<Raw>>(&path, &[], PATIENCE).await;
        let reply = reply.map_err(|error| error.to_string())?;
        Ok(reply.body.into_iter().map(Instance::from).collect())
    }
}

/// An instance as the API gives it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Raw {
    pub(super) id: String,
    pub(super) address: String,
    pub(super) port: Option<u16>,
    pub(super) weight: u64,
    pub(super) zone: Option<String>,
    pub(super) availability: String,
    pub(super) reason: Option<String>,
    pub(super) in_flight: u64,
    pub(super) served: u64,
}
