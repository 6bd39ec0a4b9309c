//! The files, as they were when callboard was built.

use std::sync::LazyLock;

use axum::body::Bytes;
use sha2::{Digest, Sha256};

/// What stands for the version in the page.
const PLACEHOLDER: &str = "VERSION";

const PAGE: &str = include_str!("web/index.html");

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("web/", $name)))),*]
    };
}

const FILES: &[(&str, &str)] = files![
    "announce.js",
    "api.js",
    "app.js",
    "availability.js",
    "chart.js",
    "dialogs.js",
    "dom.js",
    "format.js",
    "icon.svg",
    "instances.js",
    "keys.js",
    "live.js",
    "polling.js",
    "router.js",
    "series.js",
    "stream.js",
    "style.css",
    "table.js",
    "theme.js",
    "view-explain.js",
    "view-journal.js",
    "view-request.js",
    "view-routes.js",
    "view-service.js",
    "view-services.js",
    "views.css",
    "virtual.js",
];

/// One file.
#[derive(Debug)]
pub(super) struct Asset {
    /// Its media type.
    pub(super) kind: &'static str,
    /// What is in it.
    pub(super) text: Bytes,
}

/// The page and its files.
#[derive(Debug)]
pub(super) struct Assets {
    version: String,
    page: Asset,
    files: Vec<(&'static str, Asset)>,
}

impl Assets {
    /// Those that callboard was built with.
    pub(super) fn embedded() -> &'static Self {
        static EMBEDDED: LazyLock<Assets> = LazyLock::new(Assets::new);
        &EMBEDDED
    }

    fn new() -> Self {
        let version = version();
        let page = PAGE.replace(PLACEHOLDER, &version);
        let files = FILES.iter().map(|&(name, text)| {
            let asset = Asset {
                kind: kind(name),
                text: Bytes::from_static(text.as_bytes()),
            };
            (name, asset)
        });
        Self {
            page: Asset {
                kind: "text/html; charset=utf-8",
                text: page.into(),
            },
            files: files.collect(),
            version,
        }
    }

    /// What the content of all of them comes to, for paths and tags.
    pub(super) fn version(&self) -> &str {
        &self.version
    }

    /// The page.
    pub(super) fn page(&self) -> &Asset {
        &self.page
    }

    /// One file; `None` if there is none of this name.
    pub(super) fn file(&self, name: &str) -> Option<&Asset> {
        let found = self.files.iter().find(|(known, _)| *known == name);
        found.map(|(_, asset)| asset)
    }
}

fn version() -> String {
    let mut digest = Sha256::new();
    digest.update(PAGE);
    for (name, text) in FILES {
        digest.update(name);
        digest.update([0]);
        digest.update(text);
        digest.update([0]);
    }
    let digest = digest.finalize();
    (digest.iter().take(8))
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn kind(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "text/plain; charset=utf-8",
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_file_is_embedded_and_every_import_is_there() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/dashboard/web");
        let mut found: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "index.html")
            .collect();
        found.sort();
        let embedded: Vec<_> = FILES.iter().map(|(name, _)| name.to_string()).collect();
        assert_eq!(found, embedded);
        for (name, text) in FILES {
            for import in text.split(" from \"./").skip(1) {
                let import = import.split('"').next().unwrap();
                assert!(
                    embedded.iter().any(|name| name == import),
                    "{name}: {import}"
                );
            }
        }
    }

    #[test]
    fn the_page_names_files_that_are_there_and_runs_nothing_of_its_own() {
        let assets = Assets::embedded();
        let page = std::str::from_utf8(&assets.page().text).unwrap();
        let below = format!("\"/dashboard/{}/", assets.version());
        let mut named = 0;
        for file in page.split(&below).skip(1) {
            named += 1;
            let file = file.split('"').next().unwrap();
            assert!(assets.file(file).is_some(), "{file}");
        }
        assert!(named >= 4, "{page}");
        assert!(!page.contains(PLACEHOLDER) && !page.contains("<style"));
        let scripts = page.matches("<script").count();
        assert_eq!(scripts, page.matches("></script>").count(), "one is inline");
    }

    #[test]
    fn all_of_it_is_small() {
        let size: usize = FILES.iter().map(|(_, text)| text.len()).sum();
        assert!(size + PAGE.len() < 150_000, "{size} bytes");
    }

    /// What would turn a registrant's words into markup or code.
    #[test]
    fn nothing_makes_markup_or_code_of_text() {
        for (name, text) in FILES {
            for banned in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "new Function",
                "http:/",
            ] {
                let text = text.replace("http://www.w3.org/2000/svg", "");
                let text = text.replace("http://${location.hostname}", "");
                assert!(!text.contains(banned), "{name} has {banned}");
            }
        }
    }
}
