//! Mirroring: a share of a route's requests is copied to another service, whose answers nobody waits
//! for, to try a release on real traffic before it counts.
//!
//! A copy is made of what the instance of the original gets: the same method, path, headers and
//! request id, and a header that says what it is. `Host` stays as it is; Envoy's way of appending
//! `-shadow` to it takes the copy away from applications that know their own name. A client cannot
//! claim that its request is a copy, unless it is a trusted proxy.
//!
//! The original is never worse off. A body is copied as it passes by, up to [`MAX_BODY`]; one that is
//! longer is not mirrored, and neither is a request for another protocol. A copy is sent when the
//! original's body has been read, by a task of its own that has the time limits of its service's
//! policy; it takes no second try, waits for no place at an instance, and is dropped where
//! [`MAX_COPIES`] are under way.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, header};
use log::debug;
use pingora::http::RequestHeader;
use pingora_proxy::Session;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout_at;

use crate::cluster::Cluster;
use crate::cluster::pick::Tried;
use crate::cluster::policy::Reuse;
use crate::names::ServiceName;
use crate::route::Route;
use crate::telemetry::trace;

use super::DataPlane;
use super::asked::Asked;
use super::context::Context;
use super::exchange::{self, Exchange, Link, Request};
use super::hash_key;

/// Says to an instance that a request is a copy.
pub(super) const HEADER: &str = "X-Callboard-Mirror";
/// The longest body that is copied, in bytes.
const MAX_BODY: usize = 64 << 10;
/// The most copies under way at a time, those included whose body is on its way: each holds its request.
const MAX_COPIES: usize = 256;

/// Why a copy is not made when there is no place for it.
const CROWDED: &str = "too many copies are under way";

/// The copies under way.
#[derive(Clone)]
pub(super) struct Mirrors {
    places: Arc<Semaphore>,
}

/// A copy in the making.
pub(super) struct MirrorCopy {
    service: ServiceName,
    /// Bytes to take off the path.
    strip: usize,
    /// What has come of the body.
    body: BytesMut,
    /// Its place among the copies under way, from the first piece of its body on.
    place: Option<OwnedSemaphorePermit>,
}

impl Default for Mirrors {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(MAX_COPIES)),
        }
    }
}

impl Mirrors {
    fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }
}

impl MirrorCopy {
    /// The service that it goes to.
    pub(super) fn service(&self) -> &ServiceName {
        &self.service
    }

    fn add(&mut self, part: &Bytes, mirrors: &Mirrors) -> Result<(), &'static str> {
        if self.body.len() + part.len() > MAX_BODY {
            return Err("its body is too long");
        }
        if self.place.is_none() && !part.is_empty() {
            self.place = Some(mirrors.place().ok_or(CROWDED)?);
        }
        self.body.extend_from_slice(part);
        Ok(())
    }
}

/// Whether a request of `route` is to be copied: chance decides.
pub(super) fn draw(route: &Route, asked: Asked<'_>, strip: usize) -> Option<MirrorCopy> {
    let mirror = route.mirror.as_ref()?;
    let drawn = fastrand::f64() < mirror.share && exchange::can_be_copied(asked);
    drawn.then(|| MirrorCopy {
        service: mirror.service.clone(),
        strip,
        body: BytesMut::new(),
        place: None,
    })
}

/// Sends the copy of a request that has no body.
pub(super) fn begin(plane: &DataPlane, session: &mut Session, context: &mut Context) {
    if context.copy.is_some() && session.is_body_empty() {
        send(plane, session, context);
    }
}

/// The body starts once more, because the original is tried again.
pub(super) fn begin_again(context: &mut Context) {
    if let Some(copy) = &mut context.copy {
        copy.body.clear();
    }
}

