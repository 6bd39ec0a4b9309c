//! Text of unknown origin on its way to a terminal.
//!
//! A terminal obeys control characters wherever they come from, and characters that turn the
//! direction of writing, or are not seen at all, make a line read as something it does not say.
//! Those are shown by their number instead.

use std::borrow::Cow;
use std::fmt::Write;

/// `text` as one harmless line: `\u{1b}[2J`.
pub(super) fn for_terminal(text: &str) -> Cow<'_, str> {
    escaped(text, |c, out| {
        let _ = write!(out, "{}", c.escape_default());
    })
}

/// JSON that stays the same JSON and is harmless too: `\u009b`.
pub(super) fn json(text: &str) -> Cow<'_, str> {
    escaped(text, |c, out| {
        let _ = write!(out, "\\u{:04x}", u32::from(c));
    })
}

fn escaped(text: &str, escape: impl Fn(char, &mut String)) -> Cow<'_, str> {
    if !text.contains(is_treacherous) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_treacherous(c) {
            escape(c, &mut out);
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// Control characters, line and paragraph separators, and what
/// [Unicode, TR36](https://www.unicode.org/reports/tr36/) lists as invisible or as turning the
/// direction. All are below U+10000, as [`json`] needs them to be.
fn is_treacherous(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown_by_its_number() {
        assert_eq!(for_terminal("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(
            for_terminal("a\r\n\tb\u{7f}\u{9b}"),
            "a\\r\\n\\tb\\u{7f}\\u{9b}"
        );
        assert_eq!(for_terminal("\u{202e}gpj.exe"), "\\u{202e}gpj.exe");
        assert_eq!(for_terminal("weight 1 → 5, \"ä\""), "weight 1 → 5, \"ä\"");
    }

    #[test]
    fn escaped_json_is_the_same_json() {
        let value = serde_json::json!({"why": "\u{1b}\u{7f}\u{9b}\u{2028}\u{202e}\u{feff}ä\\u"});
        let text = value.to_string();
        let escaped = json(&text);
        assert!(!escaped.contains(is_treacherous));
        let read: serde_json::Value = serde_json::from_str(&escaped).unwrap();
        assert_eq!(read, value);
    }
}
