//! Commands that ask a running callboard: which one, as whom, and what their end means.

use std::env;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;

use crate::client::{Client, Error, Settings, SettingsError};

use super::escape;

/// Where the token is. It is no argument: those can be read by everybody on the machine.
const TOKEN: &str = "CALLBOARD_TOKEN";

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
}

/// Why a command did not do what it should.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The arguments or the environment are wrong.
    #[error("{0}")]
    Settings(#[from] SettingsError),
    /// The token in the environment is no text.
    #[error("{TOKEN} is not text (expected a token)")]
    Token,
    /// The registry gave no good answer.
    #[error("{error}{}", advice(.error))]
    Registry {
        /// What went wrong.
        #[from]
        error: Error,
    },
    /// The output could not be written, or nothing could be run at all.
    #[error("{0}")]
    System(#[from] io::Error),
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

/// Runs a command's requests.
///
/// # Errors
/// Those of the command; [`Failure::System`] if there is nothing to run it on.
pub(super) fn block_on<T>(command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(command)
}

/// What the process ends with; says on `err` what went wrong. A reader that went away has seen what
/// it wanted: nothing went wrong.
pub(super) fn exit_code(ended: Result<(), Failure>, err: &mut dyn Write) -> u8 {
    let failure = match ended {
        Ok(()) => return 0,
        Err(Failure::System(error)) if error.kind() == io::ErrorKind::BrokenPipe => return 0,
        Err(failure) => failure,
    };
    note(err, &failure.to_string());
    match failure {
        Failure::Settings(_) | Failure::Token => 2,
        Failure::Registry { .. } | Failure::System(_) => 1,
    }
}

/// Tells something beside the command's output.
pub(super) fn note(err: &mut dyn Write, text: &str) {
    super::print(err, [format!("callboard: {}", escape::for_terminal(text))]);
}

/// What to do about it.
fn advice(error: &Error) -> &'static str {
    match error {
        Error::Unreachable { .. } => {
            " (expected a callboard there: run one, or name another with --registry or \
             CALLBOARD_REGISTRY)"
        }
        Error::Untrusted { .. } => {
            " (expected a certificate of a known authority: name the file with the authority's own \
             with --ca or CALLBOARD_CA)"
        }
        Error::Refused { status: 401, .. } => " (expected a token it knows in CALLBOARD_TOKEN)",
        Error::Refused { status: 403, .. } => " (expected a token that may, in CALLBOARD_TOKEN)",
        Error::Strange { .. } => {
            " (expected a callboard there: name it with --registry or CALLBOARD_REGISTRY)"
        }
        Error::Late { .. } | Error::Refused { .. } => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the process ends with, and what it says.
    fn ended(failure: Failure) -> (u8, String) {
        let mut err = Vec::new();
        let code = exit_code(Err(failure), &mut err);
        (code, String::from_utf8(err).unwrap())
    }

    fn refused(status: u16, detail: &str) -> Failure {
        let (url, detail) = ("http://board/".to_owned(), detail.to_owned());
        Error::Refused {
            url,
            status,
            detail,
        }
        .into()
    }

    #[test]
    fn a_refusal_is_told_with_its_reason_and_what_to_do() {
        let (code, told) = ended(refused(401, "no such token"));
        assert_eq!(code, 1);
        assert_eq!(
            told,
            "callboard: http://board/ answered 401: no such token (expected a token it knows in \
             CALLBOARD_TOKEN)\n"
        );
    }

    #[test]
    fn a_reason_cannot_command_the_terminal() {
        let (_, told) = ended(refused(500, "\u{1b}[2J\n"));
        assert_eq!(
            told,
            "callboard: http://board/ answered 500: \\u{1b}[2J\\n\n"
        );
    }

    #[test]
    fn wrong_settings_are_wrong_arguments() {
        let (code, told) = ended(SettingsError::Url("board".to_owned()).into());
        assert_eq!(code, 2);
        assert!(told.starts_with("callboard: \"board\" is not the URL of a registry (expected"));
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        let failure = Failure::System(io::ErrorKind::BrokenPipe.into());
        assert_eq!(ended(failure), (0, String::new()));
        let failure = Failure::System(io::ErrorKind::StorageFull.into());
        assert_eq!(ended(failure).0, 1);
    }
}
