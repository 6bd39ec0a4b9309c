//! How it looks, on a terminal of any size.

use std::env;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Sparkline, Wrap};

use super::figures::{Figures, harmless, rate, time};
use super::model::{Model, View};
use super::tables;

/// What keys do.
const HELP: &str = "\
\x20↑ ↓ PgUp PgDn Home End   move
 Enter                    the instances of a service
 Esc                      back; no filter
 /                        show services whose name holds …
 s, r                     sort by the next column, reversed
 q                        quit

 RATE and ERRORS (5xx) are per second, P50 and P99 durations.
 FLYING requests are under way. Any key goes on.";
/// A terminal lower than this shows no past.
const TALL: u16 = 14;

/// Colors or none, and whose figures these are.
#[derive(Clone, Debug)]
pub(super) struct Look {
    pub(super) colored: bool,
    pub(super) registry: String,
}

impl Look {
    /// Colors unless the environment says [otherwise](https://no-color.org).
    pub(super) fn of_environment(registry: String) -> Self {
        Self {
            colored: env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
            registry,
        }
    }

    pub(super) fn color(&self, color: Color) -> Style {
        if self.colored {
            Style::new().fg(color)
        } else {
            Style::new()
        }
    }
}

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, model: &Model, look: &Look) {
    let past = if frame.area().height < TALL { 0 } else { 4 };
    let [head, past, table, foot] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(past),
        Constraint::Min(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(header(model, look), head);
    if past.height > 0 {
        draw_past(frame, past, model, look);
    }
    match model.view {
        View::Help => frame.render_widget(Paragraph::new(HELP).wrap(Wrap { trim: false }), table),
        View::Inside => tables::instances(frame, table, model, look),
        View::Services | View::Filter => tables::services(frame, table, model, look),
    }
    frame.render_widget(footer(model, look), foot);
}

fn header(model: &Model, look: &Look) -> Paragraph<'static> {
    let total = &model.total;
    let figures = &total.figures;
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let failing = if figures.errors > 0.0 {
        look.color(Color::Red)
    } else {
        Style::new()
    };
    let first = Line::from(vec![
        Span::styled("callboard ", bold),
        Span::raw(harmless(&look.registry)),
        Span::raw(format!("  {}", harmless(&model.at))),
    ]);
    let second = Line::from(vec![
        Span::styled(format!("{}/s", rate(figures.rate)), bold),
        Span::raw("  "),
        Span::styled(format!("{} errors/s", rate(figures.errors)), failing),
        Span::raw(format!(
            "  p50 {}  p99 {}  {} flying  {} connections  {} inst  {} services",
            time(figures.p50),
            time(figures.p99),
            figures.in_flight,
            total.connections,
            total.instances,
            total.services,
        )),
    ]);
    Paragraph::new(vec![first, second])
}

fn draw_past(frame: &mut Frame<'_>, area: Rect, model: &Model, look: &Look) {
    let columns: [Rect; 3] = Layout::horizontal([Constraint::Fill(1); 3])
        .spacing(2)
        .areas(area);
    type Of = fn(&Figures) -> f64;
    let shown: [(&str, Of, Color); 3] = [
        ("requests/s", |figures| figures.rate, Color::Green),
        ("errors/s", |figures| figures.errors, Color::Red),
        (
            "p99",
            |figures| figures.p99.unwrap_or_default() * 1e3,
            Color::Yellow,
        ),
    ];
    for (column, (title, value, color)) in columns.into_iter().zip(shown) {
        // The newest at the right edge.
        let newest = model.past.iter().rev().take(usize::from(column.width));
        let mut bars: Vec<_> = newest.map(|one| (value(one) * 1e3) as u64).collect();
        bars.resize(usize::from(column.width), 0);
        bars.reverse();
        let line = Sparkline::default()
            .block(Block::new().title(title))
            .style(look.color(color))
            .data(bars);
        frame.render_widget(line, column);
    }
}

