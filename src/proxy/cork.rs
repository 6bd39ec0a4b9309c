//! Handshakes for another protocol, such as WebSocket's: the instance gets one when callboard is
//! done with it, and not earlier.
//!
//! Pingora passes a request without a body on as a head and then its end, and looks at what comes
//! back and at the end in any order. An answer that switches protocols and comes first is fatal: the
//! end then counts as that of the new protocol, and the connection is cut as soon as it is made. So
//! what is written to such a connection stays in the system ([`TCP_CORK`]) until the task that wrote
//! it sleeps, which it does once the end is dealt with: nobody answers what it has not got. If the task
//! never sleeps, the system lets the handshake go after 200ms. On other systems than Linux, nothing is
//! held back.
//!
//! [`TCP_CORK`]: https://man7.org/linux/man-pages/man7/tcp.7.html

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use log::debug;
use pingora::upstreams::peer::HttpPeer;
#[cfg(target_os = "linux")]
use socket2::SockRef;

use super::watchdog;

/// A connection that sends nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Cork(Arc<Mutex<Option<OwnedFd>>>);

impl Cork {
    /// Keeps the connection that will be made to `peer` from sending; one that is made already sends.
    pub(super) fn put_on(peer: &mut HttpPeer) -> Self {
        let cork = Self::default();
        let put_on = cork.clone();
        peer.options.upstream_tcp_sock_tweak_hook = Some(Arc::new(move |socket| {
            match socket.as_fd().try_clone_to_owned() {
                Ok(socket) => {
                    set(&socket, true);
                    put_on.put(socket);
                }
                Err(error) => debug!("a handshake is not held back: {error}"),
            }
            Ok(())
        }));
        cork
    }

    /// Lets the connection send when the task that calls this sleeps.
    pub(super) fn pull_in_sleep(&self) {
        if let Some(socket) = self.slot().take() {
            watchdog::uncork(socket);
        }
    }

    fn put(&self, socket: OwnedFd) {
        *self.slot() = Some(socket);
    }

    fn slot(&self) -> MutexGuard<'_, Option<OwnedFd>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets the connection send what it holds, and whatever follows.
pub(super) fn pull(socket: &OwnedFd) {
    set(socket, false);
}

#[cfg(target_os = "linux")]
fn set(socket: &OwnedFd, corked: bool) {
    if let Err(error) = SockRef::from(socket).set_tcp_cork(corked) {
        debug!("cannot set TCP_CORK to {corked}: {error}");
    }
}

#[cfg(not(target_os = "linux"))]
fn set(_: &OwnedFd, _: bool) {}
