//! Where a request's body ends (RFC 9112, sections 6 and 7), so that not a byte of what follows is
//! taken for it.
//!
//! Pingora takes the chunks apart and writes them anew for the instance; this only follows along. If
//! the two ever disagreed, one would wait for bytes that the other keeps, or the connection would end
//! with the request; bytes of one request never reach another.

/// The longest line before a chunk, in bytes; its extensions are dropped.
const MAX_CHUNK_LINE: usize = 4 << 10;
/// The longest trailer section, in bytes; it is dropped.
const MAX_TRAILERS: usize = 16 << 10;

/// What is still to come of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) enum Framing {
    /// Nothing.
    Done,
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked(Chunks),
}

/// Why a body is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) enum Broken {
    /// It is not made of chunks.
    BadChunk,
    /// It is longer than allowed.
    TooLong,
}

/// How far a chunked body has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::proxy) struct Chunks {
    at: At,
    /// Bytes of all chunks whose size is known.
    total: u64,
    /// Bytes of the line before this chunk, or of the trailers.
    line: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// In the size, of which so much is known; `None` before its first digit.
    Size(Option<u64>),
    /// In what follows the size.
    Extension(u64),
    /// Before the line feed of the size's line.
    SizeEnd(u64),
    /// In the data, of which so much is to come.
    Data(u64),
    /// Before the carriage return, then the line feed, after the data.
    DataReturn,
    DataFeed,
    /// At the start of a trailer, in it, before its line feed, and before the last line feed.
    TrailerStart,
    Trailer,
    TrailerEnd,
    LastFeed,
}

impl Default for At {
    fn default() -> Self {
        Self::Size(None)
    }
}

impl Framing {
    /// How many of `bytes`, which come next, belong to the body: at least one unless it is done.
    ///
    /// # Errors
    /// When they make it anything but a body of at most `most` bytes.
    pub(super) fn take(&mut self, bytes: &[u8], most: u64) -> Result<usize, Broken> {
        match self {
            Self::Done => Ok(0),
            Self::Length(left) => {
                let taken = bytes
                    .len()
                    .min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= taken as u64;
                if *left == 0 {
                    *self = Self::Done;
                }
                Ok(taken)
            }
            Self::Chunked(chunks) => {
                let (taken, is_last) = chunks.take(bytes, most)?;
                if is_last {
                    *self = Self::Done;
                }
                Ok(taken)
            }
        }
    }
}

impl Chunks {
    /// How many of `bytes` belong to the body, and whether it ends with them.
    fn take(&mut self, bytes: &[u8], most: u64) -> Result<(usize, bool), Broken> {
        self.decode(bytes, most, |_| {})
    }

    /// The same, handing on each piece of data.
    ///
    /// # Errors
    /// When they make it anything but a body of at most `most` bytes.
    pub(in crate::proxy) fn decode(
        &mut self,
        bytes: &[u8],
        most: u64,
        mut data: impl FnMut(&[u8]),
    ) -> Result<(usize, bool), Broken> {
        let mut taken = 0;
        while let Some(&byte) = bytes.get(taken) {
            if let At::Data(left) = self.at {
                let here = (bytes.len() - taken).min(usize::try_from(left).unwrap_or(usize::MAX));
                data(&bytes[taken..taken + here]);
                taken += here;
                self.at = match left - here as u64 {
                    0 => At::DataReturn,
                    left => At::Data(left),
                };
                continue;
            }
            taken += 1;
            if self.at == At::LastFeed {
                return if byte == b'\n' {
                    Ok((taken, true))
                } else {
                    Err(Broken::BadChunk)
                };
            }
            self.step(byte, most)?;
        }
        Ok((taken, false))
    }

