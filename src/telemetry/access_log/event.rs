//! What is logged besides requests.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use http::HeaderMap;

use crate::instance::Instance;

/// Something that was no request, or none that could be understood, and what it was answered. What is
/// not known is `None`.
#[derive(Clone, Copy, Debug)]
pub struct Refused<'a> {
    /// When the answer was given.
    pub at: SystemTime,
    /// What it is called.
    pub id: Option<&'a str>,
    /// Where its connection is from.
    pub peer: Option<SocketAddr>,
    /// Whether it came over TLS.
    pub secured: bool,
    /// The method, or what stands in its place.
    pub method: Option<&'a [u8]>,
    /// The path and query, or what stands in their place.
    pub target: Option<&'a [u8]>,
    /// The host that it named.
    pub host: Option<&'a [u8]>,
    /// The version of HTTP.
    pub protocol: Option<&'a [u8]>,
    /// Its headers.
    pub headers: Option<&'a HeaderMap>,
    /// The status it was answered with.
    pub status: u16,
    /// Bytes of the answer's body.
    pub sent: u64,
    /// The error type of RFC 9209.
    pub error: &'a str,
    /// What is wrong with it, for people.
    pub detail: &'a str,
}

impl Default for Refused<'_> {
    fn default() -> Self {
        Self {
            at: SystemTime::UNIX_EPOCH,
            id: None,
            peer: None,
            secured: false,
            method: None,
            target: None,
            host: None,
            protocol: None,
            headers: None,
            status: 400,
            sent: 0,
            error: "http_protocol_error",
            detail: "",
        }
    }
}

/// A connection of a TCP listener that has ended.
#[derive(Clone, Copy, Debug)]
pub struct Connection<'a> {
    /// When it was accepted.
    pub accepted: SystemTime,
    /// From then to its end.
    pub took: Duration,
    /// How long connecting to the instance took, if it came to that.
    pub connecting: Option<Duration>,
    /// The client.
    pub client: Option<SocketAddr>,
    /// Whether callboard ended TLS.
    pub secured: bool,
    /// Bytes from the client.
    pub received: u64,
    /// Bytes to the client.
    pub sent: u64,
    /// The service it was for; `None` if it was for none.
    pub service: Option<&'a str>,
    /// The instance that took it.
    pub instance: Option<&'a Instance>,
    /// Why it was not passed on or did not end as connections should.
    pub error: Option<&'a str>,
    /// That for people.
    pub detail: Option<&'a str>,
}
