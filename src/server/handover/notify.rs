//! Telling a service manager which process to watch.
//!
//! The protocol is systemd's `sd_notify(3)`: a datagram to the socket named by `NOTIFY_SOCKET`. After
//! an upgrade it is the successor that counts, and the manager would take the end of the predecessor
//! for the end of the service.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use log::warn;

/// Says that this process serves and is the one to watch. Says nothing where nobody asked for it.
pub(super) fn serving() {
    let Some(socket) = env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let message = format!("READY=1\nMAINPID={}\n", std::process::id());
    if let Err(error) = tell(&socket, message.as_bytes()) {
        warn!("cannot tell the service manager at {socket:?} that callboard serves: {error}");
    }
}

fn tell(socket: &OsStr, message: &[u8]) -> io::Result<()> {
    let manager = match socket.as_bytes() {
        [b'@', name @ ..] => abstract_name(name)?,
        _ => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(message, &manager)?;
    Ok(())
}

#[cfg(target_os = "linux")]
fn abstract_name(name: &[u8]) -> io::Result<SocketAddr> {
    use std::os::linux::net::SocketAddrExt;
    SocketAddr::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn abstract_name(_name: &[u8]) -> io::Result<SocketAddr> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_manager_hears_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        tell(path.as_os_str(), b"READY=1").unwrap();
        let mut heard = [0; 32];
        let length = manager.recv(&mut heard).unwrap();
        assert_eq!(&heard[..length], b"READY=1");
    }
}
