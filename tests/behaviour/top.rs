//! `callboard top`: in a real terminal, which tmux plays, and where there is none.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::support::{Callboard, Instance, eventually, peers};

fn top(registry: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_callboard"));
    command.arg("top").args(arguments);
    for name in ["CALLBOARD_TOKEN", "CALLBOARD_CA"] {
        command.env_remove(name);
    }
    command
        .env("CALLBOARD_REGISTRY", registry)
        .output()
        .unwrap()
}

/// A terminal in which top runs; both end when it is dropped.
struct Terminal {
    tmux: PathBuf,
    folder: tempfile::TempDir,
}

impl Terminal {
    /// `environment` is such as `NO_COLOR=1`. `None` skips `test`.
    fn start(
        callboard: &Callboard,
        size: (u16, u16),
        environment: &str,
        test: &str,
    ) -> Option<Self> {
        let tmux = peers::program("tmux", test)?;
        let terminal = Self {
            tmux,
            folder: tempfile::tempdir().unwrap(),
        };
        let run = format!(
            "{environment} {} top --registry {}; echo ended with $?; stty -a; exec sleep 600",
            env!("CARGO_BIN_EXE_callboard"),
            callboard.registry
        );
        let (width, height) = (size.0.to_string(), size.1.to_string());
        terminal.tmux(&["new-session", "-d", "-x", &width, "-y", &height, &run]);
        Some(terminal)
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let output = Command::new(&self.tmux)
            .args(["-f", "/dev/null", "-S"])
            .arg(self.socket())
            .args(arguments)
            .env("LC_ALL", "C.UTF-8")
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn socket(&self) -> PathBuf {
        Path::join(self.folder.path(), "tmux")
    }

    /// What the screen shows; with `colored` also how.
    fn screen(&self, colored: bool) -> String {
        let look = ["capture-pane", "-p", "-e"];
        self.tmux(&look[..2 + usize::from(colored)])
    }

    fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// Waits until the screen shows all of these.
    async fn shows(&self, texts: &[&str]) -> String {
        let seen = std::cell::RefCell::new(String::new());
        let what = format!("the screen shows {texts:?}");
        eventually(&what, async || {
            let screen = self.screen(false);
            let found = texts.iter().all(|text| screen.contains(text));
            seen.replace(screen.clone());
            found.then_some(screen)
        })
        .await
    }

    /// The process that runs in it.
    fn inside(&self) -> String {
        let shell = self.tmux(&["display-message", "-p", "#{pane_pid}"]);
        let children = Command::new("ps")
            .args(["-o", "pid=", "--ppid", shell.trim()])
            .output()
            .unwrap();
        String::from_utf8(children.stdout)
            .unwrap()
            .trim()
            .to_owned()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = Command::new(&self.tmux)
            .arg("-S")
            .arg(self.socket())
            .arg("kill-server")
            .output();
    }
}

async fn board() -> (Callboard, Vec<Instance>) {
    let callboard = Callboard::trusting();
    let instances = Instance::several("web", 2);
    for instance in &instances {
        callboard
            .register("web", instance, json!({"zone": "\u{1b}[2J"}))
            .await;
    }
    callboard.register("orders", &instances[0], json!({})).await;
    eventually("they are in the figures", async || {
        let told = top(&callboard.registry, &["--once"]);
        let text = String::from_utf8(told.stdout).unwrap();
        (text.contains("orders") && text.contains("2 ready")).then_some(())
    })
    .await;
    (callboard, instances)
}

#[tokio::test]
async fn without_a_terminal_it_prints_one_table_and_ends() {
    let (callboard, _instances) = board().await;
    for arguments in [&[][..], &["--once"], &["--service", "web"]] {
        let output = top(&callboard.registry, arguments);
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].starts_with("SERVICE"), "{text}");
        assert_eq!(
            lines.len(),
            if arguments.len() == 2 { 2 } else { 3 },
            "{text}"
        );
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }
    let output = top(&callboard.registry, &["--once", "--json"]);
    let event: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(event["total"]["instances"], json!(3));
}

#[test]
fn a_registry_that_is_not_there_and_wrong_arguments_are_told() {
    let dead = Instance::dead("nobody");
    let output = top(&format!("http://127.0.0.1:{}", dead.port), &[]);
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("cannot be reached"), "{told}");
    for arguments in [
        ["--interval", "1ms"],
        ["--service", "a/b"],
        ["--config", "x"],
    ] {
        let output = top("http://127.0.0.1:1", &arguments);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
    }
}

#[tokio::test]
async fn a_terminal_shows_services_and_their_instances_and_is_given_back() {
    let (callboard, _instances) = board().await;
    let test = "top::a_terminal_shows";
    let Some(terminal) = Terminal::start(&callboard, (80, 24), "", test) else {
        return;
    };
    terminal
        .shows(&["web", "orders", "2 ready", "requests/s", "q quit"])
        .await;
    // Of the eight colours or of the 256, as the terminal has them.
    let screen = terminal.screen(true);
    let green = ["\u{1b}[32m", "\u{1b}[38;5;2m"];
    let is_green = green.iter().any(|code| screen.contains(code));
    assert!(is_green, "nothing is green: {screen:?}");
    terminal.press(&["/", "w", "e", "b", "Enter"]);
    let screen = terminal.shows(&["/web", "2 ready"]).await;
    assert!(!screen.contains("orders"), "{screen}");
    terminal.press(&["Enter"]);
    terminal.shows(&["web-1", "web-2", "\\u{1b}["]).await;
    terminal.press(&["Escape"]);
    terminal.press(&["Escape"]);
    terminal.shows(&["orders"]).await;
    terminal.press(&["?"]);
    terminal.shows(&["reversed"]).await;
    terminal.press(&["x"]);
    terminal.press(&["q"]);
    let screen = terminal.shows(&["ended with 0", " echo "]).await;
    assert!(screen.contains(" icanon"), "{screen}");
}

#[tokio::test]
async fn it_lives_in_any_size_without_color_and_tells_of_a_lost_registry() {
    let (mut callboard, _instances) = board().await;
    let test = "top::it_lives_in_any_size";
    let Some(terminal) = Terminal::start(&callboard, (100, 30), "NO_COLOR=1", test) else {
        return;
    };
    terminal.shows(&["web", "orders"]).await;
    let screen = terminal.screen(true);
    for color in 0..=8 {
        assert!(!screen.contains(&format!("\u{1b}[3{color}")), "{screen:?}");
    }
    for size in [
        ["-x", "3", "-y", "2"],
        ["-x", "20", "-y", "5"],
        ["-x", "1", "-y", "1"],
    ] {
        let resize = [&["resize-window"][..], &size].concat();
        terminal.tmux(&resize);
        tokio::task::yield_now().await;
    }
    terminal.tmux(&["resize-window", "-x", "90", "-y", "20"]);
    terminal.shows(&["web", "orders", "q quit"]).await;
    callboard.crash();
    terminal.shows(&["trying again"]).await;
    let process = terminal.inside();
    let killed = Command::new("kill").args(["-TERM", &process]).status();
    assert!(killed.unwrap().success());
    terminal.shows(&["ended with 0", " icanon"]).await;
}
