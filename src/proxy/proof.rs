//! Answers to ACME servers that want to see that callboard answers to a name, before routing has a say.

use bytes::Bytes;
use http::{Method, StatusCode};
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora_proxy::Session;

use crate::acme::Challenges;

/// The answer, if the request asks for one that is pending; any other is a request like all.
pub(super) fn asked_for(challenges: &Challenges, session: &Session) -> Option<Bytes> {
    let head = session.req_header();
    (head.method == Method::GET)
        .then(|| challenges.answer(head.uri.path()))
        .flatten()
}

/// Sends it. The connection is kept unless callboard `leaves` or the request has a body.
pub(super) async fn answer(session: &mut Session, proof: Bytes, leaves: bool) -> Result<()> {
    if leaves || !session.is_body_empty() {
        session.set_keepalive(None);
    }
    let mut response = ResponseHeader::build(StatusCode::OK, Some(3))?;
    response.insert_header("Content-Type", "application/octet-stream")?;
    response.insert_header("Content-Length", proof.len())?;
    response.insert_header("Cache-Control", "no-store")?;
    let head = Box::new(response);
    session.write_response_header(head, false).await?;
    session.write_response_body(Some(proof), true).await
}
