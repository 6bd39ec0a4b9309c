//! What a connection that is passed on runs over.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use log::debug;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::server::TlsStream;

use crate::dial;
use crate::proxy::connection::Socket;

/// A client's or an instance's connection.
pub(super) trait Transport: AsyncRead + AsyncWrite + Unpin {
    /// The system's name for it.
    fn file(&self) -> BorrowedFd<'_>;

    /// Sends what is written at once, and lets the system find out when the other side is gone.
    fn set_up(&self) {
        let file = self.file();
        let socket = SockRef::from(&file);
        for outcome in [
            socket.set_tcp_nodelay(true),
            socket.set_tcp_keepalive(&dial::KEEPALIVE),
        ] {
            if let Err(error) = outcome {
                // A Unix socket knows neither, and needs neither.
                debug!("a connection is not set up in full: {error}");
            }
        }
    }

    /// Has the connection reset when it is dropped, so that nobody takes its end for the end of what
    /// was to be said.
    fn reset_on_close(&self) {
        let file = self.file();
        let _ = SockRef::from(&file).set_linger(Some(Duration::ZERO));
    }
}

impl Transport for Socket {
    fn file(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }
}

impl Transport for TlsStream<Socket> {
    fn file(&self) -> BorrowedFd<'_> {
        self.get_ref().0.as_fd()
    }
}

impl Transport for dial::Stream {
    fn file(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }
}
