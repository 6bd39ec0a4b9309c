//! Why a registry could not be asked, or gave no good answer.

use std::error::Error as StdError;
use std::io;
use std::path::PathBuf;

/// Why there can be no connection with such settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The URL is not one of a registry.
    #[error(
        "{0:?} is not the URL of a registry (expected http or https, a host and a port, such as \
         http://127.0.0.1:8500, or a Unix socket such as unix:/run/registry.sock)"
    )]
    Url(String),
    /// The URL may hold a password, and is therefore not repeated.
    #[error(
        "the URL of the registry holds a user name or a password (expected none: a token is what \
         lets in)"
    )]
    Credentials,
    /// The token cannot be sent.
    #[error(
        "the token holds characters that no token has (expected visible ASCII, and no newline)"
    )]
    Token,
    /// The file of trusted certificates is of no use.
    #[error("{}: {problem} (expected certificates in PEM)", file.display())]
    Ca {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
}

/// Why there is no good answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no connection, or it broke.
    #[error("{url} cannot be reached: {cause}")]
    Unreachable {
        /// The registry.
        url: String,
        /// What went wrong.
        cause: String,
    },
    /// The registry did not show a certificate that is trusted.
    #[error("{url} is not trusted: {cause}")]
    Untrusted {
        /// The registry.
        url: String,
        /// What is wrong with its certificate.
        cause: String,
    },
    /// The answer did not come in time.
    #[error("{url} did not answer in time")]
    Late {
        /// The registry.
        url: String,
    },
    /// The registry says no.
    #[error("{url} answered {status}: {detail}")]
    Refused {
        /// The registry.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The reason it gives.
        detail: String,
        /// What kind of problem it is, such as `unknown-instance`; empty if it does not say.
        kind: String,
    },
    /// The answer is not what a registry answers.
    #[error("{url} does not answer as a callboard does: {cause}")]
    Strange {
        /// Where the answer came from.
        url: String,
        /// What is strange.
        cause: String,
    },
}

impl Error {
    /// Whether the same request may well succeed later.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Late { .. } => true,
            Self::Refused { status, .. } => *status == 429 || *status >= 500,
            Self::Untrusted { .. } | Self::Strange { .. } => false,
        }
    }

    /// Whether the registry knows nothing of what was asked for.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Refused { kind, .. } if kind.starts_with("unknown-"))
    }

    /// Why a request to `url` came to nothing.
    pub(super) fn of(url: String, failure: &reqwest::Error) -> Self {
        let cause = innermost(failure);
        if is_about_certificate(failure) {
            Self::Untrusted { url, cause }
        } else if failure.is_timeout() && !failure.is_connect() {
            Self::Late { url }
        } else {
            Self::Unreachable { url, cause }
        }
    }
}

/// What an error comes down to: those around it repeat what the caller knows.
pub(super) fn innermost(error: &(dyn StdError + 'static)) -> String {
    chain(error).last().unwrap_or(error).to_string()
}

/// An error and what is inside it.
fn chain<'e>(
    error: &'e (dyn StdError + 'static),
) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| {
        // An io::Error stands for the one it wraps, whose source is then its own.
        match error.downcast_ref::<io::Error>().map(io::Error::get_ref) {
            Some(Some(wrapped)) => Some(wrapped),
            _ => error.source(),
        }
    })
}

fn is_about_certificate(error: &(dyn StdError + 'static)) -> bool {
    chain(error).any(|error| {
        matches!(
            error.downcast_ref(),
            Some(rustls::Error::InvalidCertificate(_))
        )
    })
}
