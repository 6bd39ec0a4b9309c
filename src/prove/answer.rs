//! What the load asks and instances answer, so that either side can tell a right answer from a wrong
//! one: an answer says whose it is and to which request, and has a length that varies.

use std::fmt::Write;

/// The path of the request with this tag, below the service's own.
pub(super) fn path(tag: u64) -> String {
    format!("/jobs/{tag}")
}

/// The tag in such a path.
pub(super) fn tag(path: &str) -> Option<u64> {
    path.strip_prefix("/jobs/")?.parse().ok()
}

/// What the request with this tag carries: the body of a POST, and the end of every answer.
pub(super) fn payload(tag: u64) -> String {
    let words = usize::try_from(tag % 97).unwrap_or_default();
    let mut text = String::with_capacity(21 * (words + 1));
    for word in 0..=words {
        let _ = write!(text, "{:020} ", tag.wrapping_mul(31) + word as u64);
    }
    text
}

/// The answer of an instance to a request that carried `payload`.
pub(super) fn text(service: &str, id: &str, tag: u64, payload: &str) -> String {
    format!("{service} {id} {tag} {payload}")
}

/// Whether `answer` is the one of `service` to the request with this tag; the error says what it is
/// instead.
pub(super) fn check(answer: &[u8], service: &str, tag: u64) -> Result<(), String> {
    let strange = || format!("an answer of {} bytes that no instance gives", answer.len());
    let answer = std::str::from_utf8(answer).map_err(|_| strange())?;
    let mut parts = answer.splitn(4, ' ');
    let (Some(from), Some(id), Some(to), Some(rest)) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(strange());
    };
    if from != service {
        return Err(format!("an answer of service {from} (instance {id})"));
    }
    if to.parse() != Ok(tag) {
        return Err(format!("{id}'s answer to another request ({to})"));
    }
    if rest != payload(tag) {
        return Err(format!("a damaged answer of {id}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_names_the_request() {
        assert_eq!(tag(&path(7)), Some(7));
        assert_eq!(tag("/health"), None);
    }

    #[test]
    fn only_the_service_s_own_whole_answer_to_the_very_request_is_right() {
        let right = text("web", "web-1", 7, &payload(7));
        assert_eq!(check(right.as_bytes(), "web", 7), Ok(()));
        let wrong = |service, tag| check(right.as_bytes(), service, tag).unwrap_err();
        assert_eq!(
            wrong("cart", 7),
            "an answer of service web (instance web-1)"
        );
        assert_eq!(wrong("web", 8), "web-1's answer to another request (7)");
        let cut = check(&right.as_bytes()[..right.len() - 1], "web", 7);
        assert_eq!(cut.unwrap_err(), "a damaged answer of web-1");
        let strange = check(b"<html>", "web", 7).unwrap_err();
        assert_eq!(strange, "an answer of 6 bytes that no instance gives");
    }
}
