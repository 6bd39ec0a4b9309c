//! A socket that listens, over TCP or at a path, and the connections that come from it.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;

use tokio::net::{TcpStream, UnixStream};

use crate::address::Address;
use crate::proxy::connection::Socket;

/// A connection, and where it is from unless that is a Unix socket.
pub(super) type Accepted = (Socket, Option<SocketAddr>);

/// The socket. It does not block.
#[derive(Debug)]
pub(super) enum Listening {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// The same, for tasks to wait on.
pub(super) enum Listener {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

impl Listening {
    /// What was handed over as a socket that listens at `address`.
    pub(super) fn from_file(address: &Address, file: OwnedFd) -> Self {
        match address {
            Address::Inet(_) => Self::Tcp(file.into()),
            Address::Unix(_) => Self::Unix(file.into()),
        }
    }

    /// The same socket once more.
    ///
    /// # Errors
    /// When there may be no more open files.
    pub(super) fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(socket) => Self::Tcp(socket.try_clone()?),
            Self::Unix(socket) => Self::Unix(socket.try_clone()?),
        })
    }

    /// Where it listens, with the port the system chose for port 0.
    ///
    /// # Errors
    /// When the system does not say.
    pub(super) fn address(&self) -> io::Result<Address> {
        match self {
            Self::Tcp(socket) => Ok(socket.local_addr()?.into()),
            Self::Unix(socket) => (socket.local_addr()?.as_pathname())
                .and_then(|path| Address::unix(path).ok())
                .ok_or_else(|| io::Error::other("it has no path")),
        }
    }

    /// Takes the next connection, if one waits.
    ///
    /// # Errors
    /// Those of accept(2); `WouldBlock` if none does.
    pub(super) fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(socket) => {
                let (stream, peer) = socket.accept()?;
                stream.set_nonblocking(true)?;
                Ok((TcpStream::from_std(stream)?.into(), Some(peer)))
            }
            Self::Unix(socket) => {
                let (stream, _) = socket.accept()?;
                stream.set_nonblocking(true)?;
                Ok((UnixStream::from_std(stream)?.into(), None))
            }
        }
    }
}

impl AsFd for Listening {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }
}

impl Listener {
    /// # Errors
    /// When the runtime cannot watch it.
    pub(super) fn new(socket: Listening) -> io::Result<Self> {
        Ok(match socket {
            Listening::Tcp(socket) => Self::Tcp(tokio::net::TcpListener::from_std(socket)?),
            Listening::Unix(socket) => Self::Unix(tokio::net::UnixListener::from_std(socket)?),
        })
    }

    /// The socket, which no task waits on any more.
    ///
    /// # Errors
    /// When the runtime does not let it go.
    pub(super) fn into_inner(self) -> io::Result<Listening> {
        Ok(match self {
            Self::Tcp(listener) => Listening::Tcp(listener.into_std()?),
            Self::Unix(listener) => Listening::Unix(listener.into_std()?),
        })
    }

    /// The next connection.
    ///
    /// # Errors
    /// Those of accept(2).
    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((stream.into(), Some(peer)))
            }
            Self::Unix(listener) => Ok((listener.accept().await?.0.into(), None)),
        }
    }
}
