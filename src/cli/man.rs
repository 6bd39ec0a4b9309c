//! `callboard man`: the manual pages, made of what `--help` says.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Command, ValueHint};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::help;
use super::remote::{Failure, exit_code};

/// Where they go.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Write all pages to this folder, which is made if need be: callboard.1 and one for each command
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    dir: Option<PathBuf>,
}

/// What of the environment is looked at.
const ENVIRONMENT: &[(&str, &str)] = &[
    (
        "CALLBOARD_REGISTRY",
        "The registry that commands ask, unless --registry names one.",
    ),
    (
        "CALLBOARD_TOKEN",
        "The token that they show it. There is no option for it: arguments can be read by everybody \
         on the machine.",
    ),
    (
        "CALLBOARD_CA",
        "Certificates (PEM) to trust an https registry by, unless --ca names some.",
    ),
    (
        "NO_COLOR",
        "Any value: no colour, unless --color asks for it.",
    ),
    (
        "COLUMNS",
        "How wide the terminal is, if it does not say so itself.",
    ),
    (
        "RUST_LOG",
        "What callboard logs when it runs, such as callboard=debug.",
    ),
];

const FILES: &[(&str, &str)] = &[
    (
        "conf/proxy.yaml",
        "The configuration, unless --config names another. The one that comes with callboard \
         documents every key.",
    ),
    (
        "data/callboard.db",
        "Who is registered, and the journal (SQLite), unless registry.store says otherwise.",
    ),
];

const SIGNALS: &[(&str, &str)] = &[
    (
        "SIGTERM, SIGINT",
        "Finish the requests in flight and exit. A command that asks a registry ends at once.",
    ),
    (
        "SIGHUP",
        "Read the configuration again; a faulty one is refused and the old one stays.",
    ),
];

/// Writes them; gives the exit code.
pub(super) fn run(asked: &Arguments, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let written = match &asked.dir {
        Some(dir) => write_all(dir, out),
        None => main_page(out).map_err(Failure::from),
    };
    exit_code(written, err)
}

fn main_page(out: &mut dyn Write) -> io::Result<()> {
    out.write_all(&page(&built())?)?;
    out.flush()
}

fn write_all(dir: &Path, out: &mut dyn Write) -> Result<(), Failure> {
    let failed = |what: &Path, error: io::Error| {
        Failure::InVain(format!("{} cannot be written: {error}", what.display()))
    };
    fs::create_dir_all(dir).map_err(|error| failed(dir, error))?;
    for command in pages(&built()) {
        let file = dir.join(format!("{}.1", title(&command)));
        let written = page(&command).and_then(|page| fs::write(&file, page));
        written.map_err(|error| failed(&file, error))?;
        writeln!(out, "{}", file.display())?;
    }
    Ok(())
}

/// The command line with what clap derives for itself.
fn built() -> Command {
    let mut command = help::command().disable_help_subcommand(true);
    command.build();
    command
}

/// Every command that has a page: itself and those below it.
fn pages(command: &Command) -> Vec<Command> {
    let below = command
        .get_subcommands()
        .filter(|below| !below.is_hide_set());
    let below = below.flat_map(pages);
    std::iter::once(command.clone()).chain(below).collect()
}

fn title(command: &Command) -> &str {
    command
        .get_display_name()
        .unwrap_or_else(|| command.get_name())
}

