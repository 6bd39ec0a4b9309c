//! One name and its certificate.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use instant_acme::CertificateIdentifier;
use log::{debug, error, info, warn};
use tokio::time::{sleep, timeout};

use crate::tls;
use crate::units::format_duration;
use crate::units::moment::format_moment;

use super::certificate::Certificate;
use super::certifier::Shared;
use super::client::heeding;
use super::failure::{Failure, Kind, unhurt};
use super::issue::{Stage, Way, issue};
use super::schedule::{Backoff, renewal, suggested};

/// How long one try may take.
const TRY: Duration = Duration::from_secs(5 * 60);
/// The least and the most of the time from a certificate to the next, which is a tenth of its lifetime:
/// no server that wants one renewed that it has just issued, and no clock that is wrong, makes it less.
const PAUSE: RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(24 * 60 * 60);
/// How often the time is compared with the calendar, which may be set.
const GLANCE: Duration = Duration::from_secs(10 * 60);
/// How often the server is asked at least, and at most, when it wants a certificate to be renewed.
const ASK: RangeInclusive<Duration> =
    Duration::from_secs(60 * 60)..=Duration::from_secs(24 * 60 * 60);

/// A name, those who show its certificate, and the certificate once there is one.
pub(super) struct Site {
    name: String,
    pub(super) servers: Vec<Arc<tls::Server>>,
    certificate: Option<Certificate>,
    /// When the server wants the certificate renewed, if it said so.
    suggestion: Option<SystemTime>,
    /// Where in the time for renewal the certificate is renewed, in 0..1.
    draw: f64,
    /// How the name is proven, what worked last first.
    ways: Vec<Way>,
}

impl Site {
    /// With the certificate that is kept, if there is one, which the `servers` show from now on.
    pub(super) fn open(name: String, servers: Vec<Arc<tls::Server>>, shared: &Shared) -> Self {
        let mut site = Self {
            name,
            servers,
            certificate: None,
            suggestion: None,
            draw: fastrand::f64(),
            ways: shared.ways.clone(),
        };
        if let Some(certificate) = site.kept(shared) {
            site.show(certificate, shared);
        }
        site
    }

    /// Has a certificate at all times from now on, as far as the server lets it.
    pub(super) async fn keep(mut self, shared: Arc<Shared>) {
        let mut backoff = Backoff::default();
        loop {
            self.until_due(&shared).await;
            let Ok(turn) = shared.turns.acquire().await else {
                return;
            };
            let (outcome, asked) = heeding(timeout(TRY, unhurt(self.renew(&shared)))).await;
            drop(turn);
            let late = || Failure::new(Kind::Other, "it took too long");
            match outcome.unwrap_or_else(|_| Err(late())) {
                Ok(()) => {
                    backoff = Backoff::default();
                    sleep(self.pause()).await;
                }
                Err(failure) => {
                    let wait = backoff.wait(failure.asked.max(asked), fastrand::f64());
                    self.lament(&failure, wait);
                    sleep(wait).await;
                }
            }
        }
    }

    /// Waits until the name needs a certificate.
    async fn until_due(&mut self, shared: &Shared) {
        let mut ask_at = Instant::now();
        while let Some(certificate) = &self.certificate {
            if ask_at <= Instant::now() {
                let (suggestion, again) = ask(certificate, shared, self.draw).await;
                self.suggestion = suggestion;
                ask_at = Instant::now() + again;
            }
            let end = certificate.validity.end;
            let due = (self.suggestion.filter(|&at| at < end))
                .unwrap_or_else(|| renewal(&certificate.validity, self.draw));
            match due.duration_since(SystemTime::now()) {
                Ok(left) if !left.is_zero() => sleep(left.min(GLANCE)).await,
                _ => return,
            }
        }
    }

    /// Orders a certificate, if need be on another account.
    async fn renew(&mut self, shared: &Shared) -> Result<(), Failure> {
        match self.order(shared).await {
            Err(failure) if failure.kind == Kind::NoAccount => self.order(shared).await,
            outcome => outcome,
        }
    }

    /// Proves the name in each way until one is good enough for the server.
    async fn order(&mut self, shared: &Shared) -> Result<(), Failure> {
        let account = shared.accounts.account().await?;
        // What the server has told about it, it knows.
        let replaced: Option<CertificateIdentifier<'static>> = (self.certificate.as_ref())
            .filter(|_| self.suggestion.is_some())
            .and_then(|certificate| certificate.id.clone());
        let stage = Stage {
            name: &self.name,
            servers: &self.servers,
            challenges: &shared.challenges,
        };
        let mut unproven: Vec<Failure> = Vec::new();
        for (position, way) in self.ways.iter().copied().enumerate() {
            match issue(&account, &stage, way, replaced.as_ref()).await {
                Ok(text) => {
                    self.ways[..=position].rotate_right(1);
                    return self.accept(&text, shared);
                }
                Err(failure) => match failure.kind {
                    Kind::Unproven => unproven.push(failure.during(way.name())),
                    Kind::NoAccount => {
                        shared.accounts.forget(&account).await;
                        return Err(failure);
                    }
                    Kind::Other => return Err(failure),
                },
            }
        }
        let whats: Vec<_> = unproven.into_iter().map(|failure| failure.what).collect();
        Err(Failure::new(Kind::Unproven, whats.join("; ")))
    }

