//! What people know a certificate by.

use std::fmt;
use std::time::SystemTime;

use rustls_pki_types::CertificateDer;
use x509_parser::asn1_rs::FromDer;
use x509_parser::certificate::X509Certificate;

use super::certificate::validity;
use super::identity::{alternative_names, subject};

/// The most names that are told.
const SHOWN: usize = 3;

/// Whom a certificate is for, and when it expires: `shop.example.com until 2027-03-01T00:00:00Z`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Its DNS names and URIs, or else its subject (RFC 2253).
    names: Vec<String>,
    until: SystemTime,
}

impl Summary {
    /// That of `certificate`; `None` if there is no making sense of it.
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let (uris, mut names) = alternative_names(&parsed);
        names.extend(uris);
        if names.is_empty() {
            names.push(subject(parsed.subject()));
        }
        let (_, until) = validity(&parsed);
        Some(Self { names, until })
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.names.len().min(SHOWN);
        f.write_str(&self.names[..shown].join(", "))?;
        if shown < self.names.len() {
            write!(f, " and {} more", self.names.len() - shown)?;
        }
        let until = humantime::format_rfc3339_seconds(self.until);
        write!(f, " until {until}")
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};

    use super::*;

    fn told(names: &[&str], common_name: &str) -> String {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_after = date_time_ymd(2031, 5, 6);
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        Summary::of(made.der()).unwrap().to_string()
    }

    #[test]
    fn a_certificate_is_known_by_its_names_or_else_its_subject_and_by_when_it_expires() {
        assert_eq!(
            told(&["Shop.example.com", "*.shop.example.com"], "shop"),
            "shop.example.com, *.shop.example.com until 2031-05-06T00:00:00Z"
        );
        assert_eq!(
            told(&["a", "b", "c", "d", "e"], ""),
            "a, b, c and 2 more until 2031-05-06T00:00:00Z"
        );
        let issuer = told(&[], "Example Root");
        assert!(issuer.contains("CN=Example Root"), "{issuer}");
    }

    #[test]
    fn what_is_no_certificate_has_none() {
        assert_eq!(Summary::of(&CertificateDer::from(vec![0x30, 0x03])), None);
    }
}
