//! `callboard top`: what goes on right now, as top(1) shows processes.

mod feed;
mod figures;
mod instances;
mod keys;
mod model;
mod plain;
mod screen;
mod tables;
mod terminal;

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use clap::Args;

use crate::names::ServiceName;
use crate::units::parse_duration;

use super::remote::{Failure, Remote, block_on};
use super::screen::{Color, Look};

/// What to show.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Only this service
    #[arg(long, value_name = "NAME")]
    service: Option<ServiceName>,

    /// The time between two looks, 1s to 1m
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    interval: Duration,

    /// Print one table and end; so does output that is no terminal
    #[arg(long)]
    once: bool,

    /// JSON, as the API gives it: an event a line, until interrupted; with --once the first
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    remote: Remote,
}

/// Shows what is asked for, on the terminal or on `out`.
///
/// # Errors
/// Any [`Failure`].
pub(super) fn run(
    asked: &Arguments,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<(), Failure> {
    let client = asked.remote.client()?;
    let feed = feed::Feed {
        client,
        service: asked.service.clone(),
        every: asked.interval,
    };
    let look = Look::of_stdout(Color::Auto);
    let sees = io::stdout().is_terminal() && io::stdin().is_terminal();
    match (asked.json, asked.once || !sees) {
        (true, _) => block_on(plain::lines(&feed, asked.once, out)),
        (false, true) => block_on(plain::table(&feed, look, out, err)),
        (false, false) => block_on(terminal::show(feed)),
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = parse_duration(text)?;
    if (Duration::from_secs(1)..=Duration::from_secs(60)).contains(&interval) {
        Ok(interval)
    } else {
        Err("is out of range (expected 1s to 1m)".to_owned())
    }
}
