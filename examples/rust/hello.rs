//! A service that signs in at callboard.
//!
//! ```text
//! Run it:     cargo run --example hello
//! Call it:    curl http://127.0.0.1:8080/hello/world
//! Settings:   CALLBOARD, SERVICE, INSTANCE_ID, PORT, ADDRESS (see examples/README.md)
//! ```
//!
//! To put a service of your own on callboard, keep `Membership` and replace `hello`. It needs
//! `axum`, `reqwest` with `json`, `serde_json`, and `tokio` with
//! `macros, net, rt-multi-thread, signal, time`.

use std::env;
use std::error::Error;
use std::pin::pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::Uri;
use axum::{Json, Router};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

/// The service itself: /health says it is well, anything else says who answered.
async fn hello(instance: String, uri: Uri) -> Json<Value> {
    Json(json!({"language": "rust", "instance": instance, "path": uri.to_string()}))
}

/// Keeps this instance signed in for as long as it lives.
struct Membership {
    client: Client,
    url: String,
    registration: Value,
}

impl Membership {
    fn new(client: Client, url: String, port: u16) -> Result<Self, Box<dyn Error>> {
        let started = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64;
        let mut registration = json!({
            "port": port,
            "lease": {"ttl": "5s"}, // without a heartbeat for this long, callboard doubts us
            "check": {"http": {"path": "/health"}}, // and it asks for itself as well
            "metadata": {"language": "rust"},
            "generation": started, // a late call of an earlier life is refused
        });
        if let Ok(address) = env::var("ADDRESS") {
            registration["address"] = address.into(); // else the one this call comes from
        }
        Ok(Self {
            client,
            url,
            registration,
        })
    }

    async fn stay(&self, leaving: impl Future<Output = ()>) {
        let mut leaving = pin!(leaving);
        let mut renew_after = None; // not signed in yet
        loop {
            let pause = match self.beat(&mut renew_after).await {
                Ok(pause) => pause,
                Err(error) => {
                    eprintln!("callboard: {error}");
                    Duration::from_secs(1) // it is away: keep serving, keep asking
                }
            };
            if timeout(pause, leaving.as_mut()).await.is_ok() {
                return;
            }
        }
    }

    /// Signs in or renews; the time until the next call.
    async fn beat(&self, renew_after: &mut Option<Duration>) -> Result<Duration, Box<dyn Error>> {
        if let Some(pause) = *renew_after {
            let answer = self
                .client
                .put(format!("{}/lease", self.url))
                .send()
                .await?;
            if answer.status() != StatusCode::NOT_FOUND {
                answer.error_for_status()?;
                return Ok(pause);
            }
            *renew_after = None; // callboard does not know us: sign in again
        }
        let answer = self
            .client
            .put(&self.url)
            .json(&self.registration)
            .send()
            .await?;
        if !answer.status().is_success() {
            return Err(format!("{} {}", answer.status(), answer.text().await?).into());
        }
        let member: Value = answer.json().await?;
        let pause = member["lease"]["renew_after"].as_str().and_then(duration);
        *renew_after = Some(pause.ok_or("no lease.renew_after in the answer")?);
        println!("signed in at {}", self.url);
        Ok(renew_after.unwrap_or_default())
    }

    /// Signs out: callboard sends nothing new, and answers when nothing is in flight.
    async fn leave(&self) -> Result<String, reqwest::Error> {
        let request = self.client.delete(format!("{}?drain=10s", self.url));
        request
            .timeout(Duration::from_secs(15))
            .send()
            .await?
            .text()
            .await
    }
}

/// Reads a duration as callboard writes it: 250ms, 4.7s.
fn duration(text: &str) -> Option<Duration> {
    let (number, scale) = match text.strip_suffix("ms") {
        Some(number) => (number, 0.001),
        None => (text.strip_suffix('s')?, 1.0),
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * scale).ok()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let setting = |key: &str, fallback: &str| env::var(key).unwrap_or_else(|_| fallback.to_owned());
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or("rust".to_owned());
    let instance = setting(
        "INSTANCE_ID",
        &format!("{}-{}", host.trim(), std::process::id()),
    );
    let url = format!(
        "{}/api/v1/services/{}/instances/{instance}",
        setting("CALLBOARD", "http://127.0.0.1:8500"),
        setting("SERVICE", "hello"),
    );
    let listener =
        tokio::net::TcpListener::bind(format!("0.0.0.0:{}", setting("PORT", "0"))).await?;
    // callboard builds reqwest without a provider for TLS; with its own default this line can go.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::builder().timeout(Duration::from_secs(3)).build()?;
    let membership = Membership::new(client, url, listener.local_addr()?.port())?;
    let service = Router::new().fallback(move |uri: Uri| hello(instance.clone(), uri));
    tokio::spawn(async move { axum::serve(listener, service).await });

    let (mut term, mut int) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let leaving = async {
        tokio::select! { _ = term.recv() => {} _ = int.recv() => {} }
    };
    membership.stay(leaving).await; // listens first, then signs in
    match membership.leave().await {
        Ok(answer) => println!("left: {answer}"),
        Err(error) => eprintln!("callboard: {error}; the lease will run out"),
    }
    Ok(())
}
