//! The command line.
//!
//! A command is a struct of arguments in a file of its own. Those that ask a running callboard are
//! [`Ask`](remote::Ask), and all are carried out the same way.

mod completions;
mod drain;
mod escape;
mod explain;
mod facts;
mod help;
mod input;
mod instances;
mod journal;
mod man;
mod plan;
mod progress;
mod prove;
mod remote;
mod routes;
mod screen;
mod serve;
mod services;
mod simulate;
mod split;
mod steer;
mod suggest;
mod table;
mod top;
mod upgrade;
mod watch;

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{FromArgMatches, Parser, Subcommand};

use crate::server;
use remote::carry_out;
use serve::Configuration;

/// A service registry and the load-balancing proxy in front of it, in one program.
///
/// Instances of services sign in over HTTP at the control plane (127.0.0.1:8500) and keep a lease.
/// Clients send their requests to the data plane (0.0.0.0:8080), and callboard passes each one on to
/// a live instance: /orders/7 goes to an instance of the service `orders` as /7.
#[derive(Debug, Parser)]
#[command(name = "callboard", version, after_help = help::EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    configuration: Configuration,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the registry and the proxy until told to leave; this is what callboard does by itself
    ///
    /// SIGTERM or SIGINT: finish the requests in flight and exit. SIGHUP: read the configuration
    /// again; a faulty one is refused and the old one stays.
    ///
    /// RUST_LOG chooses what is logged to standard error, for example RUST_LOG=callboard=debug.
    #[command(after_help = help::RUN)]
    Run(Configuration),
    /// Take the place of the callboard that runs by the same configuration, and run as it did
    ///
    /// To be called with the new version, in the same folder. Listening sockets and registrations
    /// pass over while clients go on calling; the old process finishes its requests and exits. If
    /// the new one fails on the way, the old one goes on.
    #[command(after_help = help::UPGRADE)]
    Upgrade(upgrade::Arguments),
    /// Validate the configuration: exit 0, or exit 2 and FILE:LINE:COL with what is wrong
    #[command(after_help = help::CHECK)]
    Check(Configuration),

    /// List the services and how their instances are
    #[command(after_help = help::SERVICES)]
    Services(services::Arguments),
    /// List the instances of a service, or show all about one
    #[command(visible_alias = "instance", after_help = help::INSTANCES)]
    Instances(instances::Arguments),
    /// Follow the membership: who comes, goes, and why instances take no traffic
    ///
    /// First come the instances as they are, then a line for every change, until interrupted. A
    /// connection that breaks is made again and goes on where it broke off.
    #[command(after_help = help::WATCH)]
    Watch(watch::Arguments),
    /// Show what goes on right now: requests, errors and durations of every service, second by second
    #[command(after_help = help::TOP)]
    Top(top::Arguments),
    /// Tell what changed in a running registry: when, by whom and why; the newest at the bottom
    #[command(after_help = help::JOURNAL)]
    Journal(journal::Arguments),
    /// Tell why a request went where it went, or list the requests that this is known of
    ///
    /// The id of a request is in the header X-Request-Id of its answer, and in the access log. The
    /// newest requests are known, as far as telemetry.explain in the configuration says.
    #[command(after_help = help::EXPLAIN)]
    Explain(explain::Arguments),
    /// List the configured routes, in the order in which they are tried
    #[command(after_help = help::ROUTES)]
    Routes(routes::Arguments),

    /// Give an instance no new requests; it finishes those it has
    ///
    /// It stays registered, and out of traffic, until `undrain`, or until it registers again.
    #[command(after_help = help::DRAIN)]
    Drain(drain::Arguments),
    /// Give an instance requests again
    #[command(after_help = help::UNDRAIN)]
    Undrain(steer::Undrain),
    /// Change an instance's share of the traffic
    #[command(after_help = help::WEIGHT)]
    Weight(steer::Weight),
    /// Sign an instance out, at once or after a drain
    #[command(after_help = help::DEREGISTER)]
    Deregister(steer::Deregister),
    /// Show how a route's requests are split among services, or change it
    ///
    /// The new split replaces the old one from the next request on, over restarts too, until it is
    /// reset or the configuration's own split of the route changes.
    #[command(after_help = help::SPLIT)]
    Split(split::Arguments),

    /// Tell what another configuration would change, in a running callboard or against another file
    ///
    /// Nothing is changed by asking. Settings are compared as they are in force, defaults and all; what
    /// a running callboard is asked for also says what that means for those who are signed in.
    #[command(after_help = help::PLAN)]
    Plan(plan::Arguments),
    /// Try how requests would be spread, over instances and a load that are made up
    ///
    /// The selection is the real one, time and instances are not: an hour takes seconds.
    #[command(after_help = help::SIMULATE)]
    Simulate(simulate::Arguments),
    /// Prove that clients do not notice deploys, crashes and reloads
    #[command(after_help = help::PROVE)]
    Prove(prove::Arguments),

    /// Write a shell's completions of this command line to standard output
    #[command(after_help = help::COMPLETIONS)]
    Completions(completions::Arguments),
    /// Write the manual page, or with --dir all of them
    #[command(after_help = help::MAN)]
    Man(man::Arguments),
}

