//! What every call must pass, before a byte of its body is read: how often its peer calls, which
//! page sent it, who it comes from, how often that one calls, and whether it may do such a thing.
//!
//! Everything is refused that is not let through. A path asks for no token only if it is among
//! `OPEN` or one of the dashboard's files; every other GET needs the scope `read`; any other call needs
//! a scope that writes, and which service it may write to is asked by
//! [`Caller::on`](super::caller::Caller::on), without which no handler gets the actor that a change
//! needs. A route that is added later is closed by itself.
//!
//! A peer's rate comes first, so that guessing tokens is subject to it, and costs no hashing beyond
//! it.

mod origin;
mod throttle;

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use tokio::sync::watch;

use crate::dashboard;

use super::access::Access;
use super::caller::{self, Caller};
use super::problem::{Kind, Problem};
use throttle::Throttle;

pub use throttle::{Rate, Rates};

/// What may be read without a token.
const OPEN: &[&str] = &["/", "/healthz", "/readyz", "/api/v1/openapi.json"];
/// What may be read as often as one likes: whoever asks restarts a callboard that does not answer.
const UNMETERED: &[&str] = &["/healthz", "/readyz"];

/// The door to the control plane. Who and how much it lets in can change at any time.
#[derive(Debug, Default)]
pub struct Guard {
    access: watch::Sender<Access>,
    throttle: ArcSwap<Throttle>,
}

impl Guard {
    /// One that lets these in, this often.
    pub fn new(access: Access, rates: Rates) -> Self {
        Self {
            access: watch::Sender::new(access),
            throttle: ArcSwap::from_pointee(Throttle::new(rates)),
        }
    }

    /// Lets these in from now on, this often.
    pub fn configure(&self, access: Access, rates: Rates) {
        self.access.send_replace(access);
        // A new throttle has forgotten who called how often.
        if self.throttle.load().rates() != rates {
            self.throttle.store(Arc::new(Throttle::new(rates)));
        }
    }

    /// Who is calling, if the call may go on; `None` for calls that anybody may make.
    fn judge(&self, request: &Request) -> Result<Option<Caller>, Problem> {
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        let path = request.uri().path();
        let peer = caller::peer(request.extensions());
        let throttle = self.throttle.load();
        if !(reads && UNMETERED.contains(&path)) {
            throttle.admit_peer(peer)?;
        }
        if !reads {
            origin::same_origin(request, peer)?;
        }
        if reads && (OPEN.contains(&path) || path.starts_with(dashboard::PREFIX)) {
            return Ok(None);
        }
        let token = self.access.borrow().identify(request.headers())?;
        match &token {
            Some(token) => throttle.admit_token(token.name())?,
            None => origin::not_rebound(request, peer)?,
        }
        let caller = Caller::new(peer, token);
        if reads {
            caller.may_read()?;
        } else {
            caller.may_write()?;
        }
        Ok(Some(caller))
    }

    /// Ends when `caller` would not be let in any more as it was.
    async fn revoked(&self, caller: &Caller) {
        let mut access = self.access.subscribe();
        // The sender is right here, so there is always another change to wait for.
        let _ = (access.wait_for(|access| !access.still_knows(caller.token()))).await;
    }
}

/// Passes a request on if it may go on, and tells its handler who is calling.
pub(super) async fn admit(
    State(guard): State<Arc<Guard>>,
    mut request: Request,
    next: Next,
) -> Response {
    match guard.judge(&request) {
        Ok(None) => next.run(request).await,
        Ok(Some(caller)) => {
            let reads = matches!(*request.method(), Method::GET | Method::HEAD);
            request.extensions_mut().insert(caller.clone());
            if reads {
                while_let_in(guard, caller, next.run(request)).await
            } else {
                next.run(request).await
            }
        }
        Err(problem) => problem.into_response(),
    }
}

/// Cuts a long poll or a stream off when a reload takes away the right to it.
async fn while_let_in(
    guard: Arc<Guard>,
    caller: Caller,
    answer: impl Future<Output = Response>,
) -> Response {
    let response = tokio::select! {
        response = answer => response,
        () = guard.revoked(&caller) => {
            let detail = "the token was withdrawn meanwhile (expected one that registry.auth names)";
            return Problem::new(Kind::InvalidToken, detail).into_response();
        }
    };
    let streams = response.headers().get(header::CONTENT_TYPE);
    if streams.is_none_or(|kind| kind != "text/event-stream") {
        return response;
    }
    response.map(|body| {
        let revoked = Box::pin(async move { guard.revoked(&caller).await });
        Body::from_stream(body.into_data_stream().take_until(revoked))
    })
}
