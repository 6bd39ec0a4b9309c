//! Who asks for `/`: a browser, which names HTML, or a program, which does not.

use axum::http::{HeaderMap, header};

/// Whether whoever sent `headers` names `text/html` among what it takes
/// ([RFC 9110, 12.5.1](https://www.rfc-editor.org/rfc/rfc9110#section-12.5.1)), and prefers it to plain
/// text. `*/*`, which programs send, does not name it.
pub fn wants_page(headers: &HeaderMap) -> bool {
    let ranges = headers.get_all(header::ACCEPT);
    let ranges = ranges.iter().filter_map(|value| value.to_str().ok());
    let (mut page, mut text) = (0.0, 0.0);
    for range in ranges.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        match &*kind {
            "text/html" | "application/xhtml+xml" => page = quality(parts).max(page),
            "text/plain" => text = quality(parts).max(text),
            _ => {}
        }
    }
    page > 0.0 && page >= text
}

fn quality<'a>(mut parameters: impl Iterator<Item = &'a str>) -> f32 {
    let given = parameters.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
    });
    match given {
        None => 1.0,
        Some(value) => (value.parse().ok())
            .filter(|quality| (0.0..=1.0).contains(quality))
            .unwrap_or(0.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_get_the_page_and_programs_the_text() {
        let chromium = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        for (accept, page) in [
            (None, false),
            (Some("*/*"), false),
            (Some("text/*"), false),
            (Some("application/json"), false),
            (Some("text/plain"), false),
            (Some("text/plain, text/html;q=0.5"), false),
            (Some("text/html;q=0"), false),
            (Some("text/html;q=nan"), false),
            (Some("text/html;q=1e9"), false),
            (Some(",;,;q=,="), false),
            (Some("TEXT/HTML"), true),
            (Some("text/html ; Q=0.1"), true),
            (Some(chromium), true),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(accept) = accept {
                headers.insert(header::ACCEPT, accept.parse().unwrap());
            }
            assert_eq!(wants_page(&headers), page, "{accept:?}");
        }
    }
}
