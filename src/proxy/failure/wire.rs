//! An answer as it goes over the wire when there is no request to answer: what came was not one, or
//! not all of it did.

use http::{HeaderValue, header};
use pingora::Result;
use pingora::protocols::http::date::get_cached_date;

use super::Failure;

impl Failure {
    /// The answer in full, after which the connection ends unless it `keeps`; `is_head` leaves the body
    /// out.
    ///
    /// # Errors
    /// Never: all of its fields are valid.
    pub(in crate::proxy) fn to_wire(
        &self,
        request_id: &HeaderValue,
        is_head: bool,
        keeps: bool,
    ) -> Result<Vec<u8>> {
        let (mut response, body) = self.response(request_id)?;
        response.insert_header(header::DATE, get_cached_date())?;
        response.insert_header(
            header::CONNECTION,
            if keeps { "keep-alive" } else { "close" },
        )?;
        let mut wire = Vec::with_capacity(512 + body.len());
        let reason = response.status.canonical_reason().unwrap_or_default();
        let line = format!("HTTP/1.1 {} {reason}\r\n", response.status.as_u16());
        wire.extend_from_slice(line.as_bytes());
        response.header_to_h1_wire(&mut wire);
        wire.extend_from_slice(b"\r\n");
        if !is_head {
            wire.extend_from_slice(&body);
        }
        Ok(wire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_whole_response() {
        let id = HeaderValue::from_static("id-1");
        let wire = Failure::connect().to_wire(&id, false, false).unwrap();
        let wire = String::from_utf8(wire).unwrap();
        let (head, body) = wire.split_once("\r\n\r\n").unwrap();
        assert!(
            head.starts_with("HTTP/1.1 405 Method Not Allowed\r\n"),
            "{head}"
        );
        for field in [
            "Connection: close",
            "X-Request-Id: id-1",
            "Content-Type: application/problem+json",
            &format!("Content-Length: {}", body.len()),
        ] {
            assert!(
                head.split("\r\n").any(|line| line == field),
                "{field}: {head}"
            );
        }
        assert!(head.contains("\r\nAllow: "), "{head}");
        let without = Failure::connect().to_wire(&id, true, false).unwrap();
        assert!(without.ends_with(b"\r\n\r\n"));
    }
}
