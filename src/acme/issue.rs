//! One order, from its beginning to the certificate (RFC 8555, section 7.4).

use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeHandle, ChallengeType, Error,
    Identifier, NewOrder, Order, OrderStatus, RetryPolicy,
};

use crate::tls;

use super::certificate;
use super::challenges::Challenges;
use super::failure::{Failure, Kind, said};

/// How often the server is asked how far it is, and how long.
const POLL: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(250))
    .timeout(Duration::from_secs(90));

/// How the server is shown that callboard answers to a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// TLS-ALPN-01 (RFC 8737), at the TLS listeners.
    TlsAlpn,
    /// HTTP-01 (RFC 8555, section 8.3), at the plain ones.
    Http,
}

impl Way {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::TlsAlpn => "tls-alpn-01",
            Self::Http => "http-01",
        }
    }

    fn challenge(self) -> ChallengeType {
        match self {
            Self::TlsAlpn => ChallengeType::TlsAlpn01,
            Self::Http => ChallengeType::Http01,
        }
    }
}

/// Who shows what the server wants to see.
pub(super) struct Stage<'a> {
    pub(super) name: &'a str,
    pub(super) servers: &'a [Arc<tls::Server>],
    pub(super) challenges: &'a Challenges,
}

/// Orders a certificate for the stage's name, in place of the one that the server knows as `replaced`;
/// gives its key and its chain in PEM.
pub(super) async fn issue(
    account: &Account,
    stage: &Stage<'_>,
    way: Way,
    replaced: Option<&CertificateIdentifier<'static>>,
) -> Result<String, Failure> {
    let mut order = place(account, stage.name, replaced).await?;
    prove(&mut order, stage, way).await?;
    let key = order.finalize().await?;
    let chain = order.poll_certificate(&POLL).await?;
    Ok(format!("{key}{chain}"))
}

async fn place(
    account: &Account,
    name: &str,
    replaced: Option<&CertificateIdentifier<'static>>,
) -> Result<Order, Failure> {
    let names = [Identifier::Dns(name.to_owned())];
    if let Some(replaced) = replaced {
        // A server takes one order in place of another; what became of that may not be known here.
        let order = NewOrder::new(&names).replaces(replaced.clone());
        if let Ok(order) = account.new_order(&order).await {
            return Ok(order);
        }
    }
    Ok(account.new_order(&NewOrder::new(&names)).await?)
}

async fn prove(order: &mut Order, stage: &Stage<'_>, way: Way) -> Result<(), Failure> {
    // What is shown is shown until the server has made up its mind.
    let mut shown = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        match authorization.status {
            AuthorizationStatus::Pending => {}
            AuthorizationStatus::Valid => continue,
            status => {
                let what = format!("the server's authorization is {status:?}");
                return Err(Failure::new(Kind::Other, what));
            }
        }
        let Some(mut challenge) = authorization.challenge(way.challenge()) else {
            let what = "the server does not offer it";
            return Err(Failure::new(Kind::Unproven, what));
        };
        shown.push(show(stage, way, &challenge)?);
        challenge.set_ready().await.map_err(|error| match error {
            Error::Api(problem) => Failure::from(Error::Api(problem)).unproven(),
            error => error.into(),
        })?;
    }
    let ready = order.poll_ready(&POLL).await;
    if let Ok(OrderStatus::Ready) = ready {
        return Ok(());
    }
    if let Some(what) = refusal(order).await {
        return Err(Failure::new(Kind::Unproven, what));
    }
    match ready {
        Err(error) => Err(error.into()),
        Ok(_) => Err(Failure::new(Kind::Unproven, "the server does not say why")),
    }
}

/// Shows what the challenge asks for, until the value is dropped.
fn show(
    stage: &Stage<'_>,
    way: Way,
    challenge: &ChallengeHandle<'_>,
) -> Result<Box<dyn Send>, Failure> {
    let authorization = challenge.key_authorization();
    match way {
        Way::Http => Ok(Box::new(
            (stage.challenges).offer(&challenge.token, authorization.as_str()),
        )),
        Way::TlsAlpn => {
            let digest = authorization.digest();
            let key = (digest.as_ref().try_into())
                .map_err(|_| "a digest of an odd length".to_owned())
                .and_then(|digest| certificate::challenge(stage.name, digest))
                .map_err(|what| Failure::new(Kind::Unproven, what))?;
            let key = Arc::new(key);
            for server in stage.servers {
                server.challenge(stage.name, Some(Arc::clone(&key)));
            }
            Ok(Box::new(Shown {
                name: stage.name.to_owned(),
                servers: stage.servers.to_vec(),
            }))
        }
    }
}

/// A challenge's certificate, shown as long as this lives.
struct Shown {
    name: String,
    servers: Vec<Arc<tls::Server>>,
}

impl Drop for Shown {
    fn drop(&mut self) {
        for server in &self.servers {
            server.challenge(&self.name, None);
        }
    }
}

/// What the server says it saw in place of what it wanted to see.
async fn refusal(order: &mut Order) -> Option<String> {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let state = authorization.refresh().await.ok()?;
        let mut problems = (state.challenges.iter()).filter_map(|one| one.error.as_ref());
        if let Some(problem) = problems.next() {
            return Some(said(problem));
        }
    }
    None
}
