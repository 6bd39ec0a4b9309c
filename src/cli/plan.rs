//! `callboard plan`: what another configuration would change.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use reqwest::Method;

use crate::client::Call;
use crate::config::Config;
use crate::plan::{Change, Plan, Present};

use super::remote::{self, Failure, Remote};
use super::{escape, input};

/// How long a plan may take; a service of twenty thousand instances takes a while to hash.
const PATIENCE: Duration = Duration::from_secs(60);
/// What the command ends with if something would change and it is asked to say so.
const CHANGES: u8 = 4;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The new configuration; conf/proxy.yaml unless it is named
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,

    /// Compare with this file instead of asking a running callboard; who is signed in is not known then
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,

    #[command(flatten)]
    remote: Remote,

    /// The plan as JSON, as POST /api/v1/plan gives it
    #[arg(long)]
    json: bool,

    /// End with 4 if something would change
    #[arg(long)]
    exit_code: bool,
}

/// Makes a plan and tells it; gives the exit code.
pub(super) fn run(asked: &Arguments, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let default = Path::new(super::serve::DEFAULT_FILE);
    let file = asked.config.as_deref().unwrap_or(default);
    let plan = match &asked.against {
        Some(old) => between(old, file, err),
        None => running(&asked.remote, file, err),
    };
    let plan = match plan {
        Ok(plan) => plan,
        Err(code) => return code,
    };
    let told = match asked.json {
        true => as_json(&plan, out),
        false => tell(&plan, file, out, err),
    };
    match remote::exit_code(told.map_err(Failure::from), err) {
        0 if !plan.valid => 2,
        0 if asked.exit_code && plan.changes_anything() => CHANGES,
        code => code,
    }
}

/// The plan between two files.
fn between(old: &Path, new: &Path, err: &mut dyn Write) -> Result<Plan, u8> {
    let old = Config::load(old).map_err(|errors| {
        super::print(err, errors);
        2
    })?;
    Ok(Plan::of(
        &old.config,
        Config::load(new),
        &Present::default(),
    ))
}

/// The plan of a running callboard.
fn running(remote: &Remote, file: &Path, err: &mut dyn Write) -> Result<Plan, u8> {
    let text = input::text(file).map_err(|error| {
        let problem = format!("cannot be read: {error} (expected a configuration in YAML)");
        super::print(err, [format!("{}: {problem}", file.display())]);
        2
    })?;
    let asked = remote.client().and_then(|client| {
        remote::block_on(async {
            let answer = client.call(Call {
                body: Some(text.into()),
                patience: PATIENCE,
                ..Call::new(Method::POST, "/api/v1/plan")
            });
            Ok(client.read(&answer.await?)?)
        })
    });
    asked.map_err(|failure| remote::exit_code(Err(failure), err))
}

fn as_json(plan: &Plan, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, plan)?;
    writeln!(out)
}

/// Tells the plan to people: what is wrong on `err`, as `callboard check` does.
fn tell(plan: &Plan, file: &Path, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<()> {
    let place = file.display();
    for fault in &plan.errors {
        let message = escape::for_terminal(&fault.message);
        match fault.line {
            0 => writeln!(err, "{place}: {message}")?,
            line => writeln!(err, "{place}:{line}:{}: {message}", fault.column)?,
        }
    }
    for warning in &plan.warnings {
        let warning = escape::for_terminal(warning);
        let placed = warning.starts_with(|first: char| first.is_ascii_digit());
        writeln!(err, "{place}:{}{warning}", if placed { "" } else { " " })?;
    }
    if !plan.valid {
        return Ok(());
    }
    if !plan.changes_anything() {
        return writeln!(out, "No changes: {place} says what is in force.");
    }
    let mut page = Page { out };
    page.section("Settings", plan.changes.iter().map(setting))?;
    let services = plan.services.iter().flat_map(|service| {
        let count = match service.instances {
            0 => String::new(),
            1 => " (1 instance)".to_owned(),
            several => format!(" ({several} instances)"),
        };
        let head = format!("~ {}{count}", service.service);
        let changes = service.changes.iter().map(|change| format!("    {change}"));
        let effect = service
            .effect
            .iter()
            .map(|effect| format!("    # {effect}"));
        std::iter::once(head).chain(changes).chain(effect)
    });
    page.section("Services", services)?;
    let routes = &plan.routes;
    let marked = [
        ('+', &routes.added),
        ('-', &routes.removed),
        ('~', &routes.changed),
        ('^', &routes.moved),
    ];
    let routes = marked
        .into_iter()
        .flat_map(|(mark, routes)| routes.iter().map(move |route| format!("{mark} {route}")));
    page.section(
        "Routes (+ new, - gone, ~ changed, ^ in another place)",
        routes,
    )?;
    let instances = plan.instances.iter();
    let instances = instances.map(|one| format!("~ {}/{}: {}", one.service, one.id, one.effect));
    page.section("Instances", instances)?;
    let restart = plan.restart.iter().map(|key| format!("! {key}"));
    page.section("In force after a restart only", restart)?;
    if plan.omitted > 0 {
        writeln!(page.out, "and {} more\n", plan.omitted)?;
    }
    writeln!(page.out, "{}", summary(plan))
}

/// Sections that are left out when they are empty.
struct Page<'a> {
    out: &'a mut dyn Write,
}

