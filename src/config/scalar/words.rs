//! Words that stand for themselves, and how words are shown.

use super::super::suggest::meant;

/// A text within quotes, shortened when it is long.
pub(in crate::config) fn quoted(text: &str) -> String {
    format!("{:?}", shortened(text))
}

/// A text, shortened when it is long.
pub(in crate::config) fn shortened(text: &str) -> String {
    const LONGEST: usize = 64;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Whether a word says no in one of YAML's ways.
pub(in crate::config) fn is_off(text: &str) -> bool {
    ["off", "no", "false"]
        .iter()
        .any(|off| text.eq_ignore_ascii_case(off))
}

pub(in crate::config) fn switch(text: &str) -> Result<bool, String> {
    let on = ["on", "yes", "true"]
        .iter()
        .any(|on| text.eq_ignore_ascii_case(on));
    match (on, is_off(text)) {
        (true, _) => Ok(true),
        (_, true) => Ok(false),
        _ => Err(format!("{} is neither", quoted(text))),
    }
}

pub(in crate::config) fn choice<T: Clone>(
    text: &str,
    words: &[(&'static str, T)],
) -> Result<T, String> {
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Ok(value.clone());
    }
    Err(match meant(text, words.iter().map(|(word, _)| *word)) {
        Some(word) => format!("{} is unknown, did you mean {word}?", quoted(text)),
        None => format!("{} is unknown", quoted(text)),
    })
}

pub(in crate::config) fn unless_off<T>(
    text: &str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<T>, String> {
    if is_off(text) {
        return Ok(None);
    }
    parse(text).map(Some)
}
