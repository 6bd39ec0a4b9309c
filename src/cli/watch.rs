//! `callboard watch`: the membership as it changes, a line for every change.

mod known;

use std::time::{Duration, SystemTime};

use clap::Args;
use serde_json::value::RawValue;

use crate::client::{Call, Client};
use crate::names::ServiceName;
use crate::sse::Event;

use super::remote::{Ask, Failure, Remote};
use super::screen::Screen;
use super::table::Table;
use known::Known;

/// How long to wait before asking again a registry that could not be reached.
const RETRY: Duration = Duration::from_secs(1);

/// What to follow.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Only this service
    #[arg(value_name = "SERVICE")]
    service: Option<ServiceName>,

    /// JSON, a line for every event: its name, its id (the index) and its data, as the API gives them
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
        let mut teller = Teller::new(self.json, screen);
        let mut last = None;
        let mut away = true;
        loop {
            match self
                .follow(client, &mut teller, screen, &mut last, &mut away)
                .await
            {
                // One that was never there is not waited for.
                Err(Failure::Registry { error }) if error.may_pass() && teller.begun => {
                    if !away {
                        screen.note(&format!("{error}; trying again"));
                    }
                }
                Err(failure) => return Err(failure),
                Ok(()) => screen.note("the registry has ended the stream; trying again"),
            }
            away = true;
            tokio::time::sleep(RETRY).await;
        }
    }
}

impl Arguments {
    /// Tells of one connection, until the registry ends it.
    async fn follow(
        &self,
        client: &Client,
        teller: &mut Teller,
        screen: &mut Screen<'_>,
        last: &mut Option<String>,
        away: &mut bool,
    ) -> Result<(), Failure> {
        let service = self.service.as_ref().map(ServiceName::as_str);
        let query: Vec<_> = service
            .map(|service| ("service", service))
            .into_iter()
            .collect();
        let call = Call {
            query: &query,
            ..Call::get("/api/v1/watch")
        };
        let mut stream = client.follow(call, last.as_deref()).await?;
        while let Some(event) = stream.next().await? {
            *away = false;
            teller.tell(&event, client, screen)?;
            if !event.id.is_empty() {
                *last = Some(event.id);
            }
        }
        Ok(())
    }
}

/// How events are told.
struct Teller {
    json: bool,
    begun: bool,
    known: Known,
    table: Table<5>,
}

impl Teller {
    fn new(json: bool, screen: &Screen<'_>) -> Self {
        Self {
            json,
            begun: false,
            known: Known::default(),
            table: Table::new(known::HEADINGS)
                .by(known::PRIORITY)
                .on(screen.look),
        }
    }

    fn tell(
        &mut self,
        event: &Event,
        client: &Client,
        screen: &mut Screen<'_>,
    ) -> Result<(), Failure> {
        let unreadable = |error: serde_json::Error| {
            client.strange(format!("its event {:?}: {error}", event.name))
        };
        let first = !std::mem::replace(&mut self.begun, true);
        if self.json {
            let line = line(event).map_err(unreadable)?;
            return Ok(screen.json(line.as_bytes())?);
        }
        let changes = self
            .known
            .take(&event.name, event.data())
            .map_err(unreadable)?;
        if first && changes.is_empty() {
            screen.note("there are no instances yet");
        }
        let at = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let rows = changes.into_iter().map(|change| change.row(&at));
        Ok(self.table.write(screen.out, rows)?)
    }
}

/// An event as one line of JSON.
fn line(event: &Event) -> Result<String, serde_json::Error> {
    let data: &RawValue = serde_json::from_slice(event.data())?;
    let name = serde_json::to_string(&event.name)?;
    let id = event
        .id
        .parse::<u64>()
        .map_or("null".to_owned(), |id| id.to_string());
    Ok(format!("{{\"event\":{name},\"id\":{id},\"data\":{data}}}"))
}
