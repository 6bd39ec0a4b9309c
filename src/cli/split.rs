//! `callboard split`: how a route's requests are split among services, shown and changed.

use std::fmt;
use std::str::FromStr;

use clap::Args;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::client::{Answer, Call, Client, Error, segment};
use crate::names::{InstanceId, ServiceName};

use super::remote::{Ask, Failure, Remote};
use super::screen::Screen;
use super::suggest::{self, Among};
use super::table::Table;
use super::table::cell::Cell;

/// The heaviest a side can be.
const MAX_WEIGHT: u32 = 65_535;

/// Which split, and what to make of it.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The name of the route
    // It is made of the same characters as an instance's.
    #[arg(value_name = "ROUTE")]
    route: InstanceId,

    /// Where its requests are to go, all of them; a side without a weight has 1
    #[arg(value_name = "SERVICE=WEIGHT", conflicts_with = "reset")]
    sides: Vec<Side>,

    /// Go back to the configuration's split
    #[arg(long)]
    reset: bool,

    /// Send requests also to services that nobody has registered for yet
    #[arg(long, requires = "sides")]
    force: bool,

    /// JSON, as the API gives it; nothing where it gives nothing
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    remote: Remote,
}

/// One side of a split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Side {
    service: String,
    weight: u32,
}

#[derive(Debug, Deserialize)]
struct Split {
    split: Vec<Side>,
    #[serde(default)]
    overridden: bool,
}

impl Ask for Arguments {
    fn remote(&self) -> &Remote {
        &self.remote
    }

    async fn ask(&self, client: &Client, screen: &mut Screen<'_>) -> Result<(), Failure> {
        let path = format!("/api/v1/routes/{}/split", self.route);
        let seen = self.call(client, Call::get(&path)).await?;
        let before: Split = client.read(&seen)?;
        if !self.force {
            self.check_services(client, &before.split).await?;
        }
        let change = match (self.sides.as_slice(), self.reset) {
            ([], false) => return self.show(screen, &seen, &before),
            ([], true) => Call::new(Method::DELETE, &path),
            (sides, _) => Call::new(Method::PUT, &path).json(&json!({"split": sides})),
        };
        // Nobody else's step is undone unseen.
        let if_match = seen.tag.as_deref();
        let done = self.call(client, Call { if_match, ..change }).await?;
        if self.json {
            return Ok(screen.json(&done.body)?);
        }
        let after: Split = match self.reset {
            true => client.read(&self.call(client, Call::get(&path)).await?)?,
            false => client.read(&done)?,
        };
        let (route, was, is) = (&self.route, in_words(&before.split), in_words(&after.split));
        Ok(screen.line(&format!("{route}: {was} → {is}"))?)
    }
}

impl Arguments {
    /// A split is in force at once, so a slip of the pen would cost requests.
    ///
    /// # Errors
    /// When a side that is new is for a service that the registry does not know.
    async fn check_services(&self, client: &Client, before: &[Side]) -> Result<(), Failure> {
        let is_new = |side: &&Side| {
            side.weight > 0 && before.iter().all(|known| known.service != side.service)
        };
        for Side { service, .. } in self.sides.iter().filter(is_new) {
            let path = format!("/api/v1/services/{}", segment(service));
            if let Err(error) = client.call(Call::get(&path)).await {
                return Err(
                    match suggest::failure(error, client, service, Among::Services).await {
                        Failure::Unknown(said) => {
                            Failure::Unknown(format!("{said} (--force sets it nevertheless)"))
                        }
                        other => other,
                    },
                );
            }
        }
        Ok(())
    }

    async fn call(&self, client: &Client, call: Call<'_>) -> Result<Answer, Failure> {
        match client.call(call).await {
            Ok(answer) => Ok(answer),
            Err(Error::Refused { status: 412, .. }) => Err(Failure::InVain(format!(
                "the split of {} has been changed by somebody else meanwhile (expected nobody to; \
                 look at it again)",
                self.route
            ))),
            Err(error) => {
                Err(suggest::failure(error, client, self.route.as_str(), Among::Routes).await)
            }
        }
    }

    fn show(&self, screen: &mut Screen<'_>, seen: &Answer, split: &Split) -> Result<(), Failure> {
        if self.json {
            return Ok(screen.json(&seen.body)?);
        }
        if split.overridden {
            screen.note("the split is not the configuration's; --reset goes back to that");
        }
        let all: u64 = split.split.iter().map(|side| u64::from(side.weight)).sum();
        let rows = split.split.iter().map(|side| side.row(all));
        let mut table = Table::new(["SERVICE", "WEIGHT", "SHARE"]).on(screen.look);
        Ok(table.write(screen.out, rows)?)
    }
}

impl Side {
    fn row(&self, all: u64) -> [Cell; 3] {
        let share = 100.0 * f64::from(self.weight) / all.max(1) as f64;
        [
            self.service.as_str().into(),
            self.weight.to_string().into(),
            format!("{:.1}%", share).into(),
        ]
    }
}

impl FromStr for Side {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (service, weight) = text.split_once('=').unwrap_or((text, "1"));
        let service = service.parse::<ServiceName>();
        let service = service.map_err(|error| format!("the service {error}"))?;
        let weight = weight.parse().ok().filter(|weight| *weight <= MAX_WEIGHT);
        let weight = weight.ok_or_else(|| {
            format!("expected a weight from 0 to {MAX_WEIGHT}, as in {service}=5")
        })?;
        Ok(Self {
            service: service.to_string(),
            weight,
        })
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.service, self.weight)
    }
}

/// A split the way it is typed.
pub(super) fn in_words(split: &[Side]) -> String {
    let sides: Vec<_> = split.iter().map(Side::to_string).collect();
    sides.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_side_is_a_service_and_its_weight() {
        for (text, read) in [
            ("Orders=95", Ok("orders=95")),
            ("orders", Ok("orders=1")),
            ("orders=0", Ok("orders=0")),
            (
                "orders=",
                Err("expected a weight from 0 to 65535, as in orders=5"),
            ),
            ("orders=70000", Err("expected a weight from 0 to 65535")),
            ("orders=-1", Err("expected a weight")),
            ("or/ders=1", Err("the service holds '/'")),
            ("=1", Err("the service is empty")),
        ] {
            match (text.parse::<Side>(), read) {
                (Ok(side), Ok(read)) => assert_eq!(side.to_string(), read),
                (Err(told), Err(expected)) => assert!(told.contains(expected), "{text}: {told}"),
                (other, _) => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_row_tells_the_share() {
        let side: Side = "orders=1".parse().unwrap();
        assert_eq!(side.row(3)[2].text(false), "33.3%");
        assert_eq!(side.row(0)[2].text(false), "100.0%");
    }
}
