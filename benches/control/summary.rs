//! What a run says: a table, and README.md's part.

use crate::documented::{Documented, SOURCES};
use crate::machine::Machine;
use crate::report::{self, Table};
use crate::spread::thousands;
use crate::world::Scale;

/// One thing that was measured.
pub(crate) struct Row {
    what: String,
    figure: String,
    documented: Documented,
}

impl Row {
    pub(crate) fn new(what: impl Into<String>, figure: String, documented: Documented) -> Self {
        let row = Self {
            what: what.into(),
            figure,
            documented,
        };
        eprintln!("{}: {}", row.what, row.figure);
        row
    }
}

pub(crate) fn print(rows: &[Row]) {
    let mut table = Table::new(["the control plane", "callboard"]);
    for row in rows {
        table.row([row.what.clone(), row.figure.clone()]);
    }
    print!("\n{table}");
}

/// Writes README.md's part.
pub(crate) fn write(rows: &[Row], scale: &Scale, machine: &Machine) {
    let mut table = Table::new(["", "callboard", "Eureka says", "Consul says"]);
    let mut last = "";
    for row in rows {
        let Documented { eureka, consul } = row.documented;
        // What is said of several rows is said once.
        let (eureka, consul) = match eureka == last && row.what.starts_with("the same") {
            true => ("″", "″"),
            false => (eureka, consul),
        };
        last = row.documented.eureka;
        let cells = [&row.what, &row.figure, eureka, consul];
        table.row(cells.map(str::to_owned));
    }
    let sources = SOURCES.iter().enumerate();
    let sources: Vec<_> = sources
        .map(|(at, (title, link))| format!("[{}] [{title}]({link})", at + 1))
        .collect();
    let part = format!(
        "{}\n\
         A whole process with its journal, each acknowledged change synced to the disk, in a registry of over \
         {} instances. A new instance is probed before its first request, and memory is with a probe for each; \
         a change is in force when it is acknowledged. {machine}; {}. Neither Eureka nor Consul was run: theirs \
         is what their projects say. {}.\n",
        table.markdown(),
        thousands(scale.instances as f64),
        report::today(),
        sources.join(", "),
    );
    report::write("control", &part);
}
