//! `callboard explain`: why a request went where it went.

mod shape;
mod story;

use clap::Args;
use serde::de::DeserializeOwned;

use crate::client::{Answer, Call, Client, Error, segment};
use crate::names::ServiceName;

use super::remote::{Ask, Failure, Remote};
use super::screen::Screen;
use super::table::Table;
use shape::{Explanation, Recent};

/// The longest id that is asked for.
const MAX_ID: usize = 1_024;

/// Which request.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The request, by its X-Request-Id; without it, the requests that are known
    #[arg(value_name = "REQUEST-ID", value_parser = id, conflicts_with_all = ["service", "status", "limit"])]
    id: Option<String>,

    /// Only requests to this service
    #[arg(long, value_name = "SERVICE")]
    service: Option<ServiceName>,

    /// Only requests that were answered with this status
    #[arg(long, value_name = "STATUS", value_parser = clap::value_parser!(u16).range(100..=599))]
    status: Option<u16>,

    /// The newest N only [default: as many as the registry gives]
    #[arg(long, short = 'n', value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,

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
    async fn one(&self, id: &str, client: &Client, screen: &mut Screen<'_>) -> Result<(), Failure> {
        let path = format!("/api/v1/explain/{}", segment(id));
        let answer = client.call(Call::get(&path)).await?;
        let explanation: Explanation = read(client, &answer)?;
        if explanation.id != id {
            let cause = format!("it told of {:?} when asked for {id}", explanation.id);
            return Err(client.strange(cause).into());
        }
        if self.json {
            return Ok(screen.json(&answer.body)?);
        }
        Ok(story::tell(&explanation, screen)?)
    }

    async fn list(&self, client: &Client, screen: &mut Screen<'_>) -> Result<(), Failure> {
        let service = self.service.as_ref().map(ToString::to_string);
        let status = self.status.map(|status| status.to_string());
        let limit = self.limit.map(|limit| limit.to_string());
        let query = [
            ("service", &service),
            ("status", &status),
            ("limit", &limit),
        ];
        let query = query.into_iter();
        let query: Vec<_> = query
            .filter_map(|(name, value)| Some((name, value.as_deref()?)))
            .collect();
        let call = Call {
            query: &query,
            ..Call::get("/api/v1/explain")
        };
        let answer = client.call(call).await?;
        let mut recent: Vec<Recent> = read(client, &answer)?;
        if self.json {
            return Ok(screen.json(&answer.body)?);
        }
        if recent.is_empty() {
            screen.note(
                "no such request is known; telemetry.explain in the configuration says which are",
            );
        }
        // The newest at the bottom, as logs are read.
        recent.reverse();
        let mut table = Table::new(shape::HEADINGS).sparse().on(screen.look);
        Ok(table.write(screen.out, recent.iter().map(Recent::row))?)
    }
}

fn read<T: DeserializeOwned>(client: &Client, answer: &Answer) -> Result<T, Error> {
    shape::read(client.read(answer)?).map_err(|error| client.strange(error.to_string()))
}

/// A request's id, which clients may choose.
fn id(text: &str) -> Result<String, String> {
    match text {
        "" => Err("is empty (expected a request's id)".to_owned()),
        "." | ".." => Err("is no id (a URL path cannot carry it)".to_owned()),
        _ if text.len() > MAX_ID => Err(format!("is too long (expected at most {MAX_ID} bytes)")),
        _ => Ok(text.to_owned()),
    }
}
