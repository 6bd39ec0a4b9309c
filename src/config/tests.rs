//! What a whole file is read as, and what is said of one that is wrong.

use std::fmt::Write;

use proptest::prelude::*;

use super::*;

/// Every error of a text, one a line.
fn errors(text: &str) -> String {
    match Config::parse("f", text) {
        Ok(loaded) => panic!("accepted as {loaded:?}"),
        Err(errors) => lines(&errors),
    }
}

fn warnings(text: &str) -> String {
    lines(&loaded(text).warnings)
}

fn config(text: &str) -> Config {
    let loaded = loaded(text);
    assert_eq!(lines(&loaded.warnings), "");
    loaded.config
}

fn loaded(text: &str) -> Loaded {
    Config::parse("f", text).unwrap_or_else(|errors| panic!("refused:\n{}", lines(&errors)))
}

fn lines(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().fold(String::new(), |mut lines, line| {
        let _ = writeln!(lines, "{line}");
        lines
    })
}

mod accepted;
mod exposed;
mod handshakes;
mod refused;

proptest! {
    /// The alphabet is what YAML and the schema are sensitive to, so that most texts get far.
    #[test]
    fn no_text_makes_reading_panic(words in prop::collection::vec(prop::sample::select(vec![
        "proxy", "registry", "defaults", "services", "routes", "check", "http", "listen", "match",
        "split", "lease", "ttl", ": ", ":", "\n", "\n  ", "\n    ", "- ", "[", "]", "{", "}", ", ",
        "\"", "'", "|", ">", "&a ", "*a", "!t ", "#", "? ", "---\n", "...\n", "%", "@", "`", "\t",
        "off", "~", "0", "1s", "50%", "/", "0.0.0.0:80", "ä", "\u{feff}", "\r\n", "\0", "<<", "\\",
    ]), 0..60)) {
        let _ = Config::parse("f", &words.concat());
    }

    #[test]
    fn arbitrary_text_makes_no_panic_either(text in any::<String>()) {
        let _ = Config::parse("f", &text);
    }
}
