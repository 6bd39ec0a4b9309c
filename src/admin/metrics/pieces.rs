//! A long text in pieces: none is copied for it to grow, and each is let go when it was sent.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::mem;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;

/// The size of a piece, in bytes.
const PIECE: usize = 64 << 10;

/// A text that is written, and then sent.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    full: VecDeque<Bytes>,
    last: String,
}

impl Pieces {
    /// How long the text is, in bytes.
    pub(super) fn len(&self) -> usize {
        self.full.iter().map(Bytes::len).sum::<usize>() + self.last.len()
    }

    /// The text as the body of an answer.
    pub(super) fn into_body(mut self) -> Body {
        self.full.push_back(self.last.into());
        Body::from_stream(stream::iter(self.full.into_iter().map(Ok::<_, Infallible>)))
    }
}

impl fmt::Write for Pieces {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.last.len() + text.len() > PIECE {
            let full = mem::replace(&mut self.last, String::with_capacity(PIECE));
            self.full.push_back(full.into());
        }
        self.last.push_str(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn what_is_sent_is_what_was_written() {
        for count in [0, 1, 20_000] {
            let mut pieces = Pieces::default();
            let mut expected = String::new();
            for number in 0..count {
                let line = format!("figure {number}\n");
                pieces.write_str(&line).unwrap();
                expected += &line;
            }
            assert_eq!(pieces.full.is_empty(), expected.len() <= PIECE);
            assert_eq!(pieces.len(), expected.len());
            let sent = pieces.into_body().collect().await.unwrap().to_bytes();
            assert!(sent == expected.as_bytes(), "{count}");
        }
    }
}