fn page(command: &Command) -> io::Result<Vec<u8>> {
    let is_main = command.get_name() == "callboard";
    let man = Man::new(command.clone())
        .source(concat!("callboard ", env!("CARGO_PKG_VERSION")))
        .manual("callboard");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.get_subcommands().any(|below| !below.is_hide_set()) {
        man.render_subcommands_section(&mut page)?;
    }
    let help = command.get_after_help().map(ToString::to_string);
    let help = help.unwrap_or_default();
    notes(&help).to_writer(&mut page)?;
    verbatim("EXAMPLES", after("Examples:", &help)).to_writer(&mut page)?;
    let codes = match after("Exit codes:", &help) {
        own if own.is_empty() => items("EXIT STATUS", help::CODES),
        own => verbatim("EXIT STATUS", own),
    };
    codes.to_writer(&mut page)?;
    items("ENVIRONMENT", ENVIRONMENT).to_writer(&mut page)?;
    if is_main {
        items("FILES", FILES).to_writer(&mut page)?;
        items("SIGNALS", SIGNALS).to_writer(&mut page)?;
    } else {
        let mut roff = Roff::new();
        roff.control("SH", ["SEE ALSO"]);
        roff.text([bold("callboard"), roman("(1)")]);
        roff.to_writer(&mut page)?;
    }
    Ok(in_ascii(&page))
}

/// What is beyond ASCII, written so that it is read alike in every locale.
fn in_ascii(page: &[u8]) -> Vec<u8> {
    let mut ascii = String::with_capacity(page.len());
    for c in String::from_utf8_lossy(page).chars() {
        match c.is_ascii() {
            true => ascii.push(c),
            false => ascii += &format!("\\[u{:04X}]", u32::from(c)),
        }
    }
    ascii.into_bytes()
}

/// The lines of the help's paragraph with this heading.
fn after<'a>(heading: &str, help: &'a str) -> Vec<&'a str> {
    let mut paragraphs = help.split("\n\n");
    let found = paragraphs.find_map(|text| text.strip_prefix(heading)?.strip_prefix('\n'));
    found.map(|text| text.lines().collect()).unwrap_or_default()
}

/// What the help says beside examples and exit codes.
fn notes(help: &str) -> Roff {
    let mut roff = Roff::new();
    let told = help.split("\n\n");
    let told = told.filter(|text| !text.is_empty());
    let told = told.filter(|text| {
        !["Examples:", "Exit codes:"]
            .iter()
            .any(|it| text.starts_with(it))
    });
    for (position, text) in told.enumerate() {
        match position {
            0 => roff.control("SH", ["NOTES"]),
            _ => roff.control("PP", []),
        };
        roff.text([roman(text)]);
    }
    roff
}

/// Lines as they stand there.
fn verbatim(heading: &str, lines: Vec<&str>) -> Roff {
    let mut roff = Roff::new();
    if !lines.is_empty() {
        roff.control("SH", [heading]);
        roff.control("nf", []);
        for line in lines {
            roff.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
        }
        roff.control("fi", []);
    }
    roff
}

fn items(heading: &str, items: &[(&str, &str)]) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", [heading]);
    for (name, text) in items {
        roff.control("TP", []);
        roff.text([bold(*name)]);
        roff.text([roman(*text)]);
    }
    roff
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(name: &str) -> String {
        let command = built();
        let text = page(command.find_subcommand(name).unwrap()).unwrap();
        String::from_utf8(text).unwrap().replace("\\-", "-")
    }

    #[test]
    fn every_page_has_the_examples_of_its_help_and_its_own_exit_codes() {
        for (name, example, code) in [
            (
                "drain",
                "callboard drain orders orders-1 --wait",
                "What was named is not there",
            ),
            (
                "plan",
                "callboard plan --config new.yaml",
                "with --exit-code: something would",
            ),
            (
                "simulate",
                "callboard simulate --example",
                "What was named is not there",
            ),
        ] {
            let page = told(name);
            let (_, rest) = page.split_once(".SH EXAMPLES").unwrap();
            let (examples, codes) = rest.split_once(".SH \"EXIT STATUS\"").unwrap();
            assert!(examples.contains(example), "{page}");
            assert!(codes.contains(code), "{page}");
        }
        assert!(!told("plan").contains("What was named is not there"));
        let simulate = told("simulate");
        assert!(
            simulate.contains(".SH NOTES\nWhat is real: the pickers"),
            "{simulate}"
        );
    }
}
