//! What goes on, for programs and for output that is no terminal.

use std::io::Write;
use std::time::Duration;

use crate::cli::escape;
use crate::cli::remote::{Failure, note};
use crate::cli::screen::Look;
use crate::cli::table::Table;
use crate::cli::table::fit::Priority;
use crate::client::{Error, Stream};

use super::feed::Feed;
use super::figures::{Event, Row, rate, time};

/// How long to wait before asking again a registry that could not be reached.
const RETRY: Duration = Duration::from_secs(1);

/// Which columns give way.
const PRIORITY: Priority = Priority {
    dispensable: &[4, 3, 7, 6, 5, 2, 1],
    whole: Some(8),
};

/// Prints one table, the busiest services first.
///
/// # Errors
/// Any [`Failure`].
pub(super) async fn table(
    feed: &Feed,
    look: Look,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<(), Failure> {
    let data = first(&mut feed.open().await?).await?;
    let event: Event = serde_json::from_slice(&data).map_err(|error| strange(error.to_string()))?;
    let mut services = event.services;
    services.sort_by(|a, b| b.figures.rate.total_cmp(&a.figures.rate));
    if services.is_empty() {
        note(err, "no service has instances or requests now");
    }
    let table = Table::new([
        "SERVICE",
        "RATE",
        "ERRORS",
        "P50",
        "P90",
        "P99",
        "FLYING",
        "INSTANCES",
        "AVAILABILITY",
    ]);
    let mut table = table.by(PRIORITY).on(look);
    table.write(out, services.iter().map(cells))?;
    Ok(())
}

/// Prints events as they come, each on a line of its own; only the first with `once`.
///
/// # Errors
/// Any [`Failure`].
pub(super) async fn lines(feed: &Feed, once: bool, out: &mut dyn Write) -> Result<(), Failure> {
    let mut events = feed.open().await?;
    let mut data = first(&mut events).await?;
    loop {
        let text = std::str::from_utf8(&data).map_err(|error| strange(error.to_string()))?;
        writeln!(out, "{}", escape::json(text))?;
        out.flush()?;
        if once {
            return Ok(());
        }
        data = loop {
            match first(&mut events).await {
                Ok(data) => break data,
                Err(error) if !error.may_pass() => return Err(error.into()),
                Err(_) => tokio::time::sleep(RETRY).await,
            }
            match feed.open().await {
                Ok(again) => events = again,
                Err(error) if error.may_pass() => {}
                Err(error) => return Err(error.into()),
            }
        };
    }
}

fn cells(row: &Row) -> [String; 9] {
    let figures = &row.figures;
    [
        row.service.clone(),
        rate(figures.rate),
        rate(figures.errors),
        time(figures.p50),
        time(figures.p90),
        time(figures.p99),
        figures.in_flight.to_string(),
        row.instances.to_string(),
        row.availability(),
    ]
}

/// The next event.
async fn first(events: &mut Stream) -> Result<Vec<u8>, Error> {
    let ended = || Error::Unreachable {
        url: "the registry".to_owned(),
        cause: "it left".to_owned(),
    };
    let event = events.next().await?.ok_or_else(ended)?;
    Ok(event.data().to_vec())
}

fn strange(cause: String) -> Failure {
    let url = "the registry".to_owned();
    Error::Strange { url, cause }.into()
}
