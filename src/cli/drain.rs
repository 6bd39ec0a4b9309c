//! `callboard drain`: takes an instance out of traffic, and waits until it has nothing to do.

use std::time::{Duration, Instant};

use clap::Args;
use reqwest::Method;

use crate::client::{Answer, Call, Client, Error};
use crate::units::{format_duration, parse_duration};

use super::instances;
use super::remote::{Ask, Failure, Remote};
use super::screen::Screen;
use super::steer::Target;

/// The time between two looks, the first and the longest.
const LOOKS: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(1)];
/// How long a registry may be away while it is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// What to drain.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    target: Target,

    /// Return when it has no request in flight any more, or with exit code 3 after this time
    /// [default without TIME: wait as long as it takes]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    wait: Option<Option<Duration>>,
}

/// What is seen of an instance that drains.
enum Seen {
    /// It has so many requests in flight; of one that is about to leave that is not known.
    Busy(Option<u64>),
    /// It has none; what the API says of it.
    Idle(Answer),
    /// It left.
    Gone,
    /// It takes requests again.
    Resumed,
}

impl Ask for Arguments {
    fn remote(&self) -> &Remote {
        &self.target.remote
    }

    async fn ask(&self, client: &Client, screen: &mut Screen<'_>) -> Result<(), Failure> {
        let path = format!("{}/drain", self.target.path());
        let call = Call::new(Method::PUT, &path);
        let answer = self.target.call(client, call).await?;
        let instance = instances::read(client, &answer, &self.target.id)?;
        let busy = instance.in_flight.unwrap_or_default();
        let Some(limit) = self.wait else {
            let words = format!("drains, with {busy} requests in flight");
            return self.target.tell(screen, &answer, &words);
        };
        if busy > 0 {
            screen.note(&format!(
                "{} drains, with {busy} requests in flight",
                self.target.name()
            ));
        }
        self.wait(limit, client, screen).await
    }
}

impl Arguments {
    async fn wait(
        &self,
        limit: Option<Duration>,
        client: &Client,
        screen: &mut Screen<'_>,
    ) -> Result<(), Failure> {
        let (name, began) = (self.target.name(), Instant::now());
        let [mut pause, longest] = LOOKS;
        let mut heard = began;
        loop {
            let mut busy = None;
            match self.look(client).await {
                Ok(Seen::Busy(requests)) => (heard, busy) = (Instant::now(), requests),
                Ok(Seen::Idle(body)) => {
                    let took = in_tenths(began.elapsed());
                    let words = format!("is drained: nothing is in flight after {took}");
                    return self.target.tell(screen, &body, &words);
                }
                Ok(Seen::Gone) => {
                    screen.note(&format!("{name} has left meanwhile"));
                    return Ok(());
                }
                Ok(Seen::Resumed) => {
                    let problem =
                        format!("{name} does not drain any more (expected nobody to end it)");
                    return Err(Failure::InVain(problem));
                }
                Err(error) if error.may_pass() && heard.elapsed() < PATIENCE => {}
                Err(error) => return Err(error.into()),
            }
            let left = limit.map(|limit| limit.saturating_sub(began.elapsed()));
            if left == Some(Duration::ZERO) {
                return Err(Failure::TimeUp(self.time_is_up(limit, busy)));
            }
            tokio::time::sleep(left.map_or(pause, |left| left.min(pause))).await;
            pause = (pause * 2).min(longest);
        }
    }

    async fn look(&self, client: &Client) -> Result<Seen, Error> {
        let path = self.target.path();
        let answer = match client.call(Call::get(&path)).await {
            Ok(answer) => answer,
            Err(error) if error.is_unknown() => return Ok(Seen::Gone),
            Err(error) => return Err(error),
        };
        let instance = instances::read(client, &answer, &self.target.id)?;
        Ok(match instance.in_flight {
            _ if !instance.draining => Seen::Resumed,
            Some(0) => Seen::Idle(answer),
            busy => Seen::Busy(busy),
        })
    }

    fn time_is_up(&self, limit: Option<Duration>, busy: Option<u64>) -> String {
        let busy = busy.map_or_else(|| "some".to_owned(), |busy| busy.to_string());
        format!(
            "{} still has {busy} requests in flight after {}, and goes on draining",
            self.target.name(),
            format_duration(limit.unwrap_or_default())
        )
    }
}

/// Nobody wants to know it better.
fn in_tenths(time: Duration) -> String {
    format!("{:.1}s", time.as_secs_f64())
}
