//! Connections that are passed on byte by byte, whatever they carry.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::tls;

use super::connection::{Connections, Socket};
use super::listener::TcpRoutes;

/// Passes the connection on to an instance of the service it is for, until it ends.
///
/// # Errors
/// When it ends before that.
pub(super) async fn serve(
    _connections: &Arc<Connections>,
    _routes: &TcpRoutes,
    _tls: Option<&tls::Server>,
    _socket: Socket,
    _peer: Option<SocketAddr>,
) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