    /// One byte outside the data.
    fn step(&mut self, byte: u8, most: u64) -> Result<(), Broken> {
        self.line += 1;
        let allowed = match self.at {
            At::TrailerStart | At::Trailer | At::TrailerEnd => MAX_TRAILERS,
            _ => MAX_CHUNK_LINE,
        };
        if self.line > allowed {
            return Err(Broken::BadChunk);
        }
        self.at = match (self.at, byte) {
            (At::Size(size), byte) if byte.is_ascii_hexdigit() => {
                let digit = (byte as char).to_digit(16).map_or(0, u64::from);
                let size = size.unwrap_or(0);
                let grown = size
                    .checked_mul(16)
                    .and_then(|size| size.checked_add(digit));
                At::Size(Some(grown.ok_or(Broken::BadChunk)?))
            }
            (At::Size(Some(size)) | At::Extension(size), b'\r') => At::SizeEnd(size),
            (At::Size(Some(size)), b';' | b' ' | b'\t') => At::Extension(size),
            (At::Extension(size), b'\t' | b' '..=b'~' | 0x80..) => At::Extension(size),
            (At::SizeEnd(0), b'\n') => {
                self.line = 0;
                At::TrailerStart
            }
            (At::SizeEnd(size), b'\n') => {
                self.line = 0;
                self.total = self.total.checked_add(size).ok_or(Broken::TooLong)?;
                if self.total > most {
                    return Err(Broken::TooLong);
                }
                At::Data(size)
            }
            (At::DataReturn, b'\r') => At::DataFeed,
            (At::DataFeed, b'\n') => {
                self.line = 0;
                At::Size(None)
            }
            (At::TrailerStart, b'\r') => At::LastFeed,
            (At::Trailer, b'\r') => At::TrailerEnd,
            (At::TrailerStart | At::Trailer, b'\t' | b' '..=b'~' | 0x80..) => At::Trailer,
            (At::TrailerEnd, b'\n') => At::TrailerStart,
            _ => return Err(Broken::BadChunk),
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chunked() -> Framing {
        Framing::Chunked(Chunks::default())
    }

    #[test]
    fn a_body_ends_where_its_framing_says() {
        for (framing, bytes, length) in [
            (Framing::Done, "GET /", 0),
            (Framing::Length(5), "helloGET /", 5),
            (chunked(), "0\r\n\r\nGET /", 5),
            (chunked(), "5\r\nhello\r\n0\r\n\r\nGET /", 15),
            (
                chunked(),
                "0A;a=\"b\"\r\n0123456789\r\n000\r\nX: y\r\nZ: 1\r\n\r\nG",
                41,
            ),
        ] {
            let mut framing = framing;
            assert_eq!(framing.take(bytes.as_bytes(), 100), Ok(length), "{bytes:?}");
            assert_eq!(framing, Framing::Done, "{bytes:?}");
        }
    }

    #[test]
    fn what_is_not_made_of_chunks_is_refused() {
        for bytes in [
            "x\r\n",
            "\r\n",
            "-1\r\n",
            "5\nhello",
            "5\rhello",
            "5\r\nhelloX",
            "5\r\nhello\n",
            "10000000000000000\r\n",
            "0\r\nX: y\n",
            "0\r\n\rX",
            "1;\0\r\n",
        ] {
            let taken = chunked().take(bytes.as_bytes(), u64::MAX);
            assert_eq!(taken, Err(Broken::BadChunk), "{bytes:?}");
        }
        let endless = format!("1;{}", "x".repeat(MAX_CHUNK_LINE));
        assert!(chunked().take(endless.as_bytes(), 9).is_err());
        let endless = format!("0\r\n{}", "x: y\r\n".repeat(MAX_TRAILERS / 6 + 1));
        assert!(chunked().take(endless.as_bytes(), 9).is_err());
    }

    #[test]
    fn a_chunked_body_may_be_as_long_as_allowed_and_no_longer() {
        let body = b"5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n";
        assert_eq!(chunked().take(body, 10), Ok(body.len()));
        assert_eq!(chunked().take(body, 9), Err(Broken::TooLong));
        let huge = b"ffffffffffffffff\r\nx";
        assert_eq!(chunked().take(huge, u64::MAX), Ok(huge.len()));
    }

    proptest! {
        #[test]
        fn it_matters_not_in_which_pieces_a_body_comes(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..8),
            after in proptest::collection::vec(any::<u8>(), 0..20),
            step in 1usize..50,
        ) {
            let mut body = Vec::new();
            for chunk in &chunks {
                body.extend(format!("{:x}\r\n", chunk.len()).bytes());
                body.extend(chunk);
                body.extend(b"\r\n");
            }
            body.extend(b"0\r\n\r\n");
            let end = body.len();
            body.extend(after);
            let mut framing = chunked();
            let mut taken = 0;
            while framing != Framing::Done {
                let piece = &body[taken..(taken + step).min(body.len())];
                let more = framing.take(piece, u64::MAX).unwrap();
                prop_assert!(more > 0);
                taken += more;
            }
            prop_assert_eq!(taken, end);
        }

        #[test]
        fn no_bytes_are_taken_beyond_those_given(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(taken) = chunked().take(&bytes, 1 << 20) {
                prop_assert!(taken <= bytes.len());
            }
        }
    }
}
