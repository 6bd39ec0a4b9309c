//! Paths as routes see them: whole segments, and no way out of a prefix.

/// Whether `path` lies at or below `prefix`, which has no trailing slash. The empty prefix holds
/// every path.
pub fn is_below(path: &str, prefix: &str) -> bool {
    match path.strip_prefix(prefix) {
        Some(rest) => rest.is_empty() || rest.starts_with('/') || prefix.is_empty(),
        None => false,
    }
}

/// A prefix in the form [`is_below`] takes: without trailing slashes.
pub fn prefix(text: &str) -> &str {
    text.trim_end_matches('/')
}

/// Whether a segment of `path` is `.` or `..`, plain or percent-encoded. Whoever resolves such a
/// path after it was matched may end up outside the route's prefix.
pub fn has_dot_segment(path: &str) -> bool {
    let path = path.split(['?', '#']).next().unwrap_or(path);
    if memchr::memchr2(b'.', b'%', path.as_bytes()).is_none() {
        return false;
    }
    path.split(['/', '\\']).any(is_dot_segment)
}

fn is_dot_segment(segment: &str) -> bool {
    let mut rest = segment;
    let mut dots = 0;
    while !rest.is_empty() {
        rest = match rest.strip_prefix('.') {
            Some(rest) => rest,
            None => match rest.get(..3) {
                Some(escape) if escape.eq_ignore_ascii_case("%2e") => &rest[3..],
                _ => return false,
            },
        };
        dots += 1;
    }
    matches!(dots, 1 | 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_hold_whole_segments() {
        assert!(is_below("/orders", "/orders"));
        assert!(is_below("/orders/7", prefix("/orders/")));
        assert!(!is_below("/ordersheet", "/orders"));
        assert!(is_below("/anything", prefix("/")));
        assert!(is_below("*", ""));
    }

    #[test]
    fn dot_segments_are_seen_through_encoding() {
        for path in [
            "/a/../b",
            "/a/..",
            "/./a",
            "/a/%2e%2E/b",
            "/a/.%2e",
            "/a/..\\b",
        ] {
            assert!(has_dot_segment(path), "{path}");
        }
        for path in [
            "/a/...",
            "/.well-known/x",
            "/a..b",
            "/%2ehidden",
            "/a?x=/../y",
            "/é/%2",
        ] {
            assert!(!has_dot_segment(path), "{path}");
        }
    }
}
