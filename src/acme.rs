//! Certificates from an ACME server (RFC 8555): one for each name that a listener asks for, so that a
//! name that cannot be proven keeps none of the others from theirs.
//!
//! [`Certifier`] has them: from its [`folder`](Settings::path) at the start, so that a restart needs no
//! server; then from the server, before they end. What it has goes to the listeners that ask for the
//! name. A server that wants to see that callboard answers to the name connects to it: to a TLS
//! listener, for TLS-ALPN-01, or to a plain one, which answers from [`Challenges`], for HTTP-01.
//!
//! Validity is a matter of the calendar, so this is the one place where decisions use wall-clock time.
//! The folder belongs to one callboard; a process and its successor share it, and only the one that
//! serves speaks with the server.

mod account;
mod certificate;
mod certifier;
mod challenges;
mod client;
mod expiries;
mod failure;
mod folder;
mod issue;
mod schedule;
mod site;

use std::path::PathBuf;

pub use certifier::Certifier;
pub use challenges::Challenges;
pub use expiries::Expiries;

/// Where certificates are had from, and on whose account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The URL of the server's directory.
    pub directory: String,
    /// How the server reaches the owner of the account: `mailto:` addresses.
    pub contact: Vec<String>,
    /// The folder that holds the account and the certificates.
    pub path: PathBuf,
    /// The issuers believed when speaking with the server, in PEM; `None` are those of the system.
    pub ca: Option<PathBuf>,
}

impl Settings {
    /// Reads the file of issuers, so that a faulty one is known before it is needed.
    ///
    /// # Errors
    /// What is wrong with it, and what was expected.
    pub fn check_ca(&self) -> Result<(), String> {
        match &self.ca {
            Some(ca) => client::issuers(ca).map(|_| ()),
            None => Ok(()),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            directory: "https://acme-v02.api.letsencrypt.org/directory".to_owned(),
            contact: Vec::new(),
            path: PathBuf::from("data/acme"),
            ca: None,
        }
    }
}
