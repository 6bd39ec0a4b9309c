//! Who a client is by the certificate it has shown.

use std::fmt::Write;

use http::HeaderValue;
use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use x509_parser::asn1_rs::FromDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// The longest value of [`Identity::header`], in bytes: what does not fit any more is left out of it.
const MAX_HEADER: usize = 8 * 1_024;

/// A client's certificate, as far as others want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    names: Vec<String>,
    header: HeaderValue,
}

impl Identity {
    /// Reads a certificate that was verified; `None` if there is no making sense of it.
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let (uris, mut names) = alternative_names(&parsed);
        let header = header(certificate, parsed.subject(), &uris, &names);
        if uris.is_empty() && names.is_empty() {
            names.extend(common_name(parsed.subject()));
        }
        names.extend(uris);
        Some(Self {
            names,
            header: HeaderValue::try_from(header).ok()?,
        })
    }

    /// Its DNS names, in lower case, and its URIs; its common name if it has neither (RFC 6125, section
    /// 6.4.4).
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// What `X-Forwarded-Client-Cert` says of it, in Envoy's form: the certificate's SHA-256, its subject
    /// (RFC 2253), and its URIs and DNS names.
    pub fn header(&self) -> &HeaderValue {
        &self.header
    }
}

/// The certificate's URIs and its DNS names. What is written as the one and looks like the other is
/// neither.
pub(super) fn alternative_names(certificate: &X509Certificate<'_>) -> (Vec<String>, Vec<String>) {
    let (mut uris, mut hosts) = (Vec::new(), Vec::new());
    if let Ok(Some(extension)) = certificate.subject_alternative_name() {
        for name in &extension.value.general_names {
            match name {
                GeneralName::URI(uri) if is_uri(uri) => uris.push((*uri).to_owned()),
                GeneralName::DNSName(host) if is_name(host) => {
                    hosts.push(host.to_ascii_lowercase())
                }
                _ => {}
            }
        }
    }
    (uris, hosts)
}

fn common_name(subject: &X509Name<'_>) -> Option<String> {
    let mut names = subject.iter_common_name();
    let name = names.next()?.as_str().ok()?;
    is_name(name).then(|| name.to_ascii_lowercase())
}

fn is_uri(text: &str) -> bool {
    text.contains(':') && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_name(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-._*@+".contains(&byte);
    !text.is_empty() && text.bytes().all(is_part)
}

fn header(certificate: &[u8], name: &X509Name<'_>, uris: &[String], hosts: &[String]) -> String {
    let mut header = String::from("Hash=");
    for byte in Sha256::digest(certificate) {
        let _ = write!(header, "{byte:02x}");
    }
    let mut add = |part: String| {
        if header.len() + part.len() <= MAX_HEADER {
            header.push_str(&part);
        }
    };
    // What RFC 2253 escapes is all that a quoted text has to.
    add(format!(";Subject=\"{}\"", subject(name)));
    for uri in uris {
        add(format!(";URI={}", quoted(uri)));
    }
    for host in hosts {
        add(format!(";DNS={host}"));
    }
    header
}

/// In quotes if it holds what separates the parts of the header.
fn quoted(text: &str) -> String {
    if !text.contains([',', ';', '=', '"']) {
        return text.to_owned();
    }
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A name as RFC 2253 writes it: the last part first.
pub(super) fn subject(name: &X509Name<'_>) -> String {
    let parts: Vec<_> = name.iter_rdn().collect();
    let parts = parts.iter().rev().map(|part| {
        let attributes: Vec<_> = part.iter().map(attribute).collect();
        attributes.join("+")
    });
    parts.collect::<Vec<_>>().join(",")
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type();
    let mut text = match oid2abbrev(oid, oid_registry()) {
        Ok("Email") => "emailAddress".to_owned(),
        Ok(abbreviation) => abbreviation.to_owned(),
        Err(_) => oid.to_id_string(),
    };
    text.push('=');
    let value = attribute.as_slice();
    for (at, &byte) in value.iter().enumerate() {
        let is_edge = at == 0 || at + 1 == value.len();
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => {
                text.push('\\');
                text.push(char::from(byte));
            }
            b' ' if is_edge => text.push_str("\\ "),
            b'#' if at == 0 => text.push_str("\\#"),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => {
                let _ = write!(text, "\\{byte:02X}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::string::Ia5String;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn identity(subject: &[(DnType, &str)], sans: &[SanType]) -> (Identity, String) {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, value) in subject {
            params.distinguished_name.push(kind.clone(), *value);
        }
        params.subject_alt_names = sans.to_vec();
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let identity = Identity::of(certificate.der()).unwrap();
        let header = identity.header().to_str().unwrap().to_owned();
        let rest = header[64 + "Hash=".len()..].to_owned();
        (identity, rest)
    }

    fn uri(text: &str) -> SanType {
        SanType::URI(Ia5String::try_from(text).unwrap())
    }

    fn dns(text: &str) -> SanType {
        SanType::DnsName(Ia5String::try_from(text).unwrap())
    }

    #[test]
    fn the_header_is_what_envoy_writes() {
        let (identity, header) = identity(
            &[
                (DnType::CountryName, "DE"),
                (DnType::OrganizationName, "A, \"B\" \\ Söhne"),
                (DnType::CommonName, "orders"),
            ],
            &[
                dns("Orders.internal"),
                uri("spiffe://mesh/orders"),
                uri("urn:a;DNS=root"),
            ],
        );
        assert_eq!(
            header,
            ";Subject=\"CN=orders,O=A\\, \\\"B\\\" \\\\ S\\C3\\B6hne,C=DE\"\
             ;URI=spiffe://mesh/orders;URI=\"urn:a;DNS=root\";DNS=orders.internal"
        );
        assert_eq!(
            identity.names(),
            ["orders.internal", "spiffe://mesh/orders", "urn:a;DNS=root"]
        );
    }

    #[test]
    fn the_common_name_counts_when_there_is_no_other_and_a_name_is_no_uri() {
        let common = [(DnType::CommonName, "Ops")];
        assert_eq!(identity(&common, &[]).0.names(), ["ops"]);
        assert_eq!(identity(&common, &[dns("a.b")]).0.names(), ["a.b"]);
        let spoofed = [(DnType::CommonName, "spiffe://mesh/ops")];
        assert!(identity(&spoofed, &[]).0.names().is_empty());
        let spoofed = [dns("spiffe://mesh/ops"), uri("no-uri")];
        assert!(identity(&[], &spoofed).0.names().is_empty());
    }

    #[test]
    fn a_header_does_not_grow_beyond_what_instances_take() {
        let sans: Vec<_> = (0..1_000)
            .map(|n| uri(&format!("spiffe://mesh/{n}")))
            .collect();
        let (identity, _) = identity(&[], &sans);
        assert!(identity.header().len() <= MAX_HEADER);
        assert_eq!(identity.names().len(), 1_000);
    }

    proptest! {
        #[test]
        fn no_subject_leaves_its_quotes(value in "\\PC{1,40}") {
            let (_, header) = identity(&[(DnType::CommonName, &value)], &[]);
            let text = header.strip_prefix(";Subject=\"").unwrap();
            let mut escaped = false;
            let end = text.bytes().position(|byte| {
                let ends = byte == b'"' && !escaped;
                escaped = byte == b'\\' && !escaped;
                ends
            });
            prop_assert_eq!(end, Some(text.len() - 1));
        }

        #[test]
        fn no_bytes_make_reading_a_certificate_panic(bytes in any::<Vec<u8>>()) {
            let _ = Identity::of(&CertificateDer::from(bytes));
        }
    }
}
