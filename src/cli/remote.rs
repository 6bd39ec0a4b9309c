//! Commands that ask a running callboard: which one, as whom, and what their end means.

mod failure;

use std::env;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process;
use std::thread;

use clap::Args;

use crate::client::{Client, Settings};

use super::escape;
use super::screen::{Color, Look, Screen};

pub(super) use failure::{Failure, exit_code};

/// Where the token is. It is no argument: those can be read by everybody on the machine.
const TOKEN: &str = "CALLBOARD_TOKEN";
/// What a command that was interrupted from the keyboard ends with: 128 and the number of SIGINT.
const INTERRUPTED: i32 = 130;

/// Which registry to ask.
#[derive(Clone, Debug, Args)]
pub(super) struct Remote {
    /// The registry to ask. A token for it is taken from CALLBOARD_TOKEN
    #[arg(
        long = "registry",
        value_name = "URL",
        env = "CALLBOARD_REGISTRY",
        default_value = "http://127.0.0.1:8500"
    )]
    url: String,

    /// Certificates (PEM) to trust an https registry by, instead of the system's
    #[arg(long, value_name = "FILE", env = "CALLBOARD_CA")]
    ca: Option<PathBuf>,

    /// When to use colour; auto is on a terminal, unless NO_COLOR is set
    #[arg(
        long,
        value_name = "WHEN",
        value_enum,
        default_value_t,
        hide_possible_values = true
    )]
    color: Color,
}

/// A command that asks a registry and tells what it says.
pub(super) trait Ask {
    /// Which registry.
    fn remote(&self) -> &Remote;

    /// Asks and tells.
    ///
    /// # Errors
    /// Any [`Failure`].
    async fn ask(&self, client: &Client, screen: &mut Screen<'_>) -> Result<(), Failure>;
}

impl Remote {
    /// The connection these arguments and the environment describe.
    ///
    /// # Errors
    /// [`Failure::Settings`], [`Failure::Token`].
    pub(super) fn client(&self) -> Result<Client, Failure> {
        let token = match env::var(TOKEN) {
            Ok(token) => Some(token).filter(|token| !token.is_empty()),
            Err(env::VarError::NotPresent) => None,
            Err(env::VarError::NotUnicode(_)) => return Err(Failure::Token),
        };
        let settings = Settings {
            url: self.url.clone(),
            token,
            ca: self.ca.clone(),
        };
        Ok(Client::new(&settings)?)
    }
}

/// Carries a command out; gives the exit code.
pub(super) fn carry_out(asked: &impl Ask, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let remote = asked.remote();
    let mut screen = Screen {
        out,
        err: &mut *err,
        look: Look::of_stdout(remote.color),
    };
    let ended = remote.client().and_then(|client| {
        end_when_interrupted();
        block_on(asked.ask(&client, &mut screen))
    });
    exit_code(ended, err)
}

/// Runs a command's requests.
///
/// # Errors
/// Those of the command; [`Failure::System`] if there is nothing to run it on.
pub(super) fn block_on<T>(command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    runtime()?.block_on(command)
}

/// Tells something beside the command's output.
pub(super) fn note(err: &mut dyn Write, text: &str) {
    super::print(err, [format!("callboard: {}", escape::for_terminal(text))]);
}

/// Ends the process at SIGINT, on a thread of its own: the others may be waiting for a reader that
/// does not read.
fn end_when_interrupted() {
    thread::spawn(|| {
        let interrupted = runtime().map(|runtime| runtime.block_on(tokio::signal::ctrl_c()));
        // Where signals cannot be waited for, they do what they always do.
        if let Ok(Ok(())) = interrupted {
            process::exit(INTERRUPTED);
        }
    });
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}
