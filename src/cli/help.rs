//! What `--help` says beyond what stands at the arguments: the commands in groups, and examples.

use clap::builder::Styles;
use clap::{Command, CommandFactory};

use super::Arguments;

/// The commands by what they are for. One that is not here is not listed.
const GROUPS: &[(&str, &[&str])] = &[
    ("Serve", &["run", "upgrade", "check", "plan"]),
    (
        "Look at a running callboard",
        &[
            "services",
            "instances",
            "watch",
            "top",
            "journal",
            "explain",
            "routes",
        ],
    ),
    (
        "Steer it",
        &["drain", "undrain", "weight", "deregister", "split"],
    ),
    ("Try things out", &["simulate", "prove"]),
    ("Shell", &["completions", "man"]),
];

/// What processes end with.
pub(super) const CODES: &[(&str, &str)] = &[
    (
        "0",
        "All is well. A list may be empty; standard error says so.",
    ),
    (
        "1",
        "callboard could not start, could not be asked, or says no.",
    ),
    (
        "2",
        "The arguments, the environment or the configuration are wrong.",
    ),
    ("3", "What was waited for did not come in time."),
    (
        "4",
        "What was named is not there: no such service, instance, route or request.",
    ),
    ("130", "Interrupted from the keyboard while asking."),
];

pub(super) const EXAMPLES: &str = "\
Examples:
  callboard                                  run, with conf/proxy.yaml if it exists
  callboard upgrade                          a new version takes over, no request is lost
  curl -X PUT http://127.0.0.1:8500/api/v1/services/orders/instances/orders-1 \\
       -H 'content-type: application/json' -d '{\"address\": \"10.0.0.5\", \"port\": 9000}'
  curl http://127.0.0.1:8080/orders/         a request to that instance
  callboard instances orders                 how are its instances, and why?
  callboard drain orders orders-1 --wait     nothing new for this one; tell when it is idle

Exit codes: 0 fine, 1 failed, 2 wrong arguments or configuration, 3 time is up, 4 not there,
130 interrupted. `callboard help COMMAND` tells more of each command, `callboard man` all of it.";

pub(super) const RUN: &str = "\
Examples:
  callboard run --config conf/proxy.yaml
  kill -HUP $(pidof callboard)               read the configuration again";

pub(super) const UPGRADE: &str = "\
Examples:
  callboard upgrade --config conf/proxy.yaml
  callboard upgrade --detach && echo 'the new version serves'";

pub(super) const CHECK: &str = "\
Examples:
  callboard check --config new.yaml          is this file valid?
  callboard check && kill -HUP $(pidof callboard)";

pub(super) const PLAN: &str = "\
Exit codes:
  0  the configuration is valid (with --exit-code: and nothing would change)
  1  the running callboard could not be asked
  2  the configuration or the arguments are wrong
  4  with --exit-code: something would change

Examples:
  callboard plan --config new.yaml           what would it change in the running callboard?
  callboard plan --config new.yaml --against conf/proxy.yaml";

pub(super) const SIMULATE: &str = "\
What is real: the pickers, weights, slow start, zones, limits in flight, the panic threshold, ejection
and the retry budget. What follows the same rules: the queue at a limit, tries (every request may be
repeated), the time limits `request` and `first_byte`, and checks, which fail while an instance is down.
What is left out: the network, connections, hedging, `hold`, load reports, leases and routes.

Examples:
  callboard simulate --example > web.yaml
  callboard simulate web.yaml
  callboard simulate web.yaml --compare round_robin,least_request,peak_ewma
  callboard simulate web.yaml --config conf/proxy.yaml --service orders";

pub(super) const SERVICES: &str = "\
Examples:
  callboard services
  callboard services --json | jq -r '.[] | select(.availability.ready == null).service'
                                             services without a ready instance";

pub(super) const INSTANCES: &str = "\
Examples:
  callboard instances orders                 all of them, with what is the matter
  callboard instances orders --status ejected --status unhealthy
  callboard instances orders orders-1        everything about one
  callboard instances orders --at 15m        who was registered a quarter of an hour ago?";

pub(super) const WATCH: &str = "\
Examples:
  callboard watch                            everything
  callboard watch orders                     one service
  callboard watch --json | jq -c 'select(.event == \"remove\").data'";

pub(super) const TOP: &str = "\
Examples:
  callboard top                              what goes on right now; ? tells the keys
  callboard top --service orders             one service
  callboard top --once --json | jq .total    once, for scripts";

pub(super) const JOURNAL: &str = "\
Examples:
  callboard journal orders --since 1h        what happened to its instances
  callboard journal --id orders-1 --follow   and what happens next";