    /// Keeps what was issued and shows it.
    fn accept(&mut self, text: &str, shared: &Shared) -> Result<(), Failure> {
        let certificate = Certificate::from_pem(text.as_bytes(), &self.name).map_err(|why| {
            let what = format!("the server's certificate cannot be used: {why}");
            Failure::new(Kind::Other, what)
        })?;
        if let Err(error) = shared.folder.write(&self.file(), text.as_bytes()) {
            error!(
                "{} cannot be written: {error}: after a restart the certificate for {} is ordered \
                 again",
                shared.folder.file(&self.file()).display(),
                self.name
            );
        }
        info!(
            "got a certificate for {}, good until {}",
            self.name,
            format_moment(certificate.validity.end)
        );
        self.show(certificate, shared);
        Ok(())
    }

    fn show(&mut self, certificate: Certificate, shared: &Shared) {
        let names = [self.name.clone()];
        for server in &self.servers {
            server.install(&names, Arc::clone(&certificate.key));
        }
        shared.expiries.note(&self.name, certificate.validity.end);
        self.suggestion = None;
        self.draw = fastrand::f64();
        self.certificate = Some(certificate);
    }

    fn pause(&self) -> Duration {
        let lifetime = (self.certificate.as_ref())
            .and_then(|certificate| {
                let validity = &certificate.validity;
                validity.end.duration_since(validity.start).ok()
            })
            .unwrap_or_default();
        (lifetime / 10).clamp(*PAUSE.start(), *PAUSE.end())
    }

    /// The certificate that is kept. One that has ended is better than none.
    fn kept(&self, shared: &Shared) -> Option<Certificate> {
        let file = self.file();
        let path = shared.folder.file(&file);
        let path = path.display();
        let text = match shared.folder.read(&file) {
            Ok(text) => text?,
            Err(error) => {
                error!("{path} cannot be read: {error}: another certificate is ordered");
                return None;
            }
        };
        match Certificate::from_pem(&text, &self.name) {
            Ok(certificate) => Some(certificate),
            Err(why) => {
                match shared.folder.set_aside(&file) {
                    Ok(aside) => warn!(
                        "{path} cannot be used ({why}) and was set aside as {}: another \
                         certificate is ordered",
                        aside.display()
                    ),
                    Err(error) => error!(
                        "{path} cannot be used ({why}) nor set aside ({error}): another \
                         certificate is ordered"
                    ),
                }
                None
            }
        }
    }

    fn file(&self) -> String {
        format!("{}.pem", self.name)
    }

    fn lament(&self, failure: &Failure, wait: Duration) {
        let next = format_duration(Duration::from_secs(wait.as_secs()));
        let meanwhile = match &self.certificate {
            Some(certificate) => {
                let until = format_moment(certificate.validity.end);
                format!("the one in use ends at {until}")
            }
            None => "a temporary one is in use".to_owned(),
        };
        warn!(
            "no new certificate for {}: {}; {meanwhile}; the next try is in {next}",
            self.name, failure.what
        );
    }
}

/// Asks the server when it wants `certificate` renewed (RFC 9773), and when to ask again. A server that
/// has no answer leaves it to us.
async fn ask(
    certificate: &Certificate,
    shared: &Shared,
    draw: f64,
) -> (Option<SystemTime>, Duration) {
    let seldom = (None, *ASK.end());
    let Some(id) = &certificate.id else {
        return seldom;
    };
    let Ok(_turn) = shared.turns.acquire().await else {
        return seldom;
    };
    let answer = async {
        let account = shared.accounts.account().await?;
        Ok::<_, Failure>(account.renewal_info(id).await?)
    };
    match timeout(TRY, unhurt(answer)).await {
        Ok(Ok((info, again))) => {
            let window = info.suggested_window;
            let window = SystemTime::from(window.start)..SystemTime::from(window.end);
            (
                Some(suggested(&window, draw)),
                again.clamp(*ASK.start(), *ASK.end()),
            )
        }
        Ok(Err(failure)) => {
            debug!("the server does not say when to renew: {}", failure.what);
            seldom
        }
        Err(_) => seldom,
    }
}
