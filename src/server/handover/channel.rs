//! Lines of JSON over a Unix socket, and open files along with them.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

use super::Message;

/// The most files one message brings: the data plane's 64 listeners and the control plane's one.
const MAX_FILES: usize = 65;
/// The longest line. The longest message is the membership of a registry that keeps it in memory.
const MAX_LINE: usize = 1 << 30;
/// How much is read at once, in bytes.
const CHUNK: usize = 64 * 1_024;

/// One end of the conversation.
#[derive(Debug)]
pub(super) struct Channel {
    stream: UnixStream,
    /// What was read and not yet understood.
    unread: Vec<u8>,
    files: Vec<OwnedFd>,
}

/// Why nothing was understood.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChannelError {
    #[error("the other process ended the conversation")]
    Ended,
    #[error("the other process said nothing for {}", humantime::format_duration(*.0))]
    Silent(Duration),
    #[error("the other process said what makes no sense here: {0}")]
    Nonsense(String),
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl Channel {
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        Ok(Self {
            stream,
            unread: Vec::new(),
            files: Vec::new(),
        })
    }

    /// Says `message`, which the other may take `within` to hear.
    pub(super) fn send(&mut self, message: &Message, within: Duration) -> Result<(), ChannelError> {
        self.send_with(message, &[], within)
    }

    /// The same, with these files along.
    pub(super) fn send_with(
        &mut self,
        message: &Message,
        files: &[BorrowedFd<'_>],
        within: Duration,
    ) -> Result<(), ChannelError> {
        let mut line = serde_json::to_vec(message).map_err(io::Error::other)?;
        line.push(b'\n');
        self.stream.set_write_timeout(Some(within))?;
        let mut sent = 0;
        if !files.is_empty() {
            let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_FILES))];
            let mut along = SendAncillaryBuffer::new(&mut space);
            if !along.push(SendAncillaryMessage::ScmRights(files)) {
                return Err(io::Error::other("too many sockets to hand over").into());
            }
            let line = [IoSlice::new(&line)];
            sent = rustix::net::sendmsg(&self.stream, &line, &mut along, SendFlags::NOSIGNAL)
                .map_err(io::Error::from)?;
        }
        Ok(self
            .stream
            .write_all(line.get(sent..).unwrap_or_default())?)
    }

    /// What the other says next, `within` this time.
    pub(super) fn receive(&mut self, within: Duration) -> Result<Message, ChannelError> {
        let deadline = Instant::now() + within;
        let mut seen = 0;
        loop {
            let fresh = self.unread.get(seen..).unwrap_or_default();
            if let Some(end) = fresh.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=seen + end).collect();
                return serde_json::from_slice(&line)
                    .map_err(|error| ChannelError::Nonsense(error.to_string()));
            }
            seen = self.unread.len();
            if seen > MAX_LINE {
                return Err(ChannelError::Nonsense("a line without an end".to_owned()));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ChannelError::Silent(within));
            }
            self.stream.set_read_timeout(Some(left))?;
            match self.read() {
                Ok(0) => return Err(ChannelError::Ended),
                Ok(_) => {}
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {}
                    ErrorKind::ConnectionReset => return Err(ChannelError::Ended),
                    _ => return Err(error.into()),
                },
            }
        }
    }

    fn read(&mut self) -> io::Result<usize> {
        let mut chunk = vec![0; CHUNK];
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_FILES))];
        let mut along = RecvAncillaryBuffer::new(&mut space);
        let mut into = [IoSliceMut::new(&mut chunk)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let received = rustix::net::recvmsg(&self.stream, &mut into, &mut along, flags)?;
        for message in along.drain() {
            if let RecvAncillaryMessage::ScmRights(files) = message {
                let room = MAX_FILES.saturating_sub(self.files.len());
                self.files.extend(files.take(room));
            }
        }
        self.unread.extend(chunk.iter().take(received.bytes));
        Ok(received.bytes)
    }

    /// The files that came along so far.
    pub(super) fn files(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.files)
    }

    /// Whether the other end is open. What it still says is not of interest.
    pub(super) fn is_open(&mut self) -> bool {
        if self.stream.set_nonblocking(true).is_err() {
            return false;
        }
        let open = loop {
            match self.read() {
                Ok(0) => break false,
                Ok(_) => self.unread.clear(),
                Err(error) => break error.kind() == ErrorKind::WouldBlock,
            }
        };
        open && self.stream.set_nonblocking(false).is_ok()
    }

    /// The other process: its user, and its id if it has one here.
    pub(super) fn peer(&self) -> io::Result<(rustix::process::Uid, rustix::process::Pid)> {
        let credentials = rustix::net::sockopt::socket_peercred(&self.stream)?;
        Ok((credentials.uid, credentials.pid))
    }
}

impl ChannelError {
    /// That `message` is not what was expected.
    pub(super) fn unexpected(message: &Message) -> Self {
        Self::Nonsense(format!("{message}"))
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::AsFd;

    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    fn pair() -> (Channel, Channel) {
        let (a, b) = UnixStream::pair().unwrap();
        (Channel::new(a).unwrap(), Channel::new(b).unwrap())
    }

    #[test]
    fn a_socket_that_came_along_listens_where_it_did() {
        let (mut here, mut there) = pair();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let why = "because".to_owned();
        here.send_with(&Message::Refused { why }, &[listener.as_fd()], SOON)
            .unwrap();
        here.send(&Message::Ready, SOON).unwrap();
        assert!(matches!(there.receive(SOON), Ok(Message::Refused { why }) if why == "because"));
        assert!(matches!(there.receive(SOON), Ok(Message::Ready)));
        let [file] = <[OwnedFd; 1]>::try_from(there.files()).unwrap();
        let taken = TcpListener::from(file);
        assert_eq!(taken.local_addr().unwrap(), listener.local_addr().unwrap());
    }

    #[test]
    fn a_long_message_arrives_whole() {
        let (mut here, mut there) = pair();
        let long = "x".repeat(3 << 20);
        let saying = std::thread::spawn({
            let membership = Some(long.clone());
            let splits = None;
            move || {
                let yours = Message::Yours { membership, splits };
                here.send(&yours, SOON).unwrap();
            }
        });
        let heard = there.receive(SOON).unwrap();
        saying.join().unwrap();
        assert!(matches!(heard, Message::Yours { membership, .. } if membership == Some(long)));
    }

    #[test]
    fn silence_nonsense_and_the_end_are_told_apart() {
        let (mut here, mut there) = pair();
        let silent = there.receive(Duration::from_millis(1)).unwrap_err();
        assert!(matches!(silent, ChannelError::Silent(_)));
        assert!(there.is_open());
        here.stream.write_all(b"{\"say\":\"moo\"}\n").unwrap();
        let nonsense = there.receive(SOON).unwrap_err();
        assert!(matches!(nonsense, ChannelError::Nonsense(_)), "{nonsense}");
        drop(here);
        assert!(matches!(there.receive(SOON), Err(ChannelError::Ended)));
        assert!(!there.is_open());
        assert!(there.send(&Message::Go, SOON).is_err(), "nobody hears it");
    }
}
