//! What went wrong between callboard and an instance that speaks TLS.
//!
//! Pingora hands on what rustls says as text alone, so it is recognised by its words. They are not
//! repeated: some of them are the instance's.

use std::fmt;

use pingora::{Error, ErrorType};

/// Why no TLS connection came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsFault {
    /// The instance's certificate is not what it must be.
    Certificate(String),
    /// The instance turned callboard away.
    Alert(String),
    /// The two have no protocol in common.
    Protocol(&'static str),
}

impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(what) | Self::Alert(what) => f.write_str(what),
            Self::Protocol(what) => f.write_str(what),
        }
    }
}

/// The handshake's part in `error`; `None` when it had none.
pub fn tls_fault(error: &Error) -> Option<TlsFault> {
    if *error.etype() == ErrorType::InvalidHTTPHeader {
        // Its text quotes the instance.
        return None;
    }
    recognise(&error.to_string())
}

fn recognise(text: &str) -> Option<TlsFault> {
    const CERTIFICATE: &str = "invalid peer certificate: ";
    const ALERT: &str = "received fatal alert: ";
    let after = |mark: &str| text.find(mark).map(|at| &text[at + mark.len()..]);
    if let Some(rest) = after(CERTIFICATE) {
        return Some(TlsFault::Certificate(of_certificate(rest, name(text))));
    }
    if let Some(rest) = after(ALERT) {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric());
        return Some(TlsFault::Alert(of_alert(
            &rest[..end.unwrap_or(rest.len())],
        )));
    }
    if !text.contains("TLSHandshakeFailure") && !text.contains("InvalidCert") {
        return None;
    }
    Some(TlsFault::Protocol(if text.contains("corrupt message") {
        "it does not speak TLS (is its scheme right?)"
    } else if text.contains("peer is incompatible") {
        "it speaks no version or cipher of TLS that callboard does"
    } else if text.contains("eof") || text.contains("reset") {
        "it hung up during the TLS handshake"
    } else if text.contains("doesn't support any known protocol") {
        "it does not agree on HTTP/2 (is its scheme right?)"
    } else {
        "the TLS handshake failed"
    }))
}

/// The name that was asked for, as Pingora's words end with it.
fn name(text: &str) -> &str {
    let name = text.rsplit_once("SNI: ").map_or("", |(_, name)| name);
    name.split([' ', ',']).next().unwrap_or_default()
}

fn of_certificate(said: &str, name: &str) -> String {
    let about = |mark: &str| said.starts_with(mark);
    let what = if about("Expired") || about("certificate expired") {
        "has expired"
    } else if about("NotValidYet") || about("certificate not valid yet") {
        "is not valid yet"
    } else if about("UnknownIssuer") {
        "is of an issuer that callboard does not believe"
    } else if about("NotValidForName") || about("certificate not valid for name") {
        return format!("its certificate is not for {name}");
    } else if about("Revoked") {
        "has been revoked"
    } else if said.contains("CaUsedAsEndEntity") {
        "is that of an issuer, or its own issuer's, and is not for servers"
    } else {
        "is not valid"
    };
    format!("its certificate {what}")
}

fn of_alert(alert: &str) -> String {
    match alert {
        "CertificateRequired" => "it demands a certificate of callboard".to_owned(),
        "BadCertificate"
        | "UnknownCA"
        | "CertificateExpired"
        | "CertificateUnknown"
        | "CertificateRevoked"
        | "UnsupportedCertificate"
        | "AccessDenied"
        | "DecryptError" => {
            format!("it refuses the certificate of callboard ({alert})")
        }
        "NoApplicationProtocol" => {
            "it does not agree on the version of HTTP (is its scheme right?)".to_owned()
        }
        "UnrecognisedName" => "it knows nobody by the name it was asked for".to_owned(),
        other => format!("it refused the TLS handshake ({other})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_recognised_by_rustls_own_words() {
        use rustls::{AlertDescription, CertificateError, Error as Tls, InvalidMessage};
        let wrapped = |error: Tls| {
            let context = format!("TLS connect() failed: {error}, SNI: web.callboard");
            *Error::explain(ErrorType::TLSHandshakeFailure, context)
        };
        for (error, expected) in [
            (
                Tls::InvalidCertificate(CertificateError::Expired),
                "its certificate has expired",
            ),
            (
                Tls::InvalidCertificate(CertificateError::UnknownIssuer),
                "its certificate is of an issuer that callboard does not believe",
            ),
            (
                Tls::InvalidCertificate(CertificateError::NotValidForName),
                "its certificate is not for web.callboard",
            ),
            (
                Tls::AlertReceived(AlertDescription::CertificateRequired),
                "it demands a certificate of callboard",
            ),
            (
                Tls::AlertReceived(AlertDescription::UnknownCA),
                "it refuses the certificate of callboard (UnknownCA)",
            ),
            (
                Tls::InvalidMessage(InvalidMessage::InvalidContentType),
                "it does not speak TLS (is its scheme right?)",
            ),
        ] {
            let fault = tls_fault(&wrapped(error)).unwrap();
            assert_eq!(fault.to_string(), expected);
        }
    }

    #[test]
    fn what_is_no_matter_of_tls_is_none() {
        let refused = Error::explain(ErrorType::ConnectRefused, "10.0.0.1:80");
        assert_eq!(tls_fault(&refused), None);
    }
}
