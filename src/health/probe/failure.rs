//! Why a probe gave no pass, in words for people.

use std::error::Error as StdError;
use std::io;

use pingora::{Error, ErrorType};

use crate::dial::tls_fault;

/// What keeps a probe from passing.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The instance did not do what was asked of it.
    Instance(String),
    /// The probe could not be carried out, which says nothing about the instance.
    Local(String),
}

impl Failure {
    /// What Pingora's `error` says about the attempt to `act` (such as `connect to
    /// 10.0.0.5:8080`).
    pub(super) fn of(act: &str, error: &Error) -> Self {
        if let Some(fault) = tls_fault(error) {
            return Self::Instance(format!("{act}: {fault}"));
        }
        let cause = io_cause(error);
        let words = match (cause, error.etype()) {
            (Some(cause), _) => os_words(cause),
            (None, ErrorType::ConnectionClosed) => "connection closed without an answer".to_owned(),
            (None, ErrorType::InvalidHTTPHeader) => {
                "the answer is not HTTP (expected a status line and headers)".to_owned()
            }
            (None, other) => other.as_str().to_owned(),
        };
        let text = format!("{act}: {words}");
        if cause.is_some_and(is_local) {
            Self::Local(text)
        } else {
            Self::Instance(text)
        }
    }
}

/// Pingora's errors hide the system's one in a chain of its own and then of the standard kind.
fn io_cause(error: &Error) -> Option<&io::Error> {
    let root: &(dyn StdError + 'static) = error.root_cause();
    std::iter::successors(Some(root), |&cause| cause.source())
        .find_map(|cause| cause.downcast_ref::<io::Error>())
}

/// Whether this process, rather than the other end, is short of something. Everything else that
/// can go wrong locally (no route, no address of that family) means that the instance cannot be
/// reached from here, and that is what a probe is to find out.
fn is_local(error: &io::Error) -> bool {
    // EMFILE and ENFILE have no `ErrorKind`; they have these numbers on every Unix.
    const NO_FILE_LEFT_IN_PROCESS: i32 = 24;
    const NO_FILE_LEFT_IN_SYSTEM: i32 = 23;
    matches!(
        error.raw_os_error(),
        Some(NO_FILE_LEFT_IN_PROCESS | NO_FILE_LEFT_IN_SYSTEM)
    ) || error.kind() == io::ErrorKind::OutOfMemory
}

/// The system's own words, without its number and in the middle of a sentence.
fn os_words(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    letters.next().map_or_else(
        || "unknown error".to_owned(),
        |first| first.to_lowercase().chain(letters).collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed_with(os_error: i32) -> Failure {
        let io = io::Error::from_raw_os_error(os_error);
        let inner = Error::because(ErrorType::SocketError, "inner", io);
        let outer = Error::because(ErrorType::InternalError, "outer", inner);
        Failure::of("connect to 10.0.0.5:8080", &outer)
    }

    #[test]
    fn the_systems_words_are_found_below_pingoras() {
        assert_eq!(
            failed_with(111),
            Failure::Instance("connect to 10.0.0.5:8080: connection refused".to_owned())
        );
    }

    #[test]
    fn a_shortage_of_our_own_is_not_held_against_the_instance() {
        for shortage in [12, 23, 24] {
            assert!(matches!(failed_with(shortage), Failure::Local(_)));
        }
        for theirs in [97, 99, 101, 104, 110, 111, 113] {
            assert!(matches!(failed_with(theirs), Failure::Instance(_)));
        }
    }

    #[test]
    fn what_an_instance_sent_is_not_repeated() {
        let error = Error::explain(ErrorType::InvalidHTTPHeader, "buf: <script>");
        assert_eq!(
            Failure::of("GET http://10.0.0.5:8080/", &error),
            Failure::Instance(
                "GET http://10.0.0.5:8080/: the answer is not HTTP (expected a status line and \
                 headers)"
                    .to_owned()
            )
        );
    }
}
