//! The commands among other programs: terminals, pipes, shells and manual pages.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::support::commands::{Said, command, say, wait};
use crate::support::{Callboard, Instance, peers};

/// What a command writes to a terminal with so many columns.
fn on_terminal(registry: &str, line: &str, environment: &[(&str, &str)]) -> Option<String> {
    let script = peers::program("script", "colours on a terminal")?;
    let line = format!("{} {line}", env!("CARGO_BIN_EXE_callboard"));
    let mut terminal = Command::new(script);
    let said = terminal
        .args(["-qec", &line, "/dev/null"])
        .env_remove("NO_COLOR")
        .env("TERM", "xterm")
        .env("CALLBOARD_REGISTRY", registry)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output();
    let said = Said::from(said.unwrap());
    assert_eq!(said.code, Some(0), "{said:?}");
    Some(said.out.replace('\r', ""))
}

#[tokio::test]
async fn a_terminal_gets_colours_and_lines_that_fit() {
    let callboard = Callboard::start(
        "proxy: {listen: [\"127.0.0.1:0\"]}\nregistry: {listen: \"127.0.0.1:0\"}\n",
    );
    let dead = Instance::dead("web-1");
    callboard.register("web", &dead, json!({})).await;
    let narrow = [("COLUMNS", "80")];
    let Some(shown) = on_terminal(&callboard.registry, "instances web", &narrow) else {
        return;
    };
    let row = shown.lines().find(|line| line.contains("web-1")).unwrap();
    assert!(row.contains("\u{1b}[36mstarting\u{1b}[0m"), "{row:?}");
    assert!(row.ends_with('…'), "{row:?}");
    let plain = row.replace("\u{1b}[36m", "").replace("\u{1b}[0m", "");
    assert!(plain.chars().count() <= 80, "{plain}");

    let quiet = [("COLUMNS", "500"), ("NO_COLOR", "1")];
    let shown = on_terminal(&callboard.registry, "instances web", &quiet).unwrap();
    assert!(
        !shown.contains('\u{1b}') && !shown.contains('…'),
        "{shown:?}"
    );
    let never = on_terminal(&callboard.registry, "instances web --color never", &[]).unwrap();
    assert!(!never.contains('\u{1b}'), "{never:?}");
    let always = say(
        &callboard.registry,
        &["instances", "web", "--color", "always"],
    );
    assert!(
        always.out.contains("\u{1b}[36mstarting\u{1b}[0m"),
        "{always:?}"
    );
    assert!(
        !always.out.contains('…'),
        "a pipe is as wide as can be: {always:?}"
    );
}

#[tokio::test]
async fn a_reader_that_leaves_ends_it_quietly() {
    let callboard = Callboard::trusting();
    let web = Instance::start("web-1");
    callboard.register("web", &web, json!({})).await;
    for arguments in [
        &["services"][..],
        &["instances", "web", "--json"],
        &["instances", "web", "web-1"],
        &["drain", "web", "web-1"],
        &["watch"],
        &["completions", "bash"],
        &["man"],
    ] {
        let mut command = command(&callboard.registry, arguments);
        let mut process = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(process.stdout.take());
        let status = wait(&mut process);
        let said = Said::from(process.wait_with_output().unwrap());
        assert_eq!(
            (status.code(), said.err.as_str()),
            (Some(0), ""),
            "{arguments:?}"
        );
    }
}

#[test]
fn completions_complete() {
    let nowhere = "http://127.0.0.1:1";
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = say(nowhere, &["completions", shell]).well().out;
        for name in ["instances", "drain", "--registry"] {
            let name = if shell == "fish" {
                name.trim_start_matches('-')
            } else {
                name
            };
            assert!(script.contains(name), "{shell}: {name}");
        }
        let file = folder.path().join(shell);
        std::fs::write(&file, script).unwrap();
        let on_path = std::env::var_os("PATH").unwrap();
        let installed = std::env::split_paths(&on_path).any(|folder| folder.join(shell).is_file());
        if matches!(shell, "bash" | "zsh" | "fish") && installed {
            let checked = Command::new(shell).arg("-n").arg(&file).output().unwrap();
            assert!(
                checked.status.success() && checked.stderr.is_empty(),
                "{checked:?}"
            );
        } else {
            println!("SKIPPED: syntax of completions for {shell} (not installed)");
        }
    }
    for (words, expected) in [
        ("callboard ins", "instances"),
        ("callboard services --reg", "--registry"),
    ] {
        let last = words.split(' ').count() - 1;
        let line = format!(
            "source {}; COMP_WORDS=({words}); COMP_CWORD={last}; \
             _callboard callboard \"${{COMP_WORDS[{last}]}}\" \"${{COMP_WORDS[{}]}}\"; \
             echo \"${{COMPREPLY[@]}}\"",
            folder.path().join("bash").display(),
            last - 1,
        );
        let completed = Command::new("bash").args(["-c", &line]).output().unwrap();
        let completed = Said::from(completed);
        assert!(
            completed
                .out
                .split_whitespace()
                .any(|word| word == expected),
            "{completed:?}"
        );
    }
}

#[test]
fn the_help_teaches() {
    let help = say("http://127.0.0.1:1", &["--help"]).well().out;
    for expected in [
        "Serve:",
        "Steer it:",
        "  drain ",
        "Exit codes:",
        "Usage: callboard [OPTIONS] [COMMAND]",
    ] {
        assert!(help.contains(expected), "{expected}: {help}");
    }
    let help = say("http://127.0.0.1:1", &["help", "drain"]).well().out;
    assert!(
        help.contains("Examples:\n  callboard drain orders orders-1 --wait"),
        "{help}"
    );
    assert!(help.contains("CALLBOARD_REGISTRY"), "{help}");
}

#[test]
fn the_manual_has_a_page_for_every_command_that_can_be_rendered() {
    let nowhere = "http://127.0.0.1:1";
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man/man1");
    let said = say(nowhere, &["man", "--dir", pages.to_str().unwrap()]).well();
    let files: Vec<_> = said.out.lines().map(Path::new).collect();
    for name in [
        "callboard.1",
        "callboard-drain.1",
        "callboard-prove-deploy.1",
        "callboard-man.1",
    ] {
        assert!(
            files.contains(&pages.join(name).as_path()),
            "{name}: {said:?}"
        );
    }
    let main = std::fs::read_to_string(pages.join("callboard.1")).unwrap();
    assert_eq!(main, say(nowhere, &["man"]).well().out);
    for section in [
        "EXAMPLES",
        "\"EXIT STATUS\"",
        "ENVIRONMENT",
        "FILES",
        "SIGNALS",
    ] {
        assert!(
            main.contains(&format!(".SH {section}")),
            "{section}: {main}"
        );
    }
    let in_vain = say(nowhere, &["man", "--dir", "/proc/none"]);
    assert_eq!(in_vain.code, Some(1));
    assert!(
        in_vain.err.contains("/proc/none cannot be written"),
        "{in_vain:?}"
    );

    let Some(groff) = peers::program("groff", "manual pages") else {
        return;
    };
    for file in files {
        let mut render = Command::new(&groff);
        let rendered = render
            .args(["-man", "-ww", "-Tutf8", "-P-cbou"])
            .arg(file)
            .output();
        let rendered = Said::from(rendered.unwrap()).well();
        assert!(rendered.out.contains("SYNOPSIS"), "{}", file.display());
    }
}
