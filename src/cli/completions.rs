//! `callboard completions`: what a shell needs to complete this command line.

use std::io::Write;

use clap::Args;
use clap_complete::Shell;

use super::help;
use super::remote::exit_code;

/// For which shell.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The shell
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
}

/// Writes the script; gives the exit code.
pub(super) fn run(asked: &Arguments, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    // Whole before it is written: the generator stops the process when a reader leaves.
    let mut script = Vec::new();
    clap_complete::generate(asked.shell, &mut help::command(), "callboard", &mut script);
    let written = out.write_all(&script).and_then(|()| out.flush());
    exit_code(written.map_err(Into::into), err)
}
