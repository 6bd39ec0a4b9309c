//! The tables. On a narrow terminal, how services and instances are stays longest.

use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::widgets::{Cell, Paragraph, Row as Cells, Table, TableState, Wrap};

use crate::cli::table::cell;
use crate::cli::table::fit::{Priority, leave_out, shorten};

use super::figures::{Row, harmless, rate, time};
use super::instances::Instance;
use super::model::Model;
use super::screen::Look;

/// What is between two columns.
const GAP: u16 = 1;

/// A kind of table: its headings, the least width of each column, so that they do not move about with
/// every figure, and which of them give way.
struct Shape<const COLUMNS: usize> {
    columns: [(&'static str, usize); COLUMNS],
    priority: Priority,
}

const SERVICES: Shape<8> = Shape {
    columns: [
        ("SERVICE", 12),
        ("RATE", 6),
        ("ERRORS", 6),
        ("P50", 7),
        ("P99", 7),
        ("FLYING", 6),
        ("INST", 5),
        ("AVAILABILITY", 12),
    ],
    priority: Priority {
        dispensable: &[3, 6, 5, 4, 2, 1],
        whole: Some(7),
    },
};

const INSTANCES: Shape<8> = Shape {
    columns: [
        ("INSTANCE", 12),
        ("ADDRESS", 15),
        ("ZONE", 4),
        ("WEIGHT", 6),
        ("FLYING", 6),
        ("SERVED", 8),
        ("IS", 9),
        ("WHY", 3),
    ],
    priority: Priority {
        dispensable: &[3, 5, 2, 4, 1, 7],
        whole: Some(6),
    },
};

/// The services, with the marked one in sight.
pub(super) fn services(frame: &mut Frame<'_>, area: Rect, model: &Model, look: &Look) {
    let rows = model.rows();
    let marked = model.mark(&rows);
    let sorted = model.sort.heading();
    let cells = |row: &&Row| service(row, look);
    draw(frame, area, &SERVICES, (&rows, cells), marked, sorted);
}

fn service(row: &Row, look: &Look) -> [(String, Style); 8] {
    let figures = &row.figures;
    let plain = Style::new();
    let errors = match figures.errors > 0.0 {
        true => look.color(Color::Red),
        false => plain,
    };
    let health = match row.is_well() {
        true => look.color(Color::Green),
        false => look.color(Color::Yellow),
    };
    [
        (harmless(&row.service), plain),
        (rate(figures.rate), plain),
        (rate(figures.errors), errors),
        (time(figures.p50), plain),
        (time(figures.p99), plain),
        (figures.in_flight.to_string(), plain),
        (row.instances.to_string(), plain),
        (row.availability(), health),
    ]
}

/// The instances of the service that is looked into, or why they are not known.
pub(super) fn instances(frame: &mut Frame<'_>, area: Rect, model: &Model, look: &Look) {
    let inside = &model.inside;
    if let Some(problem) = &inside.problem {
        let told = Paragraph::new(harmless(problem)).wrap(Wrap { trim: false });
        frame.render_widget(told, area);
        return;
    }
    let rows = &inside.instances;
    let marked = (!rows.is_empty()).then_some(inside.selected);
    let cells = |one: &Instance| instance(one, look);
    draw(frame, area, &INSTANCES, (rows, cells), marked, "");
}

fn instance(one: &Instance, look: &Look) -> [(String, Style); 8] {
    let plain = Style::new();
    let health = match one.availability.as_str() {
        "ready" => look.color(Color::Green),
        _ => look.color(Color::Yellow),
    };
    [
        (one.id.clone(), plain),
        (one.address.clone(), plain),
        (one.zone.clone(), plain),
        (one.weight.to_string(), plain),
        (one.in_flight.to_string(), plain),
        (one.served.to_string(), plain),
        (one.availability.clone(), health),
        (one.reason.clone(), plain),
    ]
}

/// Draws as many rows as can be seen, the marked one among them; only those are made into cells.
fn draw<T, const COLUMNS: usize>(
    frame: &mut Frame<'_>,
    area: Rect,
    shape: &Shape<COLUMNS>,
    (rows, cells): (&[T], impl Fn(&T) -> [(String, Style); COLUMNS]),
    marked: Option<usize>,
    sorted: &str,
) {
    let visible = usize::from(area.height).max(1);
    let first = marked
        .unwrap_or_default()
        .saturating_sub(visible.saturating_sub(2));
    let shown = rows.iter().skip(first).take(visible).map(cells);
    let shown: Vec<_> = shown.collect();
    let widths = widths(shape, &shown, usize::from(area.width));
    let is_shown = |&column: &usize| widths[column] > 0;
    let lines = shown.iter().map(|row| {
        let cells = (0..COLUMNS).filter(is_shown).map(|column| {
            let (text, style) = &row[column];
            Cell::from(cell::shortened(text, widths[column])).style(*style)
        });
        Cells::new(cells)
    });
    let headings = (0..COLUMNS).filter(is_shown).map(|column| {
        let (heading, _) = shape.columns[column];
        let bold = Style::new().add_modifier(Modifier::BOLD);
        Cell::from(heading).style(match heading == sorted {
            true => bold.add_modifier(Modifier::UNDERLINED),
            false => bold,
        })
    });
    let columns = widths.iter().filter(|width| **width > 0);
    let columns = columns.map(|&width| Constraint::Length(width.try_into().unwrap_or(u16::MAX)));
    let table = Table::new(lines, columns)
        .column_spacing(GAP)
        .header(Cells::new(headings))
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let selected = marked.map(|at| at - first);
    frame.render_stateful_widget(table, area, &mut TableState::new().with_selected(selected));
}

/// What each column gets of a line; 0 is left out.
fn widths<const COLUMNS: usize>(
    shape: &Shape<COLUMNS>,
    rows: &[[(String, Style); COLUMNS]],
    most: usize,
) -> [usize; COLUMNS] {
    let mut widths = shape
        .columns
        .map(|(heading, least)| least.max(heading.len()));
    for row in rows {
        for (width, (text, _)) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell::Cell::from(text.as_str()).width());
        }
    }
    leave_out(&mut widths, most, usize::from(GAP), shape.priority);
    shorten(&mut widths, most, usize::from(GAP), shape.priority);
    widths
}
