//! `callboard undrain`, `weight` and `deregister`: one call about one instance each.

use std::time::Duration;

use clap::Args;
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use crate::client::{Answer, Call, Client};
use crate::names::{InstanceId, ServiceName};
use crate::units::{format_duration, parse_duration};

use super::instances;
use super::remote::{Ask, Failure, Remote};
use super::screen::Screen;

/// The longest a registry waits for a drain.
const MAX_DRAIN: Duration = Duration::from_secs(60 * 60);
/// How much longer than it was to take an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// Which instance, and how to tell of it.
#[derive(Debug, Args)]
pub(super) struct Target {
    /// The service
    #[arg(value_name = "SERVICE")]
    pub(super) service: ServiceName,

    /// The instance
    #[arg(value_name = "ID")]
    pub(super) id: InstanceId,

    /// JSON, as the API gives it; nothing where it gives nothing
    #[arg(long)]
    pub(super) json: bool,

    #[command(flatten)]
    pub(super) remote: Remote,
}

#[derive(Debug, Args)]
pub(super) struct Undrain {
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Args)]
pub(super) struct Weight {
    #[command(flatten)]
    target: Target,

    /// Its share relative to the service's other instances; 0 takes no traffic
    #[arg(value_name = "WEIGHT", value_parser = clap::value_parser!(u32).range(0..=65_535))]
    weight: u32,
}

#[derive(Debug, Args)]
pub(super) struct Deregister {
    #[command(flatten)]
    target: Target,

    /// Give it no new requests first, and wait until it has finished those it has, at most this long
    /// [default without TIME: the drain time of the service]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    drain: Option<Option<Duration>>,
}

impl Target {
    /// The instance in words.
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.service, self.id)
    }

    /// Where the API has it.
    pub(super) fn path(&self) -> String {
        instances::path(&self.service, &self.id)
    }

    /// Makes a call about the instance.
    ///
    /// # Errors
    /// [`Failure::Unknown`] if there is no such instance, and the others of calls.
    pub(super) async fn call(&self, client: &Client, call: Call<'_>) -> Result<Answer, Failure> {
        match client.call(call).await {
            Ok(answer) => Ok(answer),
            Err(error) => Err(instances::unknown(error, client, &self.service, &self.id).await),
        }
    }

    /// Tells what came of it: the answer, or in words.
    pub(super) fn tell(
        &self,
        screen: &mut Screen<'_>,
        answer: &Answer,
        words: &str,
    ) -> Result<(), Failure> {
        match self.json {
            true => screen.json(&answer.body)?,
            false => screen.line(&format!("{} {words}", self.name()))?,
        }
        Ok(())
    }
}

impl Ask for Undrain {
    fn remote(&self) -> &Remote {
        &self.target.remote
    }

    async fn ask(&self, client: &Client, screen: &mut Screen<'_>) -> Result<(), Failure> {
        let path = format!("{}/drain", self.target.path());
        let call = Call::new(Method::DELETE, &path);
        let answer = self.target.call(client, call).await?;
        expect_nothing(client, &answer)?;
        self.target.tell(screen, &answer, "gets requests again")
    }
}

impl Ask for Weight {
    fn remote(&self) -> &Remote {
        &self.target.remote
    }

    async fn ask(&self, client: &Client, screen: &mut Screen<'_>) -> Result<(), Failure> {
        let path = self.target.path();
        let call = Call::new(Method::PATCH, &path).json(&json!({"weight": self.weight}));
        let answer = self.target.call(client, call).await?;
        let instance = instances::read(client, &answer, &self.target.id)?;
        let words = format!("has weight {}", instance.weight);
        self.target.tell(screen, &answer, &words)
    }
}

/// Whoever answers anything at all with a page is not taken for a callboard that did what it was told.
fn expect_nothing(client: &Client, answer: &Answer) -> Result<(), Failure> {
    match answer.body.is_empty() {
        true => Ok(()),
        false => Err(client.strange("its answer has a body".to_owned()).into()),
    }
}

/// How a drain ended.
#[derive(Debug, Deserialize)]
struct Farewell {
    served: u64,
    aborted: u64,
}

impl Ask for Deregister {
    fn remote(&self) -> &Remote {
        &self.target.remote
    }

    async fn ask(&self, client: &Client, screen: &mut Screen<'_>) -> Result<(), Failure> {
        let drain = self
            .drain
            .map(|drain| drain.map_or_else(String::new, format_duration));
        let query: Vec<_> = drain
            .iter()
            .map(|drain| ("drain", drain.as_str()))
            .collect();
        let patience = self
            .drain
            .map(|drain| drain.map_or(MAX_DRAIN, |drain| drain.min(MAX_DRAIN)));
        let path = self.target.path();
        let call = Call {
            query: &query,
            patience: patience.unwrap_or_default() + PATIENCE,
            ..Call::new(Method::DELETE, &path)
        };
        let answer = self.target.call(client, call).await?;
        let words = if self.drain.is_none() {
            expect_nothing(client, &answer)?;
            "is signed out".to_owned()
        } else {
            match client.read(&answer)? {
                Farewell { served, aborted: 0 } => {
                    format!(
                        "is signed out, with nothing in flight; it has served {served} requests"
                    )
                }
                Farewell { served, aborted } => format!(
                    "is signed out, with {aborted} requests in flight; it has served {served} requests"
                ),
            }
        };
        self.target.tell(screen, &answer, &words)
    }
}
