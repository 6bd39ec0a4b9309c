//! `callboard upgrade`: takes a running callboard's place.

use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use clap::Args;

use super::print;
use super::serve::Configuration;

/// What it can be told.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) configuration: Configuration,

    /// Serve in the background: return when the new process serves, or with the error that keeps it
    /// from that
    #[arg(long)]
    pub(super) detach: bool,
}

/// Runs this command again in the background, without `--detach`, and returns when it serves or has
/// ended; gives the exit code.
pub(super) fn detached(out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    match start().and_then(|child| follow(child, out)) {
        Ok(code) => code,
        Err(error) => {
            print(
                err,
                [format!(
                    "callboard: cannot start in the background: {error}"
                )],
            );
            1
        }
    }
}

fn start() -> io::Result<Child> {
    let arguments = env::args_os()
        .skip(1)
        .filter(|argument| argument != "--detach");
    Command::new(env::current_exe()?)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        // Signals for this process's group, of a terminal say, are not meant for it.
        .process_group(0)
        .spawn()
}

/// Passes on what `child` says until it serves: the control plane is announced last.
fn follow(mut child: Child, out: &mut dyn Write) -> io::Result<u8> {
    let lines = child.stdout.take().map(BufReader::new);
    for line in lines.into_iter().flat_map(BufRead::lines) {
        let line = line?;
        print(out, [&line]);
        if line.contains("registry listening on ") {
            return Ok(0);
        }
    }
    // It says nothing more only when it ends.
    let code = child.wait()?.code();
    Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}
