//! The body of an answer, and how it is passed on: as it comes if its length is known, else in chunks.

use pingora::{Error, ErrorType, Result};

use crate::proxy::connection::Chunks;

/// What is still to come of an answer's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    Done,
    Length(u64),
    Chunked(Chunks),
    /// All until the end of the connection.
    UntilClose,
}

/// What came of passing on a piece of a body.
pub(super) struct Passed {
    /// Bytes of the piece that belong to the body.
    pub(super) taken: usize,
    /// Bytes of its data.
    pub(super) data: usize,
}

impl Body {
    /// Counts all of a piece that is `length` bytes long, if it may be passed on as it is.
    pub(super) fn takes_whole(&mut self, length: usize) -> bool {
        let Self::Length(left) = self else {
            return false;
        };
        let Some(rest) = left.checked_sub(length as u64) else {
            return false;
        };
        *left = rest;
        if rest == 0 {
            *self = Self::Done;
        }
        true
    }

    /// Writes what `bytes`, which come next, say of the body for the client to `into`.
    ///
    /// # Errors
    /// When they make it no body.
    pub(super) fn pass(&mut self, bytes: &[u8], into: &mut Vec<u8>) -> Result<Passed> {
        match self {
            Self::Done => Ok(Passed { taken: 0, data: 0 }),
            Self::Length(left) => {
                let most = usize::try_from(*left).unwrap_or(usize::MAX);
                let taken = bytes.len().min(most);
                into.extend_from_slice(&bytes[..taken]);
                *left -= taken as u64;
                if *left == 0 {
                    *self = Self::Done;
                }
                Ok(Passed { taken, data: taken })
            }
            Self::Chunked(chunks) => {
                let mut data = 0;
                let decoded = chunks.decode(bytes, u64::MAX, |piece| {
                    data += piece.len();
                    put_chunk(into, piece);
                });
                let broken = |_| {
                    Error::explain(ErrorType::InvalidHTTPHeader, "its chunks are malformed")
                        .into_up()
                };
                let (taken, is_last) = decoded.map_err(broken)?;
                if is_last {
                    into.extend_from_slice(b"0\r\n\r\n");
                    *self = Self::Done;
                }
                Ok(Passed { taken, data })
            }
            Self::UntilClose => {
                put_chunk(into, bytes);
                Ok(Passed {
                    taken: bytes.len(),
                    data: bytes.len(),
                })
            }
        }
    }

    /// The instance has closed the connection; says whether that is the body's end.
    pub(super) fn end(&mut self, into: &mut Vec<u8>) -> bool {
        if *self == Self::UntilClose {
            into.extend_from_slice(b"0\r\n\r\n");
            *self = Self::Done;
        }
        *self == Self::Done
    }
}

fn put_chunk(into: &mut Vec<u8>, data: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    if data.is_empty() {
        return;
    }
    let digits = (usize::BITS - data.len().leading_zeros()).div_ceil(4);
    for digit in (0..digits).rev() {
        into.push(DIGITS[(data.len() >> (4 * digit)) & 15]);
    }
    into.extend_from_slice(b"\r\n");
    into.extend_from_slice(data);
    into.extend_from_slice(b"\r\n");
}
#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn passed(body: &mut Body, bytes: &[u8], step: usize) -> Result<(usize, Vec<u8>)> {
        let (mut taken, mut into) = (0, Vec::new());
        for piece in bytes.chunks(step) {
            let passed = body.pass(piece, &mut into)?;
            taken += passed.taken;
            if passed.taken < piece.len() {
                break;
            }
        }
        Ok((taken, into))
    }

    proptest! {
        #[test]
        fn it_matters_not_in_which_pieces_a_body_comes(
            data in prop::collection::vec(any::<u8>(), 1..300),
            after in prop::collection::vec(any::<u8>(), 0..20),
            size in 1usize..50,
            step in 1usize..50,
        ) {
            let whole = [&data[..], &after].concat();
            let mut body = Body::Length(data.len() as u64);
            let (taken, out) = passed(&mut body, &whole, step).unwrap();
            prop_assert_eq!((taken, body), (data.len(), Body::Done));
            prop_assert_eq!(&out, &data);

            let mut chunks = Vec::new();
            for chunk in data.chunks(size) {
                chunks.extend(format!("{:X};a=b\r\n", chunk.len()).bytes());
                chunks.extend([chunk, b"\r\n"].concat());
            }
            chunks.extend(b"0\r\nX-Sum: 7\r\n\r\n");
            let length = chunks.len();
            chunks.extend(&after);
            let mut body = Body::Chunked(Chunks::default());
            let (taken, out) = passed(&mut body, &chunks, step).unwrap();
            prop_assert_eq!((taken, body), (length, Body::Done));
            // What was written decodes to the data, and ends.
            let mut again = Vec::<u8>::new();
            let decoded = Chunks::default().decode(&out, u64::MAX, |piece| again.extend(piece));
            prop_assert_eq!(decoded.unwrap(), (out.len(), true));
            prop_assert_eq!(&again, &data);

            let mut body = Body::UntilClose;
            let (_, mut out) = passed(&mut body, &data, step).unwrap();
            prop_assert!(body.end(&mut out));
            let mut again = Vec::<u8>::new();
            let decoded = Chunks::default().decode(&out, u64::MAX, |piece| again.extend(piece));
            prop_assert_eq!(decoded.unwrap(), (out.len(), true));
            prop_assert_eq!(&again, &data);
        }
    }

    #[test]
    fn a_piece_is_passed_on_as_it_is_when_all_of_it_is_of_the_body() {
        let mut body = Body::Length(5);
        assert!(!body.takes_whole(6));
        assert!(body.takes_whole(3));
        assert_eq!(body, Body::Length(2));
        assert!(!body.takes_whole(3));
        assert!(body.takes_whole(2));
        assert_eq!(body, Body::Done);
        for mut other in [
            Body::Done,
            Body::UntilClose,
            Body::Chunked(Chunks::default()),
        ] {
            assert!(!other.takes_whole(1), "{other:?}");
        }
    }

    #[test]
    fn a_body_that_breaks_off_has_no_end() {
        let mut into = Vec::new();
        assert!(!Body::Length(5).end(&mut into));
        assert!(!Body::Chunked(Chunks::default()).end(&mut into));
        assert!(into.is_empty());
    }
}
