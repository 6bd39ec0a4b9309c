//! How it looks, on a terminal of any size.

use std::env;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Cell, Paragraph, Row as Cells, Sparkline, Table, TableState, Wrap};

use super::figures::{Figures, Row, harmless, rate, time};
use super::model::{Model, View};

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

    fn color(&self, color: Color) -> Style {
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
        View::Inside => draw_instances(frame, table, model, look),
        View::Services | View::Filter => draw_services(frame, table, model, look),
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

fn draw_services(frame: &mut Frame<'_>, area: Rect, model: &Model, look: &Look) {
    let rows = model.rows();
    let mut state = TableState::new().with_selected(model.mark(&rows));
    // Only what can be seen is made into cells.
    let visible = usize::from(area.height).max(1);
    let first = state
        .selected()
        .unwrap_or_default()
        .saturating_sub(visible.saturating_sub(2));
    state.select(state.selected().map(|at| at - first));
    let headings = [
        "SERVICE",
        "RATE",
        "ERRORS",
        "P50",
        "P99",
        "FLYING",
        "INST",
        "AVAILABILITY",
    ];
    let headings = headings.map(|heading| {
        let sorted = heading == model.sort.heading();
        let style = if sorted {
            Modifier::UNDERLINED | Modifier::BOLD
        } else {
            Modifier::BOLD
        };
        Cell::from(heading).style(Style::new().add_modifier(style))
    });
    let cells = rows
        .iter()
        .skip(first)
        .take(visible)
        .map(|row| service(row, look));
    let widths = [
        Constraint::Min(12),
        Constraint::Length(6),
        Constraint::Length(6),
        Constraint::Length(7),
        Constraint::Length(7),
        Constraint::Length(6),
        Constraint::Length(5),
        Constraint::Fill(1),
    ];
    let table = Table::new(cells, widths)
        .header(Cells::new(headings))
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    frame.render_stateful_widget(table, area, &mut state);
}

fn service(row: &Row, look: &Look) -> Cells<'static> {
    let figures = &row.figures;
    let errors = match figures.errors > 0.0 {
        true => look.color(Color::Red),
        false => Style::new(),
    };
    let health = match row.is_well() {
        true => look.color(Color::Green),
        false => look.color(Color::Yellow),
    };
    Cells::new([
        Cell::from(harmless(&row.service)),
        Cell::from(rate(figures.rate)),
        Cell::from(rate(figures.errors)).style(errors),
        Cell::from(time(figures.p50)),
        Cell::from(time(figures.p99)),
        Cell::from(figures.in_flight.to_string()),
        Cell::from(row.instances.to_string()),
        Cell::from(row.availability()).style(health),
    ])
}

fn draw_instances(frame: &mut Frame<'_>, area: Rect, model: &Model, look: &Look) {
    let inside = &model.inside;
    if let Some(problem) = &inside.problem {
        let told = Paragraph::new(harmless(problem)).wrap(Wrap { trim: false });
        frame.render_widget(told, area);
        return;
    }
    let visible = usize::from(area.height).max(1);
    let first = inside.selected.saturating_sub(visible.saturating_sub(2));
    let rows = inside
        .instances
        .iter()
        .skip(first)
        .take(visible)
        .map(|one| {
            let health = match one.availability.as_str() {
                "ready" => look.color(Color::Green),
                _ => look.color(Color::Yellow),
            };
            Cells::new([
                Cell::from(one.id.clone()),
                Cell::from(one.address.clone()),
                Cell::from(one.zone.clone()),
                Cell::from(one.weight.to_string()),
                Cell::from(one.in_flight.to_string()),
                Cell::from(one.served.to_string()),
                Cell::from(one.availability.clone()).style(health),
                Cell::from(one.reason.clone()),
            ])
        });
    let headings = [
        "INSTANCE", "ADDRESS", "ZONE", "WEIGHT", "FLYING", "SERVED", "IS", "WHY",
    ];
    let widths = [
        Constraint::Min(12),
        Constraint::Min(15),
        Constraint::Max(8),
        Constraint::Length(6),
        Constraint::Length(6),
        Constraint::Length(8),
        Constraint::Length(9),
        Constraint::Fill(1),
    ];
    let table = Table::new(rows, widths)
        .header(Cells::new(headings).style(Style::new().add_modifier(Modifier::BOLD)))
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let selected = (!inside.instances.is_empty()).then(|| inside.selected - first);
    frame.render_stateful_widget(table, area, &mut TableState::new().with_selected(selected));
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
    use super::super::figures::Event;
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