impl Page<'_> {
    fn section(&mut self, title: &str, lines: impl Iterator<Item = String>) -> io::Result<()> {
        let mut lines = lines.peekable();
        if lines.peek().is_none() {
            return Ok(());
        }
        writeln!(self.out, "{title}:")?;
        for line in lines {
            writeln!(self.out, "  {}", escape::for_terminal(&line))?;
        }
        writeln!(self.out)
    }
}

fn setting(change: &Change) -> String {
    let Change {
        path,
        from,
        to,
        effect,
    } = change;
    let effect = effect.as_ref().map(|effect| format!("   # {effect}"));
    let effect = effect.unwrap_or_default();
    match (from, to) {
        (None, Some(to)) => format!("+ {path}: {to}{effect}"),
        (Some(from), None) => format!("- {path}: {from}{effect}"),
        (Some(from), Some(to)) => format!("~ {path}: {from} → {to}{effect}"),
        (None, None) => format!("~ {path}{effect}"),
    }
}

fn summary(plan: &Plan) -> String {
    let routes = &plan.routes;
    let routes = [
        &routes.added,
        &routes.removed,
        &routes.changed,
        &routes.moved,
    ];
    let counted = [
        (plan.changes.len(), "setting"),
        (plan.services.len(), "service"),
        (routes.iter().map(|list| list.len()).sum(), "route"),
        (plan.instances.len(), "instance"),
    ];
    let counted: Vec<_> = counted
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}{}", if *count == 1 { "" } else { "s" }))
        .collect();
    let restart = match plan.restart.is_empty() {
        true => "",
        false => "; a restart is needed for some",
    };
    let verb = match counted.as_slice() {
        [one] if one.starts_with("1 ") => "changes",
        _ => "change",
    };
    format!("Plan: {} {verb}{restart}.", counted.join(", "))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn files(old: &str, new: &str) -> (tempfile::TempDir, Arguments) {
        let folder = tempfile::tempdir().unwrap();
        let [old, new] = [("old.yaml", old), ("new.yaml", new)].map(|(name, text)| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        });
        let line = ["callboard", "plan"];
        let mut arguments = crate::cli::tests::plan(&line);
        arguments.config = Some(new);
        arguments.against = Some(old);
        (folder, arguments)
    }

    fn told(old: &str, new: &str) -> (u8, String) {
        let (folder, mut arguments) = files(old, new);
        arguments.exit_code = true;
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = run(&arguments, &mut out, &mut err);
        err.extend(out);
        let text = String::from_utf8(err).unwrap();
        (
            code,
            text.replace(&folder.path().display().to_string(), "DIR"),
        )
    }

    #[test]
    fn the_same_said_in_another_way_is_no_change() {
        let (code, text) = told("", "defaults: {drain: 30s}\n");
        assert_eq!(
            (code, text.as_str()),
            (0, "No changes: DIR/new.yaml says what is in force.\n")
        );
    }

    #[test]
    fn a_faulty_file_is_told_as_check_does() {
        let (code, text) = told("", "defaults:\n  drain: soon\n");
        assert_eq!(code, 2);
        assert!(
            text.starts_with("DIR/new.yaml:2:10: defaults.drain: \"soon\" is"),
            "{text}"
        );
    }

    #[test]
    fn a_file_without_an_end_is_refused() {
        let mut arguments = crate::cli::tests::plan(&["callboard", "plan"]);
        arguments.config = Some("/dev/zero".into());
        let mut err = Vec::new();
        assert_eq!(run(&arguments, &mut Vec::new(), &mut err), 2);
        let told = String::from_utf8(err).unwrap();
        assert!(
            told.starts_with("/dev/zero: cannot be read: longer than 1048576 bytes"),
            "{told}"
        );
    }

    #[test]
    fn what_has_a_service_say_the_default_is_no_change() {
        for service in ["{}", "{balance: least_request}"] {
            let (code, text) = told("{}", &format!("services: {{web: {service}}}"));
            assert_eq!(
                (code, text.as_str()),
                (0, "No changes: DIR/new.yaml says what is in force.\n"),
                "{service}"
            );
        }
    }

    #[test]
    fn a_plan_reads_from_settings_to_a_summary() {
        let old = "routes: [{match: {path: /a}, name: a, service: web}]";
        let new = "proxy: {threads: 3}\ndefaults: {drain: 5s}\nservices: {web: {balance: maglev}}\n\
                   routes: [{match: {path: /b}, service: web}, \
                   {match: {path: /a}, name: a, service: cart}]";
        let (code, text) = told(old, new);
        assert_eq!(code, CHANGES);
        insta::assert_snapshot!(text, @r#"
        Settings:
          ~ proxy.threads: auto → 3   # in force after a restart
          ~ defaults.drain: 30s → 5s
          ~ services.web.balance: least_request → maglev

        Services:
          ~ web
              balance: least_request → maglev
              drain: 30s → 5s
              # requests with the same key go to the same instance

        Routes (+ new, - gone, ~ changed, ^ in another place):
          + path /b: → web
          ~ a: path /a, → web ⇒ path /a, → cart

        In force after a restart only:
          ! proxy.threads

        Plan: 3 settings, 1 service, 2 routes change; a restart is needed for some.
        "#);
    }
}
