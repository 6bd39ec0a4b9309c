//! Certificates from an ACME server (RFC 8555).

use std::path::PathBuf;

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
