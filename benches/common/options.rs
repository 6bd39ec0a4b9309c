//! What the command line of a bench asks for that writes into README.md.

use clap::Parser;

/// A measurement of callboard.
#[derive(Parser)]
pub(crate) struct Options {
    /// Less of everything, for a first look
    #[arg(long)]
    pub(crate) quick: bool,
    /// Writes what was measured into README.md
    #[arg(long)]
    pub(crate) write_readme: bool,
    /// What Cargo tells every bench.
    #[arg(long, hide = true)]
    bench: bool,
}
