//! `callboard journal`: the history of a running registry, as a log is read: oldest first, newest at
//! the bottom.

mod entry;
mod reader;

use std::io::Write;
use std::time::{Duration, SystemTime};

use clap::Args;

use crate::client::Client;
use crate::names::{InstanceId, ServiceName};
use crate::units::moment::parse_moment;

use super::escape;
use super::remote::{Ask, Failure, Remote};
use super::screen::{Look, Screen};
use super::table::Table;
use entry::Entry;
use reader::{Newest, Place, Reader};

/// How many entries are told unless it is said.
const DEFAULT_LIMIT: u32 = 100;
/// How many of those that were there before are told when following.
const DEFAULT_LIMIT_FOLLOWING: u32 = 10;

/// How long to wait before asking again a registry that could not be reached.
const RETRY: Duration = Duration::from_secs(1);

/// What to tell of the journal.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Only of this service
    #[arg(value_name = "SERVICE")]
    service: Option<ServiceName>,

    /// Only of instances with this id
    #[arg(long, value_name = "ID")]
    id: Option<InstanceId>,

    /// Not before this time (2026-11-22T20:00:00Z), or this long ago (15m)
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    since: Option<String>,

    /// Not after this time, or this long ago
    #[arg(long, value_name = "WHEN", value_parser = moment, conflicts_with = "follow")]
    until: Option<String>,

    /// The newest N only [default: 100; with --follow 10]
    #[arg(long, short = 'n', value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,

    /// JSON, as the API gives it: one array, or with --follow one entry a line
    #[arg(long)]
    json: bool,

    /// Then wait for what comes, until interrupted
    #[arg(long, short)]
    follow: bool,

    #[command(flatten)]
    remote: Remote,
}

impl Ask for Arguments {
    fn remote(&self) -> &Remote {
        &self.remote
    }

    async fn ask(&self, client: &Client, screen: &mut Screen<'_>) -> Result<(), Failure> {
        tell(self, client, screen).await
    }
}

async fn tell(asked: &Arguments, client: &Client, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let reader = Reader::new(client, asked.service.as_ref(), asked.id.as_ref());
    let default = match asked.follow {
        true => DEFAULT_LIMIT_FOLLOWING,
        false => DEFAULT_LIMIT,
    };
    let limit = asked.limit.unwrap_or(default);
    let bounds = [("since", &asked.since), ("until", &asked.until)].into_iter();
    let bounds = bounds.filter_map(|(name, value)| Some((name, value.clone()?)));
    let bounds: Vec<_> = bounds.collect();
    let newest = reader.newest(&bounds, limit).await?;
    let Newest { entries, place, .. } = &newest;
    let mut teller = Teller::new(asked, screen.look);
    teller.tell(screen.out, entries)?;
    if asked.follow {
        return follow(&reader, *place, &mut teller, screen).await;
    }
    if newest.more && !asked.json {
        screen.note(&format!("these are the newest {limit}; --limit tells more"));
    }
    if entries.is_empty() && !asked.json {
        screen.note("the journal has no such entry");
    }
    Ok(())
}

/// Tells what comes, over outages and restarts of the registry too.
async fn follow(
    reader: &Reader<'_>,
    mut place: Place,
    teller: &mut Teller,
    screen: &mut Screen<'_>,
) -> Result<(), Failure> {
    let mut away = false;
    loop {
        match reader.newer(&mut place).await {
            Ok(entries) => {
                away = false;
                teller.tell(screen.out, &entries)?;
            }
            Err(error) if error.may_pass() => {
                if !away {
                    screen.note(&format!("{error}; trying again"));
                }
                away = true;
                tokio::time::sleep(RETRY).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// How entries are written.
enum Teller {
    Table(Box<Table<6>>),
    Array,
    Lines,
}

impl Teller {
    fn new(asked: &Arguments, look: Look) -> Self {
        match (asked.json, asked.follow) {
            (false, _) => {
                let table = Table::new(entry::HEADINGS).by(entry::PRIORITY).on(look);
                Self::Table(Box::new(table))
            }
            (true, false) => Self::Array,
            (true, true) => Self::Lines,
        }
    }

    fn tell(&mut self, out: &mut dyn Write, entries: &[Entry]) -> Result<(), Failure> {
        match self {
            Self::Table(table) => table.write(out, entries.iter().map(Entry::row))?,
            Self::Array => {
                let lines: Vec<_> = entries.iter().map(json).collect();
                writeln!(out, "[{}]", lines.join(",\n "))?;
            }
            Self::Lines => {
                for entry in entries {
                    writeln!(out, "{}", json(entry))?;
                }
            }
        }
        Ok(out.flush()?)
    }
}

fn json(entry: &Entry) -> String {
    escape::json(&entry.json().to_string()).into_owned()
}

fn moment(text: &str) -> Result<String, String> {
    parse_moment(text, SystemTime::now()).map(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        journal: Arguments,
    }

    fn parse(line: &str) -> Result<Arguments, String> {
        let words = std::iter::once("journal").chain(line.split_whitespace());
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        Ok(line.journal)
    }

    #[test]
    fn the_arguments_narrow_what_is_told() {
        let asked = parse("Web --id web-1 --since 1h --until 2026-11-22T20:00:00Z -n 5").unwrap();
        assert_eq!(asked.service.unwrap().as_str(), "web");
        assert_eq!(asked.id.unwrap().as_str(), "web-1");
        assert_eq!(asked.since.as_deref(), Some("1h"));
        assert_eq!(asked.limit, Some(5));
    }

    #[test]
    fn wrong_arguments_say_what_was_expected() {
        for (line, expected) in [
            ("--since yesterday", "expected a time with its zone"),
            ("--id a/b", "expected 1 to 128 of"),
            ("--limit 0", "0 is not in 1.."),
            ("--follow --until 1m", "cannot be used with"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(expected), "{line}: {error}");
        }
    }

    #[test]
    fn an_array_of_nothing_is_still_an_array() {
        let mut out = Vec::new();
        Teller::Array.tell(&mut out, &[]).unwrap();
        assert_eq!(out, b"[]\n");
    }
}