pub(super) const EXPLAIN: &str = "\
Examples:
  curl -si http://127.0.0.1:8080/orders/7 | grep -i x-request-id
  callboard explain 5f0c9c2e4b7d4c0e         why did it go there?
  callboard explain --status 503             which requests failed of late?";

pub(super) const ROUTES: &str = "\
Examples:
  callboard routes
  callboard routes --json | jq '.[] | select(.overridden).name'
                                             routes whose split was changed by hand";

pub(super) const DRAIN: &str = "\
Examples:
  callboard drain orders orders-1 --wait     return when nothing is in flight any more
  callboard drain orders orders-1 --wait 2m || echo 'still busy'";

pub(super) const UNDRAIN: &str = "\
Examples:
  callboard undrain orders orders-1";

pub(super) const WEIGHT: &str = "\
Examples:
  callboard weight orders orders-1 5         five times the share of one with weight 1
  callboard weight orders orders-1 0         no traffic";

pub(super) const DEREGISTER: &str = "\
Examples:
  callboard deregister orders orders-1 --drain        after its requests, or the service's drain time
  callboard deregister orders orders-1 --drain 2m     after its requests, or two minutes
  callboard deregister orders orders-1                at once";

pub(super) const SPLIT: &str = "\
Examples:
  callboard split shop                       where do its requests go?
  callboard split shop orders=95 orders-next=5
  callboard split shop --reset               as the configuration has it";

pub(super) const PROVE: &str = "\
Examples:
  callboard prove deploy --short             do clients notice deploys and crashes?";

pub(super) const COMPLETIONS: &str = "\
Examples:
  callboard completions bash > ~/.local/share/bash-completion/completions/callboard
  callboard completions zsh > ~/.zfunc/_callboard        with fpath+=~/.zfunc before compinit
  callboard completions fish > ~/.config/fish/completions/callboard.fish";

pub(super) const MAN: &str = "\
Examples:
  callboard man | man -l -                   read it
  callboard man --dir ~/.local/share/man/man1";

/// The command line with its help.
pub(super) fn command() -> Command {
    let command = Arguments::command();
    let styles = Styles::styled();
    let command = command.styles(styles.clone());
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{}{}\n{{options}}{{after-help}}",
        groups(&command, &styles),
        heading("Options", &styles),
    );
    command.help_template(template)
}

fn groups(command: &Command, styles: &Styles) -> String {
    let mut text = String::new();
    let literal = styles.get_literal();
    for (title, names) in GROUPS {
        let commands = names
            .iter()
            .filter_map(|name| command.find_subcommand(name));
        text += &heading(title, styles);
        for command in commands {
            let about = command.get_about().map(ToString::to_string);
            let (name, about) = (command.get_name(), about.unwrap_or_default());
            text += &format!("\n  {literal}{name:<12}{literal:#} {about}");
        }
        text += "\n\n";
    }
    text
}

fn heading(title: &str, styles: &Styles) -> String {
    let header = styles.get_header();
    format!("{header}{title}:{header:#}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_listed_once_and_has_an_example_that_is_one() {
        for subcommand in command().get_subcommands() {
            let name = subcommand.get_name();
            let listed = GROUPS.iter().flat_map(|(_, names)| *names);
            assert_eq!(
                listed.filter(|listed| **listed == name).count(),
                1,
                "{name}"
            );
            let examples = subcommand.get_after_help().map(ToString::to_string);
            let examples = examples.unwrap_or_else(|| panic!("{name} has no examples"));
            assert!(examples.contains(&format!("callboard {name}")), "{name}");
        }
    }

    #[test]
    fn every_example_can_be_parsed() {
        let all = command();
        let helps = all.get_subcommands().filter_map(Command::get_after_help);
        for line in helps.flat_map(|help| {
            let help = help.to_string();
            help.lines().map(str::to_owned).collect::<Vec<_>>()
        }) {
            let Some(line) = line.strip_prefix("  callboard ") else {
                continue;
            };
            // Up to what is said of it, and to where another program takes over.
            let end = ["   ", " | ", " > ", " && ", " || "].iter();
            let end = end.filter_map(|end| line.find(end)).min();
            let line = &line[..end.unwrap_or(line.len())];
            let words = std::iter::once("callboard").chain(line.split_whitespace());
            let parsed = command().try_get_matches_from(words);
            assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
        }
    }

    #[test]
    fn the_help_shows_the_commands_in_groups() {
        let help = command().render_help().to_string();
        let serve = help.find("Serve:\n  run ").unwrap();
        let steer = help.find("Steer it:\n  drain ").unwrap();
        assert!(serve < steer, "{help}");
        assert!(help.contains("Options:\n      --config <FILE>"), "{help}");
    }
}
