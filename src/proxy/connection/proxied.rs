//! The header of the PROXY protocol, by which a balancer in front says where a connection is from.

use std::io;
use std::net::SocketAddr;

use super::socket::Socket;

/// Reads the header that the connection begins with; gives the address that it names.
///
/// # Errors
/// When there is none.
pub(super) async fn read(_socket: &mut Socket) -> io::Result<Option<SocketAddr>> {
    Err(io::ErrorKind::Unsupported.into())
}
