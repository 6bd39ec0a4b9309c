//! Passing an answer on to the client, piece by piece: the next piece is read when the client has
//! taken the last one.

use std::time::Instant;

use http::{Method, StatusCode, header};
use pingora::http::ResponseHeader;
use pingora::{Error, ErrorType, Result};
use pingora_proxy::{ProxyHttp, Session};
use tokio::time::sleep_until;

use crate::proxy::DataPlane;
use crate::proxy::context::Context;
use crate::proxy::failure::Failure;

use super::{Answer, Exchange};

/// Ends when the client leaves, with the error to end its request with.
pub(in crate::proxy) async fn client_left(session: &mut Session) -> Box<Error> {
    match session.as_downstream_mut().read_body_or_idle(true).await {
        Err(error) => error.into_down(),
        Ok(_) => std::future::pending().await,
    }
}

/// Passes `answer` on as the answer to the request of `session`, and keeps its connection.
///
/// # Errors
/// When the answer breaks off or the client leaves. The client's connection must then be closed, so
/// that what it has does not look complete.
pub(in crate::proxy) async fn deliver(
    exchange: &Exchange,
    plane: &DataPlane,
    mut answer: Answer,
    session: &mut Session,
    context: &mut Context,
) -> Result<()> {
    let mut head = answer.head.clone();
    frame(&mut head, &session.req_header().method)?;
    plane.response_filter(session, &mut head, context).await?;
    session
        .write_response_header(head, false)
        .await
        .map_err(Error::into_down)?;
    let timeouts = context.target()?.rules.timeouts;
    let ends = timeouts.total.map(|total| context.arrived() + total);
    loop {
        let silence = Instant::now() + timeouts.between_bytes;
        let limit = ends.map_or(silence, |ends| ends.min(silence));
        let piece = tokio::select! {
            biased;
            piece = answer.session.piece() => piece,
            error = client_left(session) => return Err(error),
            () = sleep_until(limit.into()) => {
                let late = "the rest of the answer did not come in time";
                Err(Error::explain(ErrorType::ReadTimedout, late))
            }
        };
        let piece = piece
            .map_err(|error| context.fail(Failure::of_exchange(&answer.peer._address, &error)))?;
        let end = piece.is_none();
        let writing = session.write_response_body(piece, end);
        match ends {
            Some(ends) => tokio::time::timeout_at(ends.into(), writing)
                .await
                .map_err(|_| Error::explain(ErrorType::WriteTimedout, "the time ran out"))
                .flatten(),
            None => writing.await,
        }
        .map_err(Error::into_down)?;
        if end {
            break;
        }
    }
    exchange.keep(answer).await;
    Ok(())
}

/// Settles how the client can tell where the body ends, as Pingora does on the ordinary path.
fn frame(head: &mut ResponseHeader, method: &Method) -> Result<()> {
    let bodyless = method == Method::HEAD
        || matches!(
            head.status,
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        );
    let framed = head.headers.contains_key(header::TRANSFER_ENCODING)
        || head.headers.contains_key(header::CONTENT_LENGTH);
    if bodyless || framed {
        return Ok(());
    }
    head.insert_header(header::TRANSFER_ENCODING, "chunked")
}
