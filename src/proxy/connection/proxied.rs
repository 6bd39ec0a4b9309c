//! The header of the [PROXY protocol](https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt), by
//! which a balancer in front says where a connection is from.
//!
//! Whoever can reach such a listener can name any address, so it should be reached through the balancer
//! only; and a connection without the header is closed, because it did not come that way.

use std::io;
use std::net::SocketAddr;

use bytes::BytesMut;
use tokio::io::AsyncReadExt;

use super::socket::Socket;

/// The longest header in text, its end included (section 2.1).
const LONGEST_V1: usize = 107;
/// The longest binary header that is read, in bytes. What it says beside the addresses is skipped.
const LONGEST_V2: usize = 4_096;
/// What a binary header begins with, and the fixed part up to its length (section 2.2).
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const FIXED: usize = SIGNATURE.len() + 4;
const TEXT: &[u8] = b"PROXY ";

/// What a header says of a connection. `None` where it says nothing: the balancer speaks for itself,
/// as in a health check, or the client came another way than over IP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// The client, and whom it connected to.
    pub(super) ends: Option<(SocketAddr, SocketAddr)>,
}

/// Reads the header that the connection begins with, and nothing of what follows it.
///
/// # Errors
/// When there is none.
pub(super) async fn read(socket: &mut Socket) -> io::Result<Said> {
    let mut read = std::mem::take(&mut socket.unread);
    loop {
        match parse(&read) {
            Ok(Parsed::Whole { said, length }) => {
                let rest = read.split_off(length);
                socket.unread = if rest.is_empty() {
                    BytesMut::new()
                } else {
                    rest
                };
                return Ok(said);
            }
            Ok(Parsed::Partial) => {}
            Err(Malformed) => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "what it begins with is no PROXY header",
                ));
            }
        }
        read.reserve(LONGEST_V1);
        if socket.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// What the first bytes of a connection are.
#[derive(Debug, PartialEq, Eq)]
enum Parsed {
    /// A header of this many bytes.
    Whole { said: Said, length: usize },
    /// The beginning of one.
    Partial,
}

/// They are no header.
#[derive(Debug, PartialEq, Eq)]
struct Malformed;

fn parse(bytes: &[u8]) -> Result<Parsed, Malformed> {
    if begins(bytes, SIGNATURE) {
        binary(bytes)
    } else if begins(bytes, TEXT) {
        text(bytes)
    } else {
        Err(Malformed)
    }
}

/// Whether the two are alike as far as both go.
fn begins(bytes: &[u8], with: &[u8]) -> bool {
    let length = bytes.len().min(with.len());
    bytes[..length] == with[..length]
}

fn text(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let bytes = &bytes[..bytes.len().min(LONGEST_V1)];
    let Some(end) = memchr::memchr(b'\n', bytes) else {
        return if bytes.len() < LONGEST_V1 {
            Ok(Parsed::Partial)
        } else {
            Err(Malformed)
        };
    };
    let length = end + 1;
    let line = &bytes[..length];
    // What else is said of an unknown connection is to be ignored.
    if line.starts_with(b"PROXY UNKNOWN") && line.ends_with(b"\r\n") && !is_word(line.get(13)) {
        let said = Said::default();
        return Ok(Parsed::Whole { said, length });
    }
    let header = ppp::v1::Header::try_from(line).map_err(|_| Malformed)?;
    if header.header.len() != length {
        return Err(Malformed);
    }
    let ends = match header.addresses {
        ppp::v1::Addresses::Tcp4(ends) => Some((
            (ends.source_address, ends.source_port).into(),
            (ends.destination_address, ends.destination_port).into(),
        )),
        ppp::v1::Addresses::Tcp6(ends) => Some((
            (ends.source_address, ends.source_port).into(),
            (ends.destination_address, ends.destination_port).into(),
        )),
        ppp::v1::Addresses::Unknown => None,
    };
    Ok(Parsed::Whole {
        said: Said { ends },
        length,
    })
}

/// Whether a word goes on with this byte.
fn is_word(byte: Option<&u8>) -> bool {
    byte.is_some_and(|byte| !matches!(byte, b' ' | b'\r'))
}