/// Parses the process's arguments and carries out the command.
pub fn main() -> ExitCode {
    let (out, err) = (&mut io::stdout(), &mut io::stderr());
    let parsed = help::command()
        .try_get_matches()
        .and_then(|matches| Arguments::from_arg_matches(&matches))
        .and_then(Arguments::into_command);
    let code = match parsed {
        Ok(command) => carry(command, out, err),
        Err(told) => tell(&told, err),
    };
    // What is kept back until the end may be what cannot be written.
    let code = match out.flush() {
        Err(error) if code == 0 => remote::exit_code(Err(error.into()), err),
        _ => code,
    };
    ExitCode::from(code)
}

/// Says what clap has to say: what is wrong with the arguments, or the help that they ask for.
fn tell(told: &clap::Error, err: &mut dyn Write) -> u8 {
    let written = told.print();
    match told.use_stderr() {
        // There is nobody to tell that nobody reads it.
        true => u8::try_from(told.exit_code()).unwrap_or(2),
        false => remote::exit_code(written.map_err(Into::into), err),
    }
}

/// Carries a command out; gives the exit code.
fn carry(command: Command, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    match command {
        Command::Run(at) => serve::run(at.source(), server::run),
        Command::Upgrade(asked) if asked.detach => upgrade::detached(out, err),
        Command::Upgrade(asked) => serve::run(asked.configuration.source(), server::take_over),
        Command::Check(at) => serve::check(at.source().as_deref(), out, err),
        Command::Services(asked) => carry_out(&asked, out, err),
        Command::Instances(asked) => carry_out(&asked, out, err),
        Command::Watch(asked) => carry_out(&asked, out, err),
        Command::Top(asked) => remote::exit_code(top::run(&asked, out, err), err),
        Command::Journal(asked) => carry_out(&asked, out, err),
        Command::Explain(asked) => carry_out(&asked, out, err),
        Command::Routes(asked) => carry_out(&asked, out, err),
        Command::Drain(asked) => carry_out(&asked, out, err),
        Command::Undrain(asked) => carry_out(&asked, out, err),
        Command::Weight(asked) => carry_out(&asked, out, err),
        Command::Deregister(asked) => carry_out(&asked, out, err),
        Command::Split(asked) => carry_out(&asked, out, err),
        Command::Plan(asked) => plan::run(&asked, out, err),
        Command::Simulate(asked) => simulate::run(&asked, out, err),
        Command::Prove(asked) => prove::run(asked, out, err),
        Command::Completions(asked) => completions::run(&asked, out, err),
        Command::Man(asked) => man::run(&asked, out, err),
    }
}

impl Arguments {
    /// The command, with the configuration wherever on the line it was named.
    fn into_command(self) -> Result<Command, clap::Error> {
        let named = self.configuration.config;
        let command = self.command;
        let mut command = command.unwrap_or(Command::Run(Configuration::default()));
        match &mut command {
            Command::Run(own)
            | Command::Check(own)
            | Command::Upgrade(upgrade::Arguments {
                configuration: own, ..
            }) => own.config = own.config.take().or(named),
            Command::Plan(plan::Arguments { config: own, .. })
            | Command::Simulate(simulate::Arguments { config: own, .. }) => {
                *own = own.take().or(named);
            }
            _ if named.is_some() => {
                let problem = "--config is no option of this command (one that asks a running \
                               callboard finds it by --registry URL)\n";
                return Err(help::command().error(ErrorKind::ArgumentConflict, problem));
            }
            _ => {}
        }
        Ok(command)
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
    use std::path::Path;

    use super::*;

    /// The arguments of a `plan`.
    pub(super) fn plan(line: &[&str]) -> plan::Arguments {
        match Arguments::try_parse_from(line).unwrap().into_command() {
            Ok(Command::Plan(arguments)) => arguments,
            _ => panic!("{line:?} is no plan"),
        }
    }

    #[test]
    fn the_arguments_are_well_formed() {
        help::command().debug_assert();
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
        assert!(asked.to_string().contains("--registry URL"));
    }
}
