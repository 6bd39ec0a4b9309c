//! The successor: asks for the sockets, then for the store, and says when it serves.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use log::{info, warn};

use crate::address::Address;
use crate::config::{Config, Store};
use crate::registry::store::{Recovered, carried};
use crate::server::StartError;
use crate::server::listening::Listening;
use crate::server::sockets::{self, Sockets};

use super::channel::{Channel, ChannelError};
use super::message::PROTOCOL;
use super::{LETTING_GO, Message, STARTING, STEP, TakeOverError};

/// How long to wait between two tries to open the store.
const AGAIN: Duration = Duration::from_millis(50);

/// A process on its way to take another's place.
#[derive(Debug)]
pub(in crate::server) struct Successor {
    channel: Channel,
    /// The other died.
    is_alone: bool,
}

/// What is in no file that can be opened from here.
#[derive(Debug, Default)]
pub(in crate::server) struct Carried {
    pub(in crate::server) membership: Option<Recovered>,
    /// The splits that were set.
    pub(in crate::server) splits: Option<String>,
}

/// How it ended.
pub(super) enum Ending {
    /// The other leaves, or is gone.
    Alone,
    /// The other has taken its place back.
    Withdrawn(String),
}

/// Asks the process that runs by the same configuration for its sockets. Those that `config` does not
/// name are closed here, and what else it names is bound.
///
/// # Errors
/// When nobody can be asked, or an address not be listened on. The other goes on undisturbed.
pub(in crate::server) fn take_sockets(config: &Config) -> Result<(Sockets, Successor), StartError> {
    let path = config.proxy.upgrade_socket.as_ref();
    let path = path.ok_or(TakeOverError::Off)?;
    let stream = UnixStream::connect(path).map_err(|error| TakeOverError::Nobody {
        path: path.display().to_string(),
        error,
    })?;
    let channel = Channel::new(stream).map_err(ChannelError::from);
    let mut channel = channel.map_err(TakeOverError::from)?;
    let offer = ask(&mut channel, &config.registry.store)?;
    let sockets = sockets::take(config, offer)?;
    let successor = Successor {
        channel,
        is_alone: false,
    };
    Ok((sockets, successor))
}

/// What the other has: configured addresses and the sockets that listen there.
#[derive(Debug, Default)]
pub(in crate::server) struct Offer {
    pub(in crate::server) proxy: Vec<(Address, Listening)>,
    pub(in crate::server) registry: Vec<(Address, Listening)>,
}

fn ask(channel: &mut Channel, store: &Store) -> Result<Offer, TakeOverError> {
    let hello = Message::Hello {
        protocol: PROTOCOL,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: process::id(),
    };
    // One that refuses does not listen to this, and what it said can be heard all the same.
    let said = channel.send(&hello, STEP);
    let (proxy, registry) = match channel.receive(STEP) {
        Ok(Message::Welcome {
            version,
            pid,
            store: theirs,
            proxy,
            registry,
        }) => {
            let ours = store.whereabouts();
            if theirs != ours {
                return Err(TakeOverError::OtherStore { theirs, ours });
            }
            info!("taking over from callboard {version} (process {pid})");
            (proxy, registry)
        }
        Ok(Message::Refused { why }) => return Err(TakeOverError::Refused(why)),
        Ok(other) => return Err(ChannelError::unexpected(&other).into()),
        Err(error) => return Err(said.err().unwrap_or(error).into()),
    };
    let mut files = channel.files();
    if files.len() != proxy.len() + 1 {
        let problem = format!("{} sockets for {} addresses", files.len(), proxy.len() + 1);
        return Err(ChannelError::Nonsense(problem).into());
    }
    let of_registry = files.split_off(proxy.len());
    let paired = |addresses: Vec<Address>, files: Vec<OwnedFd>| {
        let both = addresses.into_iter().zip(files);
        let socket = |(address, file)| {
            let socket = Listening::from_file(&address, file);
            (address, socket)
        };
        both.map(socket).collect()
    };
    Ok(Offer {
        proxy: paired(proxy, files),
        registry: paired(vec![registry], of_registry),
    })
}

impl Successor {
    /// Asks for the store, with everything else in hand.
    ///
    /// # Errors
    /// When the other keeps it.
    pub(in crate::server) fn ready(&mut self) -> Result<Carried, StartError> {
        let asked = self.channel.send(&Message::Ready, STEP);
        let heard = asked.and_then(|()| self.channel.receive(LETTING_GO));
        match heard {
            Ok(Message::Yours { membership, splits }) => Ok(Carried {
                membership: membership.as_deref().map(carried::read).transpose()?,
                splits,
            }),
            Ok(Message::Refused { why }) => Err(TakeOverError::Refused(why).into()),
            Ok(Message::Withdrawn { why }) => Err(TakeOverError::Withdrawn(why).into()),
            Err(error @ (ChannelError::Ended | ChannelError::Io(_))) => {
                warn!("{error}; going on without it");
                self.is_alone = true;
                Ok(Carried::default())
            }
            Ok(other) => Err(TakeOverError::from(ChannelError::unexpected(&other)).into()),
            Err(error) => Err(TakeOverError::from(error).into()),
        }
    }

    /// Opens the store with `open`. A process that dies closes its files one by one, so one that did
    /// may still have the store for a moment.
    ///
    /// # Errors
    /// Those of `open`.
    pub(in crate::server) fn open<T, E>(
        &self,
        mut open: impl FnMut() -> Result<T, E>,
    ) -> Result<T, E> {
        let until = Instant::now() + STEP;
        loop {
            match open() {
                Err(_) if self.is_alone && Instant::now() < until => thread::sleep(AGAIN),
                outcome => return outcome,
            }
        }
    }

    /// Says that this process takes requests, and waits for the other's last word.
    pub(super) fn serving(mut self) -> Ending {
        let said = self.channel.send(&Message::Serving, STEP);
        // Whatever came of saying it: the other may have said before that it takes its place back.
        match self.channel.receive(STARTING) {
            Ok(Message::Go) => Ending::Alone,
            Ok(Message::Withdrawn { why }) => Ending::Withdrawn(why),
            Ok(other) => Ending::Withdrawn(ChannelError::unexpected(&other).to_string()),
            Err(error) => {
                let error = said.err().unwrap_or(error);
                warn!("no last word from the process before: {error}; going on without it");
                Ending::Alone
            }
        }
    }
}
