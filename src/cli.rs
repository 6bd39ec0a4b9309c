//! The command line.
//!
//! Exit codes: 0 when all is well, 1 when callboard could not start or could not be asked, 2 when the
//! arguments or the configuration are wrong.

mod escape;
mod journal;
mod prove;
mod remote;
mod table;
mod upgrade;

use std::fmt::Display;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::config::{Config, Diagnostic, Loaded};
use crate::server;

/// The file that is read when none is named.
const DEFAULT_FILE: &str = "conf/proxy.yaml";
/// What is logged unless `RUST_LOG` says otherwise.
const DEFAULT_LOG: &str = "warn,callboard=info";

/// A service registry and the load-balancing proxy in front of it, in one program.
///
/// Instances of services sign in over HTTP at the control plane (127.0.0.1:8500) and keep a lease.
/// Clients send their requests to the data plane (0.0.0.0:8080), and callboard passes each one on to
/// a live instance: /orders/7 goes to an instance of the service `orders` as /7.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    configuration: Configuration,
}

#[derive(Debug, Default, Args)]
struct Configuration {
    /// The configuration. Without it conf/proxy.yaml is read if it exists; otherwise everything is
    /// at its default
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the registry and the proxy until told to leave; this is what callboard does by itself
    ///
    /// SIGTERM or SIGINT: finish the requests in flight and exit. SIGHUP: read the configuration
    /// again; a faulty one is refused and the old one stays.
    ///
    /// RUST_LOG chooses what is logged to standard error, for example RUST_LOG=callboard=debug.
    Run(Configuration),
    /// Take the place of the callboard that runs by the same configuration, and run as it did
    ///
    /// To be called with the new version, in the same folder. Listening sockets and registrations
    /// pass over while clients go on calling; the old process finishes its requests and exits. If
    /// the new one fails on the way, the old one goes on.
    Upgrade(upgrade::Arguments),
    /// Validate the configuration: exit 0, or exit 2 and FILE:LINE:COL with what is wrong
    Check(Configuration),
    /// Tell what changed in a running registry: when, by whom and why; the newest at the bottom
    Journal(journal::Arguments),
    /// Prove that clients do not notice deploys, crashes and reloads
    Prove(prove::Arguments),
}

const EXAMPLES: &str = "\
Examples:
  callboard                                  run, with conf/proxy.yaml if it exists
  callboard upgrade                          a new version takes over, no request is lost
  callboard check --config new.yaml          is this file valid?
  curl -X PUT http://127.0.0.1:8500/api/v1/services/orders/instances/orders-1 \\
       -H 'content-type: application/json' -d '{\"address\": \"10.0.0.5\", \"port\": 9000}'
  curl http://127.0.0.1:8080/orders/         a request to that instance
  callboard journal orders --since 1h        what happened to its instances
  callboard prove deploy --short             do clients notice deploys and crashes?";

/// Parses the process's arguments and carries out the command.
pub fn main() -> ExitCode {
    let command = Arguments::parse().into_command();
    let source = |at: Configuration| source(at.config, Path::new(DEFAULT_FILE));
    let (mut out, mut err) = (io::stdout(), io::stderr());
    let code = match command.unwrap_or_else(|error| error.exit()) {
        Command::Run(configuration) => run(source(configuration), server::run),
        Command::Upgrade(asked) if asked.detach => upgrade::detached(&mut out, &mut err),
        Command::Upgrade(asked) => run(source(asked.configuration), server::take_over),
        Command::Check(configuration) => {
            check(source(configuration).as_deref(), &mut out, &mut err)
        }
        Command::Journal(asked) => {
            let told = journal::run(&asked, &mut out, &mut err);
            remote::exit_code(told, &mut err)
        }
        Command::Prove(asked) => prove::run(asked, &mut out, &mut err),
    };
    ExitCode::from(code)
}

impl Arguments {
    /// The command, with the configuration wherever on the line it was named.
    fn into_command(self) -> Result<Command, clap::Error> {
        let named = self.configuration.config;
        let mut command = self
            .command
            .unwrap_or(Command::Run(Configuration::default()));
        match &mut command {
            Command::Run(own)
            | Command::Check(own)
            | Command::Upgrade(upgrade::Arguments {
                configuration: own, ..
            }) => own.config = own.config.take().or(named),
            Command::Journal(_) if named.is_some() => {
                let problem = "--config is no option of this command (expected --registry URL)\n";
                return Err(Self::command().error(ErrorKind::ArgumentConflict, problem));
            }
            Command::Prove(_) if named.is_some() => {
                let problem = "--config is no option of this command\n";
                return Err(Self::command().error(ErrorKind::ArgumentConflict, problem));
            }
            Command::Journal(_) | Command::Prove(_) => {}
        }
        Ok(command)
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

fn load(source: Option<&Path>) -> Result<Loaded, Vec<Diagnostic>> {
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

/// Loads the configuration and serves by it, `start` says how.
fn run(
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

fn check(source: Option<&Path>, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
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

/// Writes lines to whoever still reads them; there is nobody to tell that nobody does.
fn print(to: &mut dyn Write, lines: impl IntoIterator<Item = impl Display>) {
    for line in lines {
        let _ = writeln!(to, "{line}");
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
    fn the_arguments_are_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn without_a_command_it_runs_and_the_file_may_be_named_on_either_side_of_one() {
        let parse = |line: &str| {
            let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
            arguments.into_command()
        };
        let file = Some(Path::new("f"));
        for (line, named) in [
            ("callboard", None),
            ("callboard run", None),
            ("callboard --config f", file),
            ("callboard run --config f", file),
        ] {
            let Ok(Command::Run(configuration)) = parse(line) else {
                panic!("{line} does not run");
            };
            assert_eq!(configuration.config.as_deref(), named, "{line}");
        }
        let checked = parse("callboard --config f check");
        assert!(matches!(checked, Ok(Command::Check(at)) if at.config.as_deref() == file));
        for line in [
            "callboard --config f upgrade --detach",
            "callboard upgrade --detach --config f",
        ] {
            let Ok(Command::Upgrade(asked)) = parse(line) else {
                panic!("{line} does not upgrade");
            };
            assert_eq!(asked.configuration.config.as_deref(), file, "{line}");
            assert!(asked.detach);
        }
        let asked = parse("callboard --config f journal").unwrap_err();
        assert!(asked.to_string().contains("expected --registry URL"));
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