fn footer(model: &Model, look: &Look) -> Line<'static> {
    if let Some(lost) = &model.lost {
        let style = look.color(Color::Red).add_modifier(Modifier::BOLD);
        return Line::styled(format!("{}; trying again", harmless(lost)), style);
    }
    let filter = harmless(&model.filter);
    match model.view {
        View::Filter => Line::raw(format!("/{filter}_")),
        View::Inside => Line::raw(format!(
            "{}  Esc back  ? help  q quit",
            harmless(&model.inside.service)
        )),
        View::Help => Line::raw(""),
        View::Services if filter.is_empty() => {
            Line::raw("Enter instances  / filter  s sort  ? help  q quit")
        }
        View::Services => Line::raw(format!("/{filter}  Esc all  ? help  q quit")),
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::feed::Told;
    use super::super::figures::{Event, Row};
    use super::super::instances::{Inside, Instance};
    use super::*;

    fn model() -> Model {
        let mut model = Model::default();
        let row = |service: &str, rate| Row {
            service: service.to_owned(),
            figures: Figures {
                rate,
                errors: 0.5,
                p50: Some(0.0012),
                p99: Some(1.5),
                ..Figures::default()
            },
            instances: 9,
            availability: [("ready", 8), ("ejected", 1)]
                .map(|(a, n)| (a.to_owned(), n))
                .into(),
            ..Row::default()
        };
        let services = vec![row("web", 12.3), row("\u{1b}]0;evil\u{7}", 1.0)];
        model.hear(Told::Figures(Box::new(Event {
            complete: true,
            services,
            history: vec![Figures::default(); 300],
            ..Event::default()
        })));
        model
    }

    fn drawn(model: &Model, width: u16, height: u16) -> String {
        let look = Look {
            colored: false,
            registry: "http://board".to_owned(),
        };
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, model, &look)).unwrap();
        let buffer = terminal.backend().buffer();
        let lines = buffer.content().chunks(usize::from(width).max(1));
        let lines: Vec<String> = lines
            .map(|cells| cells.iter().map(ratatui::buffer::Cell::symbol).collect())
            .collect();
        lines.join("\n")
    }

    #[test]
    fn an_ordinary_terminal_shows_all() {
        let screen = drawn(&model(), 80, 24);
        for text in [
            "web",
            "12",
            "1.2ms",
            "1.5s",
            "8 ready, 1 ejected",
            "requests/s",
            "q quit",
        ] {
            assert!(screen.contains(text), "{text} is missing:\n{screen}");
        }
        assert!(screen.contains("\\u{1b}]0"), "{screen}");
        assert!(!screen.contains('\u{1b}'), "{screen}");
    }

    /// The words of the line that begins with this one.
    fn words(screen: &str, first: &str) -> String {
        let line = screen.lines().find(|line| line.starts_with(first)).unwrap();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_narrow_terminal_shows_how_services_are_before_anything_else() {
        for (width, headings) in [
            (40, "SERVICE RATE AVAILABILITY"),
            (60, "SERVICE RATE ERRORS P99 AVAILABILITY"),
            (80, "SERVICE RATE ERRORS P50 P99 FLYING INST AVAILABILITY"),
            (120, "SERVICE RATE ERRORS P50 P99 FLYING INST AVAILABILITY"),
        ] {
            let screen = drawn(&model(), width, 10);
            assert_eq!(words(&screen, "SERVICE"), headings, "{width}:\n{screen}");
            assert_eq!(screen.matches("8 ready, 1 ejected").count(), 2, "{screen}");
        }
        let narrow = drawn(&model(), 40, 10);
        assert!(
            narrow.contains("\\u{1b}]0;evil… 1.0    8 ready"),
            "{narrow}"
        );
    }

    #[test]
    fn a_narrow_terminal_shows_how_instances_are_before_anything_else() {
        let mut model = model();
        model.view = View::Inside;
        model.inside = Inside {
            instances: vec![Instance {
                id: "web-6f7c9d5b8-x2x7q".to_owned(),
                address: "10.1.2.3:8080".to_owned(),
                zone: "eu-1".to_owned(),
                availability: "unhealthy".to_owned(),
                reason: "connect to 10.1.2.3:8080: connection refused".to_owned(),
                ..Instance::default()
            }],
            ..Inside::default()
        };
        for (width, headings) in [
            (40, "INSTANCE IS WHY"),
            (60, "INSTANCE ADDRESS FLYING IS WHY"),
            (80, "INSTANCE ADDRESS ZONE WEIGHT FLYING SERVED IS WHY"),
            (120, "INSTANCE ADDRESS ZONE WEIGHT FLYING SERVED IS WHY"),
        ] {
            let screen = drawn(&model, width, 10);
            assert_eq!(words(&screen, "INSTANCE"), headings, "{width}:\n{screen}");
            assert!(screen.contains(" unhealthy connect to "), "{screen}");
            assert_eq!(
                screen.contains("web-6f7c9d5b8-x2x7q"),
                width > 80,
                "{screen}"
            );
        }
    }

    #[test]
    fn no_size_is_too_small() {
        let mut model = model();
        for view in [View::Services, View::Filter, View::Help, View::Inside] {
            model.view = view;
            for (width, height) in [(1, 1), (0, 0), (3, 2), (10, 5), (20, 3), (500, 1), (1, 200)] {
                drawn(&model, width, height);
            }
        }
    }

    #[test]
    fn the_mark_is_in_sight_however_far_down_it_is() {
        let mut model = Model::default();
        let services = (0..1_000).map(|n| Row {
            service: format!("s{n:04}"),
            ..Row::default()
        });
        model.hear(Told::Figures(Box::new(Event {
            complete: true,
            services: services.collect(),
            ..Event::default()
        })));
        model.go(700);
        let screen = drawn(&model, 80, 10);
        assert!(screen.contains("s0700"), "{screen}");
        model.go(isize::MAX);
        assert!(drawn(&model, 80, 10).contains("s0999"));
    }
}
