//! Being signed in, the way the examples are: sign in, repeat the heartbeat as often as the answer
//! says, sign in again when callboard does not know the instance, and sign out before ending.

use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::Settings;
use crate::prove::http::{PATIENCE, call};
use crate::units::parse_duration;

/// The pause before callboard is asked again that gave no good answer.
const AGAIN: Duration = Duration::from_millis(200);

pub(super) struct Membership {
    registry: SocketAddr,
    path: String,
    registration: Value,
}

impl Membership {
    pub(super) fn new(settings: &Settings, port: u16) -> Self {
        let Settings {
            registry,
            service,
            id,
            ttl,
            ..
        } = settings;
        let health = format!("/health/{service}/{id}");
        Self {
            registry: *registry,
            path: format!("/api/v1/services/{service}/instances/{id}"),
            registration: json!({
                "port": port,
                "lease": {"ttl": ttl},
                "check": {"http": {"path": health}},
            }),
        }
    }

    /// Stays signed in until `leaving` is over.
    pub(super) async fn stay<T>(&self, leaving: impl Future<Output = T>) {
        let mut leaving = pin!(leaving);
        let mut renew_after = None;
        loop {
            let pause = self.beat(&mut renew_after).await.unwrap_or_else(|error| {
                eprintln!("{}: {error}", self.path);
                AGAIN
            });
            if timeout(pause, leaving.as_mut()).await.is_ok() {
                return;
            }
        }
    }

    /// Signs in or renews; the time until the next call.
    async fn beat(&self, renew_after: &mut Option<Duration>) -> Result<Duration, String> {
        if let Some(pause) = *renew_after {
            let path = format!("{}/lease", self.path);
            let reply = call(self.registry, Method::PUT, &path, None, PATIENCE).await?;
            match reply.status {
                StatusCode::NOT_FOUND => *renew_after = None,
                status if status.is_success() => return Ok(pause),
                status => return Err(format!("heartbeat: {status}")),
            }
        }
        let body = Some(&self.registration);
        let reply = call(self.registry, Method::PUT, &self.path, body, PATIENCE).await?;
        if !reply.status.is_success() {
            let why = String::from_utf8_lossy(&reply.body);
            return Err(format!("sign-in: {} {why}", reply.status));
        }
        let member: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        let pause = member["lease"]["renew_after"].as_str();
        let pause = pause.ok_or("sign-in: no lease.renew_after in the answer")?;
        let pause = parse_duration(pause)?;
        *renew_after = Some(pause);
        Ok(pause)
    }

    /// Signs out: callboard sends nothing new, and answers when nothing is in flight.
    pub(super) async fn leave(&self) -> Result<(), String> {
        let path = format!("{}?drain=10s", self.path);
        let patience = 2 * PATIENCE;
        let reply = call(self.registry, Method::DELETE, &path, None, patience).await?;
        match reply.status.is_success() {
            true => Ok(()),
            false => Err(format!("sign-out: {}", reply.status)),
        }
    }
}
