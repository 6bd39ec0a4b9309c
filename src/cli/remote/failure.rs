//! Why a command did not do what it should, and what the process ends with then.

use std::io::{self, Write};

use crate::client::{Error, SettingsError};

use super::{TOKEN, note};

/// Why a command did not do what it should.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum Failure {
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
    /// There is no such thing; says what there is.
    #[error("{0}")]
    Unknown(String),
    /// What was waited for did not come in time.
    #[error("{0}")]
    TimeUp(String),
    /// It came to nothing for another reason.
    #[error("{0}")]
    InVain(String),
    /// The output could not be written, or nothing could be run at all.
    #[error("{0}")]
    System(#[from] io::Error),
}

impl Failure {
    /// What the process ends with.
    fn code(&self) -> u8 {
        match self {
            Self::Settings(_) | Self::Token => 2,
            Self::TimeUp(_) => 3,
            Self::Unknown(_) => 4,
            Self::Registry { error } if error.is_unknown() => 4,
            Self::Registry { .. } | Self::InVain(_) | Self::System(_) => 1,
        }
    }
}

/// What the process ends with; says on `err` what went wrong. A reader that went away has seen what
/// it wanted: nothing went wrong.
pub(in crate::cli) fn exit_code(ended: Result<(), Failure>, err: &mut dyn Write) -> u8 {
    match ended {
        Ok(()) => 0,
        Err(Failure::System(error)) if error.kind() == io::ErrorKind::BrokenPipe => 0,
        Err(failure) => {
            note(err, &failure.to_string());
            failure.code()
        }
    }
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

    fn refused(status: u16, kind: &str, detail: &str) -> Failure {
        Error::Refused {
            url: "http://board/".to_owned(),
            status,
            detail: detail.to_owned(),
            kind: kind.to_owned(),
        }
        .into()
    }

    #[test]
    fn a_refusal_is_told_with_its_reason_and_what_to_do() {
        let (code, told) = ended(refused(401, "invalid-token", "no such token"));
        assert_eq!(code, 1);
        assert_eq!(
            told,
            "callboard: http://board/ answered 401: no such token (expected a token it knows in \
             CALLBOARD_TOKEN)\n"
        );
    }

    #[test]
    fn what_is_not_there_has_a_code_of_its_own_if_a_callboard_says_so() {
        assert_eq!(ended(refused(404, "unknown-instance", "")).0, 4);
        assert_eq!(ended(refused(404, "", "Not Found")).0, 1);
        assert_eq!(ended(Failure::Unknown("no web".to_owned())).0, 4);
        assert_eq!(ended(Failure::TimeUp("10s are up".to_owned())).0, 3);
    }

    #[test]
    fn a_reason_cannot_command_the_terminal() {
        let (_, told) = ended(refused(500, "", "\u{1b}[2J\n"));
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
