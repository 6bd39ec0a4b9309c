//! A certificate with its key: as it is kept, and as listeners show it.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use instant_acme::CertificateIdentifier;
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::crypto::ring;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;
use x509_parser::time::ASN1Time;

/// A certificate for one name.
#[derive(Clone, Debug)]
pub(super) struct Certificate {
    /// What listeners show.
    pub(super) key: Arc<CertifiedKey>,
    /// When it is good.
    pub(super) validity: Range<SystemTime>,
    /// What its issuer knows it by (RFC 9773, section 4.1); `None` if the issuer has no key identifier.
    pub(super) id: Option<CertificateIdentifier<'static>>,
}

impl Certificate {
    /// Reads a key and a chain for `name`, both in PEM in one text, the server's certificate first.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub(super) fn from_pem(text: &[u8], name: &str) -> Result<Self, String> {
        let key = PrivateKeyDer::from_pem_slice(text)
            .map_err(|_| "it holds no private key".to_owned())?;
        let chain = CertificateDer::pem_slice_iter(text)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| format!("its certificates are damaged: {error}"))?;
        let first = chain.first().ok_or("it holds no certificate")?;
        let (_, parsed) = parse_x509_certificate(first)
            .map_err(|error| format!("its certificate is damaged: {error}"))?;
        let alternatives = parsed
            .subject_alternative_name()
            .map_err(|error| format!("its certificate's names are damaged: {error}"))?;
        let is_for_name = alternatives.is_some_and(|names| {
            names.value.general_names.iter().any(|other| {
                matches!(other, GeneralName::DNSName(other) if other.eq_ignore_ascii_case(name))
            })
        });
        if !is_for_name {
            return Err(format!("its certificate is not for {name}"));
        }
        let validity = parsed.validity();
        let validity = moment(validity.not_before)..moment(validity.not_after);
        let id = CertificateIdentifier::try_from(first)
            .ok()
            .map(CertificateIdentifier::into_owned);
        let key = CertifiedKey::from_der(chain, key, &ring::default_provider())
            .map_err(|error| format!("its key cannot be used: {error}"))?;
        Ok(Self {
            key: Arc::new(key),
            validity,
            id,
        })
    }
}

fn moment(time: ASN1Time) -> SystemTime {
    // Years before 1970 are as long over as 1970 is.
    let seconds = u64::try_from(time.timestamp()).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// The certificate that answers the challenge TLS-ALPN-01 for `name` (RFC 8737, section 3); `digest` is
/// that of the key authorization.
pub(super) fn challenge(name: &str, digest: &[u8; 32]) -> Result<CertifiedKey, String> {
    let build = || {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![name.to_owned()])?;
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
        Ok((params.self_signed(&key)?, key))
    };
    let (certificate, key) = build().map_err(|error: rcgen::Error| error.to_string())?;
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let key = (ring::default_provider().key_provider)
        .load_private_key(key)
        .map_err(|error| error.to_string())?;
    // Whether the two belong together rustls would not find out: it does not know the extension.
    Ok(CertifiedKey::new(vec![certificate.der().clone()], key))
}

#[cfg(test)]
mod tests {
    use rcgen::generate_simple_self_signed;

    use super::*;

    fn pem(name: &str) -> (String, String) {
        let pair = generate_simple_self_signed([name.to_owned()]).unwrap();
        (pair.signing_key.serialize_pem(), pair.cert.pem())
    }

    #[test]
    fn what_was_issued_is_read_back() {
        let (key, chain) = pem("a.example");
        let text = format!("{key}{chain}");
        let certificate = Certificate::from_pem(text.as_bytes(), "a.example").unwrap();
        assert_eq!(certificate.key.cert.len(), 1);
        assert!(certificate.validity.contains(&SystemTime::now()));
    }

    #[test]
    fn a_text_that_cannot_be_used_says_why() {
        let (key, chain) = pem("a.example");
        let (other, _) = pem("a.example");
        let (torn, _) = chain.split_at(chain.len() / 2);
        for (text, why) in [
            (String::new(), "no private key"),
            (key.clone(), "no certificate"),
            (chain.clone(), "no private key"),
            (format!("{key}{torn}"), "certificate"),
            (format!("{other}{chain}"), "key cannot be used"),
        ] {
            let error = Certificate::from_pem(text.as_bytes(), "a.example").unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        let text = format!("{key}{chain}");
        let error = Certificate::from_pem(text.as_bytes(), "b.example").unwrap_err();
        assert!(error.contains("not for b.example"), "{error}");
    }

    #[test]
    fn a_challenges_certificate_carries_the_digest_in_a_critical_extension() {
        let key = challenge("a.example", &[7; 32]).unwrap();
        let (_, parsed) = parse_x509_certificate(&key.cert[0]).unwrap();
        let extension = parsed
            .extensions()
            .iter()
            .find(|extension| extension.oid.to_id_string() == "1.3.6.1.5.5.7.1.31")
            .unwrap();
        assert!(extension.critical);
        assert_eq!(extension.value[..2], [0x04, 32]);
        assert_eq!(extension.value[2..], [7; 32]);
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_fatal(text in proptest::collection::vec(proptest::num::u8::ANY, 0..512)) {
            let _ = Certificate::from_pem(&text, "a.example");
        }
    }
}