/// Copies a part of the body that passes by, and sends the copy when that was the last.
pub(super) fn add(
    plane: &DataPlane,
    session: &Session,
    context: &mut Context,
    part: Option<&Bytes>,
    is_last: bool,
) {
    let Some(copy) = &mut context.copy else {
        return;
    };
    if let Some(part) = part {
        let added = copy.add(part, &plane.mirrors);
        if let Err(why) = added {
            context.copy = None;
            return leave_out(plane, context, why);
        }
    }
    if is_last {
        send(plane, session, context);
    }
}

fn leave_out(plane: &DataPlane, context: &Context, why: &str) {
    let count = plane.telemetry.unmirrored().fetch_add(1, Ordering::Relaxed) + 1;
    debug!("{}: not mirrored, {why}; {count} so far", context.name());
}

fn send(plane: &DataPlane, session: &Session, context: &mut Context) {
    let Some(copy) = context.copy.take() else {
        return;
    };
    let mirrors = &plane.mirrors;
    let Some(cluster) = plane.clusters.find(copy.service.as_str()) else {
        return leave_out(plane, context, "nobody has registered for the mirror");
    };
    let Some(place) = copy.place.or_else(|| mirrors.place()) else {
        return leave_out(plane, context, CROWDED);
    };
    let head = match head(session, context, copy.strip, copy.body.len()) {
        Ok(head) => head,
        Err(error) => return leave_out(plane, context, &error.to_string()),
    };
    let policy = cluster.policy();
    let hash_on = &policy.balance.hash_on;
    let hash = hash_key::of(hash_on, Asked::of(session), context.client);
    let exchange = Arc::clone(&plane.exchange);
    let name = context.request_id().clone();
    tokio::spawn(async move {
        if let Err(why) = deliver(&exchange, &cluster, hash, head, copy.body.freeze()).await {
            debug!("{}: its copy failed: {why}", name.to_str().unwrap_or("-"));
        }
        drop(place);
    });
}

fn head(
    session: &Session,
    context: &Context,
    strip: usize,
    length: usize,
) -> pingora::Result<RequestHeader> {
    let mut head = exchange::head(session, context, strip)?;
    head.remove_header(&header::EXPECT);
    head.insert_header(HEADER, "1")?;
    if let Some(trace) = &context.trail.watch.trace {
        head.insert_header(trace::PARENT, trace.parent_for(trace.span))?;
    }
    if length > 0 {
        head.insert_header(header::CONTENT_LENGTH, length)?;
    }
    Ok(head)
}

/// Sends a copy to an instance, and reads what it answers to its end.
async fn deliver(
    exchange: &Exchange,
    cluster: &Arc<Cluster>,
    hash: u64,
    mut head: RequestHeader,
    body: Bytes,
) -> Result<(), String> {
    let started = Instant::now();
    let policy = cluster.policy();
    let timeouts = policy.timeouts;
    let picked = cluster.acquire(hash, &Tried::default(), started).await;
    let pick = picked.map_err(|refusal| format!("{}: {refusal:?}", cluster.name()))?;
    if !head.headers.contains_key(header::HOST) {
        let host = HeaderValue::try_from(pick.address().authority());
        let host = host.map_err(|error| error.to_string())?;
        (head.insert_header(header::HOST, host)).map_err(|error| error.to_string())?;
    }
    let request = Request {
        may_reuse: policy.reuse == Reuse::Always || head.method.is_idempotent(),
        head,
        body,
    };
    let deadline = started + timeouts.request;
    let (mut pick, answer) = match exchange
        .ask(pick, &request, None, timeouts, deadline, &Link::default())
        .await
    {
        Ok(answered) => answered,
        Err(lost) => {
            let failure = lost.failure.as_ref();
            let why = failure.map_or("the instance left", |failure| failure.detail());
            return Err(why.to_owned());
        }
    };
    pick.report(answer.outcome(), Instant::now());
    let ends = timeouts.total.map_or(deadline, |total| started + total);
    match timeout_at(ends.into(), exchange.discard(answer)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("its answer took too long".to_owned()),
    }
}
