//! The issuer's word on a certificate, which is shown along with it (OCSP stapling).

use std::iter;
use std::path::Path;

use x509_parser::asn1_rs::{Any, FromDer, Tag};

use super::files::Wrong;

/// The tag `[0] EXPLICIT`.
const EXPLICIT: Tag = Tag(0);

/// Whether `response`, read from `path`, is one, a successful one, and about the certificate of this
/// serial number. Clients close the connection when they are shown another one. Its signature and its
/// age are left to them.
pub(super) fn check(path: &Path, response: &[u8], serial: &[u8]) -> Result<(), Wrong> {
    let wrong = |what: &str| Err(Wrong::new("ocsp", path, what));
    let Some((status, answers)) = read(response) else {
        return wrong(
            "is no OCSP response (expected one in DER, as openssl ocsp -respout writes it)",
        );
    };
    if status != [0] {
        return wrong("is an OCSP response without an answer (expected one of status successful)");
    }
    if !serials(answers).any(|of| of == serial) {
        return wrong(
            "is an OCSP response about another certificate (expected one about the first in cert)",
        );
    }
    Ok(())
}

/// The status of a response, and what it holds beside.
fn read(response: &[u8]) -> Option<(&[u8], &[u8])> {
    let (rest, whole) = Any::from_der(response).ok()?;
    let mut parts = whole.data;
    if !rest.is_empty() || whole.tag() != Tag::Sequence {
        return None;
    }
    let status = next(&mut parts, Tag::Enumerated)?;
    Some((status, parts))
}

/// The serial numbers of the certificates that a response of these `parts` answers for (RFC 6960, section
/// 4.2.1); none if it is not of the basic type, which is the only one there is.
fn serials(parts: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut answers = answers(parts).unwrap_or_default();
    iter::from_fn(move || {
        let mut answer = next(&mut answers, Tag::Sequence)?;
        let mut certificate = next(&mut answer, Tag::Sequence)?;
        next(&mut certificate, Tag::Integer)
    })
}

fn answers(mut parts: &[u8]) -> Option<&[u8]> {
    let mut bytes = next(&mut parts, EXPLICIT)?;
    let mut bytes = next(&mut bytes, Tag::Sequence)?;
    let mut basic = next(&mut bytes, Tag::OctetString)?;
    let mut basic = next(&mut basic, Tag::Sequence)?;
    let mut signed = next(&mut basic, Tag::Sequence)?;
    next(&mut signed, Tag::Sequence)
}

/// The contents of the first value of that tag in `values`, which is left at what comes after it.
fn next<'a>(values: &mut &'a [u8], tag: Tag) -> Option<&'a [u8]> {
    loop {
        let (rest, value) = Any::from_der(values).ok()?;
        *values = rest;
        if value.tag() == tag {
            return Some(value.data);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn der(tag: u8, contents: &[&[u8]]) -> Vec<u8> {
        let contents = contents.concat();
        let length = u8::try_from(contents.len()).unwrap();
        [&[tag, 0x81, length][..], &contents].concat()
    }

    /// A response about the certificates of these serial numbers, with `signature`.
    fn response(serials: &[&[u8]], signature: &[u8]) -> Vec<u8> {
        let answer = |serial: &&[u8]| {
            let algorithm = der(0x30, &[b"\x06\x05\x2b\x0e\x03\x02\x1a"]);
            let (hash, serial) = (der(0x04, &[&[7; 20]]), der(0x02, &[serial]));
            let certificate = der(0x30, &[&algorithm, &hash, &hash, &serial]);
            der(0x30, &[&certificate, b"\x80\x00"])
        };
        let answers = serials.iter().map(answer).collect::<Vec<_>>().concat();
        let responder = der(0xa2, &[&der(0x04, &[&[9; 20]])]);
        let produced = der(0x18, &[b"20260102030405Z"]);
        let signed = der(0x30, &[&responder, &produced, &der(0x30, &[&answers])]);
        let basic = der(0x30, &[&signed, &der(0x03, &[b"\0", signature])]);
        let kind = b"\x06\x09\x2b\x06\x01\x05\x05\x07\x30\x01\x01";
        let bytes = der(0x30, &[kind, &der(0x04, &[&basic])]);
        der(0x30, &[b"\x0a\x01\x00", &der(0xa0, &[&bytes])])
    }

    fn said(response: &[u8], serial: &[u8]) -> String {
        let checked = check(Path::new("file"), response, serial);
        checked
            .err()
            .map_or(String::new(), |wrong| wrong.to_string())
    }

    #[test]
    fn a_response_is_about_the_certificates_it_names_and_no_other() {
        let one = response(&[b"\x10\x01"], b"\x10\x02");
        assert_eq!(said(&one, b"\x10\x01"), "");
        // Its bytes stand in the signature, the second's in the hash.
        for serial in [&b"\x10\x02"[..], b"\x07\x07", b"\x10", b""] {
            assert!(said(&one, serial).contains("about another certificate"));
        }
        let two = response(&[b"\x10\x01", b"\x10\x02"], b"");
        assert_eq!(said(&two, b"\x10\x02"), "");
        assert!(said(b"\x30\x03\x0a\x01\x03", b"\x10").contains("without an answer"));
        assert!(said(b"\x30\x03\x0a\x01\x00", b"\x10").contains("about another certificate"));
    }

    #[test]
    fn what_is_cut_or_followed_by_more_is_no_response() {
        let whole = response(&[b"\x10\x01"], b"signature");
        for end in 0..whole.len() {
            assert!(said(&whole[..end], b"\x10\x01").contains("is no OCSP response"));
        }
        let more = [&whole[..], b"\0"].concat();
        assert!(said(&more, b"\x10\x01").contains("is no OCSP response"));
    }
}
