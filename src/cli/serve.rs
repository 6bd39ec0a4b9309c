//! What is done by a configuration: to run, and to check it.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};

use crate::config::{Config, Diagnostic, Loaded};
use crate::server;

use super::print;

/// The file that is read when none is named.
pub(super) const DEFAULT_FILE: &str = "conf/proxy.yaml";
/// What is logged unless `RUST_LOG` says otherwise.
const DEFAULT_LOG: &str = "warn,callboard=info";

/// Which configuration.
#[derive(Debug, Default, Args)]
pub(super) struct Configuration {
    /// The configuration. Without it conf/proxy.yaml is read if it exists; otherwise everything is
    /// at its default
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) config: Option<PathBuf>,
}

impl Configuration {
    /// The file to read; `None` is the defaults.
    pub(super) fn source(self) -> Option<PathBuf> {
        source(self.config, Path::new(DEFAULT_FILE))
    }
}

/// The file to read: the one that was named, else the default one unless it is absent.
fn source(named: Option<PathBuf>, default: &Path) -> Option<PathBuf> {
    named.or_else(|| {
        // One that cannot be looked at is read all the same, for the error that tells why.
        let exists = default.try_exists().unwrap_or(true);
        exists.then(|| default.to_owned())
    })
}

/// Reads a configuration; `None` is the defaults.
///
/// # Errors
/// All that is wrong with it.
pub(super) fn load(source: Option<&Path>) -> Result<Loaded, Vec<Diagnostic>> {
    source.map_or_else(
        || {
            Ok(Loaded {
                config: Config::default(),
                warnings: Vec::new(),
            })
        },
        Config::load,
    )
}

/// Loads the configuration and serves by it, `start` says how; gives the exit code.
pub(super) fn run(
    source: Option<PathBuf>,
    start: fn(Config, Option<PathBuf>) -> Result<(), server::StartError>,
) -> u8 {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or(DEFAULT_LOG)).init();
    let loaded = match load(source.as_deref()) {
        Ok(loaded) => loaded,
        Err(errors) => {
            print(&mut io::stderr().lock(), errors);
            return 2;
        }
    };
    for warning in loaded.warnings {
        log::warn!("{warning}");
    }
    match start(loaded.config, source) {
        Ok(()) => 0,
        Err(error) => {
            print(&mut io::stderr().lock(), [format!("callboard: {error}")]);
            1
        }
    }
}

/// Tells what is wrong with a configuration; gives the exit code.
pub(super) fn check(source: Option<&Path>, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    match load(source) {
        Ok(loaded) => {
            let name = source.map_or_else(
                || "built-in defaults".to_owned(),
                |file| file.display().to_string(),
            );
            print(err, loaded.warnings.iter().map(as_warning));
            print(out, [format!("{name}: ok")]);
            0
        }
        Err(errors) => {
            print(err, errors);
            2
        }
    }
}

/// A warning as it is told beside errors, which have no such word.
fn as_warning(warning: &Diagnostic) -> Diagnostic {
    Diagnostic {
        message: format!("warning: {}", warning.message),
        ..warning.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `check` says of a file with `text`: the code, its output and its errors.
    fn checked(text: &str) -> (u8, String, String) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("proxy.yaml");
        std::fs::write(&file, text).unwrap();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = check(Some(&file), &mut out, &mut err);
        let shown = |bytes| {
            let text = String::from_utf8(bytes).unwrap();
            text.replace(&dir.path().display().to_string(), "DIR")
        };
        (code, shown(out), shown(err))
    }

    #[test]
    fn the_default_file_is_read_only_if_it_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("proxy.yaml");
        assert_eq!(source(None, &file), None);
        std::fs::write(&file, "").unwrap();
        assert_eq!(source(None, &file), Some(file.clone()));
        assert_eq!(source(Some("named".into()), &file), Some("named".into()));
    }

    #[test]
    fn a_valid_file_is_ok_and_its_warnings_are_told() {
        assert_eq!(
            checked(""),
            (0, "DIR/proxy.yaml: ok\n".into(), String::new())
        );
        let (code, out, err) = checked("services: {a: {hash_on: path}}\n");
        assert_eq!((code, out.as_str()), (0, "DIR/proxy.yaml: ok\n"));
        assert!(
            err.starts_with("DIR/proxy.yaml:1:25: warning: services.a.hash_on: "),
            "{err}"
        );
    }

    #[test]
    fn a_faulty_file_is_told_of_on_standard_error() {
        let (code, out, err) = checked("prox: {}\nroutes: [{}]\n");
        assert_eq!((code, out.as_str()), (2, ""));
        assert_eq!(err.lines().count(), 2, "{err}");
        assert!(err.starts_with("DIR/proxy.yaml:1:1: "), "{err}");
    }

    #[test]
    fn a_file_that_was_named_and_is_absent_is_an_error() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        assert_eq!(check(Some(Path::new("no/such")), &mut out, &mut err), 2);
        assert!(err.starts_with(b"no/such: cannot be read: "));
    }

    #[test]
    fn no_file_at_all_is_the_defaults() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        assert_eq!(check(None, &mut out, &mut err), 0);
        assert_eq!(out, b"built-in defaults: ok\n");
    }
}
