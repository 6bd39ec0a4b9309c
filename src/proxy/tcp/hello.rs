//! Which name a client's TLS asks for, found out without taking part in it.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use rustls::server::Acceptor;
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, timeout_at};

use crate::proxy::connection::Socket;

/// How long a client may take to send its hello.
const TIME: Duration = Duration::from_secs(10);
/// The longest hello, in bytes.
const LONGEST: usize = 16 << 10;
/// What is read at a time.
const READ: usize = 2 << 10;
/// The type of record a hello comes in (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;

/// What a client begins with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Hello {
    /// TLS, for this name if it says one, in lower case.
    Tls { name: Option<String> },
    /// Something else, or nothing yet.
    Unknown,
}

/// Waits for what the client begins with, and leaves it to be read again.
///
/// # Errors
/// When the client leaves without having said anything.
pub(super) async fn read(socket: &mut Socket) -> io::Result<Hello> {
    let until = Instant::now() + TIME;
    let mut read = std::mem::take(&mut socket.unread);
    let mut reader = Reader::default();
    let hello = loop {
        match reader.read(&read) {
            Read::Hello(hello) => break hello,
            Read::Partial if read.len() >= LONGEST => break Hello::Unknown,
            Read::Partial => {}
        }
        read.reserve(READ);
        match timeout_at(until, socket.read_buf(&mut read)).await {
            Ok(Ok(0)) if read.is_empty() => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(Ok(0)) | Err(_) => break Hello::Unknown,
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(error),
        }
    };
    socket.unread = if read.is_empty() {
        BytesMut::new()
    } else {
        read
    };
    Ok(hello)
}

/// Reads hellos piece by piece.
#[derive(Default)]
struct Reader {
    acceptor: Acceptor,
    /// How much it has been shown.
    seen: usize,
}

#[derive(Debug, PartialEq, Eq)]
enum Read {
    Hello(Hello),
    Partial,
}

impl Reader {
    /// What `bytes` are, which begin with those of the call before.
    fn read(&mut self, bytes: &[u8]) -> Read {
        if bytes.first().is_some_and(|&first| first != HANDSHAKE) {
            return Read::Hello(Hello::Unknown);
        }
        let mut new = &bytes[self.seen.min(bytes.len())..];
        while !new.is_empty() {
            if !matches!(self.acceptor.read_tls(&mut new), Ok(1..)) {
                return Read::Hello(Hello::Unknown);
            }
            match self.acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => {
                    let hello = accepted.client_hello();
                    let name = hello.server_name().map(str::to_ascii_lowercase);
                    return Read::Hello(Hello::Tls { name });
                }
                Err(_) => return Read::Hello(Hello::Unknown),
            }
        }
        self.seen = bytes.len();
        Read::Partial
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use rustls::crypto::ring;
    use rustls::{ClientConfig, ClientConnection, RootCertStore};

    use super::*;

    /// What a client says first that connects to `name`.
    fn hello(name: &'static str) -> Vec<u8> {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let mut client = ClientConnection::new(Arc::new(config), name.try_into().unwrap()).unwrap();
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        bytes
    }

    fn tls(name: Option<&str>) -> Read {
        Read::Hello(Hello::Tls {
            name: name.map(str::to_owned),
        })
    }

    #[test]
    fn the_name_is_known_with_the_last_byte_of_the_hello() {
        let bytes = hello("db.example.com");
        let mut reader = Reader::default();
        for length in 0..bytes.len() {
            assert_eq!(reader.read(&bytes[..length]), Read::Partial);
        }
        assert_eq!(reader.read(&bytes), tls(Some("db.example.com")));
        assert_eq!(Reader::default().read(&hello("127.0.0.1")), tls(None));
    }

    #[test]
    fn what_is_no_tls_is_known_with_its_first_byte() {
        let other = Read::Hello(Hello::Unknown);
        assert_eq!(Reader::default().read(b"*"), other);
        assert_eq!(Reader::default().read(b"\x16\x03\x01\xff\xff"), other);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(
            flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
            cut: prop::sample::Index,
        ) {
            let mut bytes = hello("db.example.com");
            for (index, byte) in flips {
                let at = index.index(bytes.len());
                bytes[at] = byte;
            }
            let mut reader = Reader::default();
            if reader.read(&bytes[..cut.index(bytes.len())]) == Read::Partial {
                reader.read(&bytes);
            }
        }
    }
}
