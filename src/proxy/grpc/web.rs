//! What gRPC-Web puts in place of what a browser cannot do ([PROTOCOL-WEB]): the trailers are a last
//! frame of the body, and with `-text` the body is base64.
//!
//! [PROTOCOL-WEB]: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, Bytes, BytesMut};
use http::HeaderMap;

/// The flag of the frame that holds trailers.
const TRAILERS: u8 = 0x80;

/// `trailers` as the last frame of a body.
pub(super) fn frame(trailers: &HeaderMap) -> Bytes {
    let mut lines = BytesMut::new();
    for (name, value) in trailers {
        lines.put_slice(name.as_str().as_bytes());
        lines.put_slice(b": ");
        lines.put_slice(value.as_bytes());
        lines.put_slice(b"\r\n");
    }
    let mut frame = BytesMut::with_capacity(5 + lines.len());
    frame.put_u8(TRAILERS);
    // A head is far smaller than 4 GiB.
    frame.put_u32(lines.len() as u32);
    frame.put(lines);
    frame.freeze()
}

/// A part of a body as base64, padded, so that nothing of it has to wait for the next part; readers
/// take padding anywhere, and Envoy writes it likewise.
pub(super) fn encode(part: &[u8]) -> Bytes {
    STANDARD.encode(part).into()
}

/// Reads a body in base64, cut anywhere and padded anywhere.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    /// The beginning of a group of four.
    group: Vec<u8>,
}

/// The body is not base64.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl Decoder {
    /// The bytes that `part` completes; `ends` tells that nothing follows.
    pub(super) fn decode(&mut self, part: &[u8], ends: bool) -> Result<Bytes, Malformed> {
        let mut text = std::mem::take(&mut self.group);
        text.extend_from_slice(part);
        self.group = text.split_off(text.len() / 4 * 4);
        if ends && !self.group.is_empty() {
            return Err(Malformed);
        }
        let mut decoded = Vec::with_capacity(text.len() / 4 * 3);
        let mut rest = &text[..];
        while !rest.is_empty() {
            let padding = memchr::memchr(b'=', rest);
            let (padded, next) = rest.split_at(padding.map_or(rest.len(), |at| at / 4 * 4 + 4));
            let done = STANDARD.decode_vec(padded, &mut decoded);
            done.map_err(|_| Malformed)?;
            rest = next;
        }
        Ok(decoded.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn trailers_are_lines_in_a_frame() {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        trailers.append("x-a", "1".parse().unwrap());
        trailers.append("x-a", "2".parse().unwrap());
        let expected = b"\x80\0\0\0\x20grpc-status: 0\r\nx-a: 1\r\nx-a: 2\r\n";
        assert_eq!(frame(&trailers), expected[..]);
    }

    #[test]
    fn padding_may_stand_between_parts() {
        let mut decoder = Decoder::default();
        assert_eq!(decoder.decode(b"YQ==YmM=ZG", false).unwrap(), "abc");
        assert_eq!(decoder.decode(b"Vm", true).unwrap(), "def");
    }

    #[test]
    fn what_is_not_base64_is_refused() {
        for text in ["YQ=", "Y", "Y===", "====", "YQ==\n", "a-_b", "=YQ=", "Y=Q="] {
            let mut decoder = Decoder::default();
            assert_eq!(
                decoder.decode(text.as_bytes(), true),
                Err(Malformed),
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_body_is_read_as_it_was_written_however_it_is_cut(
            parts: Vec<Vec<u8>>,
            cuts in proptest::collection::vec(1..9_usize, 1..20),
        ) {
            let text: Vec<u8> = parts.iter().flat_map(|part| encode(part)).collect();
            let mut decoder = Decoder::default();
            let (mut read, mut rest) = (Vec::new(), &text[..]);
            for cut in cuts.into_iter().cycle() {
                let (part, next) = rest.split_at(cut.min(rest.len()));
                read.extend(decoder.decode(part, next.is_empty()).unwrap());
                rest = next;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(read, parts.concat());
        }

        #[test]
        fn any_bytes_are_read_or_refused(text: Vec<u8>, ends: bool) {
            let _ = Decoder::default().decode(&text, ends);
        }
    }
}