fn binary(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let Some(fixed) = bytes.get(..FIXED) else {
        return Ok(Parsed::Partial);
    };
    let length = FIXED + usize::from(u16::from_be_bytes([fixed[FIXED - 2], fixed[FIXED - 1]]));
    if length > LONGEST_V2 {
        return Err(Malformed);
    }
    let Some(whole) = bytes.get(..length) else {
        return Ok(Parsed::Partial);
    };
    let ends = match fixed[SIGNATURE.len()] {
        // LOCAL: the balancer itself; whatever else is said is to be ignored.
        0x20 => None,
        _ => match ppp::v2::Header::try_from(whole) {
            Ok(header) => match header.addresses {
                ppp::v2::Addresses::IPv4(ends) => Some((
                    (ends.source_address, ends.source_port).into(),
                    (ends.destination_address, ends.destination_port).into(),
                )),
                ppp::v2::Addresses::IPv6(ends) => Some((
                    (ends.source_address, ends.source_port).into(),
                    (ends.destination_address, ends.destination_port).into(),
                )),
                ppp::v2::Addresses::Unix(_) | ppp::v2::Addresses::Unspecified => None,
            },
            Err(_) => return Err(Malformed),
        },
    };
    Ok(Parsed::Whole {
        said: Said { ends },
        length,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ends(source: &str, destination: &str) -> Option<(SocketAddr, SocketAddr)> {
        Some((source.parse().unwrap(), destination.parse().unwrap()))
    }

    fn v2(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family], &length, payload].concat()
    }

    fn assert_whole(header: &[u8], ends: Option<(SocketAddr, SocketAddr)>) {
        let whole = Parsed::Whole {
            said: Said { ends },
            length: header.len(),
        };
        let followed = [header, b"GET / HTTP/1.1\r\n"].concat();
        assert_eq!(parse(header).as_ref(), Ok(&whole));
        assert_eq!(parse(&followed).as_ref(), Ok(&whole));
        for length in 0..header.len() {
            let part = &header[..length];
            assert_eq!(parse(part), Ok(Parsed::Partial), "{part:?}");
        }
    }

    #[test]
    fn a_header_in_text_is_whole_with_its_line() {
        assert_whole(
            b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n",
            ends("192.168.0.1:56324", "192.168.0.11:443"),
        );
        assert_whole(
            b"PROXY TCP6 2001:db8::1 ::1 1 65535\r\n",
            ends("[2001:db8::1]:1", "[::1]:65535"),
        );
        // The specification's worst cases, of 104 and 107 bytes.
        let longest = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        let worst = format!("{longest} {longest} 65535 65535\r\n");
        let end = format!("[{longest}]:65535");
        assert_whole(format!("PROXY TCP6 {worst}").as_bytes(), ends(&end, &end));
        assert_whole(format!("PROXY UNKNOWN {worst}").as_bytes(), None);
        assert_whole(b"PROXY UNKNOWN\r\n", None);
    }

    #[test]
    fn a_binary_header_is_whole_with_its_length_and_what_is_beside_the_addresses_is_skipped() {
        let inet = [&[10, 0, 0, 1, 10, 0, 0, 2, 0x12, 0x34, 0, 80][..]].concat();
        let said = ends("10.0.0.1:4660", "10.0.0.2:80");
        assert_whole(&v2(0x21, 0x11, &inet), said);
        let with_crc = [&inet[..], &[3, 0, 4, 1, 2, 3, 4], &[4, 0, 2, 0, 0]].concat();
        assert_whole(&v2(0x21, 0x11, &with_crc), said);
        let mut inet6 = [0; 36];
        (inet6[15], inet6[31], inet6[33], inet6[35]) = (1, 2, 3, 4);
        assert_whole(&v2(0x21, 0x21, &inet6), ends("[::1]:3", "[::2]:4"));
        assert_whole(&v2(0x21, 0x31, &[b'/'; 216]), None);
        assert_whole(&v2(0x21, 0x00, &[]), None);
        assert_whole(&v2(0x20, 0x00, &[]), None);
        assert_whole(&v2(0x20, 0x11, &inet), None);
        assert_whole(&v2(0x20, 0xee, &[1, 2, 3]), None);
    }

    #[test]
    fn anything_else_is_malformed() {
        let long = [b"PROXY UNKNOWN ", &[b'x'; LONGEST_V1][..], b"\r\n"].concat();
        for bytes in [
            b"GET / HTTP/1.1\r\n".to_vec(),
            b"PROXX".to_vec(),
            b"PROXYTCP4 ".to_vec(),
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n".to_vec(),
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n".to_vec(),
            b"PROXY TCP4 1.2.3.4 ::1 1 2\r\n".to_vec(),
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n".to_vec(),
            b"PROXY TCP4 1.2.3.4\r5.6.7.8 1 2\r\n".to_vec(),
            b"PROXY TCP4  1.2.3.4 5.6.7.8 1 2\r\n".to_vec(),
            b"PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n".to_vec(),
            b"PROXY UNKNOWNS\r\n".to_vec(),
            b"PROXY \r\n".to_vec(),
            long,
            v2(0x22, 0x11, &[0; 12]),
            v2(0x11, 0x11, &[0; 12]),
            v2(0x21, 0x11, &[0; 11]),
            v2(0x21, 0x21, &[0; 35]),
            v2(0x21, 0x31, &[0; 215]),
            v2(0x21, 0x41, &[0; 12]),
            v2(0x21, 0x13, &[0; 12]),
            v2(0x20, 0x00, &[0; LONGEST_V2]),
        ] {
            assert_eq!(parse(&bytes), Err(Malformed), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_more_of_a_header_than_there_are(
            start in prop::sample::select(vec![&b""[..], b"PROXY TCP4 ", b"PROXY TCP6 ", SIGNATURE]),
            rest in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let bytes = [start, &rest].concat();
            if let Ok(Parsed::Whole { length, .. }) = parse(&bytes) {
                prop_assert!(length <= bytes.len());
            }
        }

        #[test]
        fn what_a_header_says_is_what_was_written(
            source: (std::net::Ipv6Addr, u16),
            destination: (std::net::Ipv6Addr, u16),
        ) {
            let (from, to) = (source.0, destination.0);
            let line = format!("PROXY TCP6 {from} {to} {} {}\r\n", source.1, destination.1);
            assert_whole(line.as_bytes(), Some((source.into(), destination.into())));
        }
    }
}
