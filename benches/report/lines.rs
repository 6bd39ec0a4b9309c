//! Lines over a logarithmic scale, as an SVG that can be read on light and on dark pages.

use std::fmt::Write;

use super::chart::escaped;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 64.0;
/// Where lines end: their names stand right of it.
const RIGHT: f64 = 390.0;
const TOP: f64 = 60.0;
const BOTTOM: f64 = 350.0;
/// The least distance between two names.
const APART: f64 = 18.0;

const STYLE: &str = "text { font: 13px system-ui, sans-serif; fill: #1f2328; } \
    .title { font-size: 14px; font-weight: 600; } .note { font-size: 12px; fill: #59636e; } \
    polyline { fill: none; stroke: #0969da; stroke-width: 2; } circle { fill: #0969da; } \
    .grows polyline { stroke: #9a6700; } .grows circle { fill: #9a6700; } .grows text { fill: #9a6700; } \
    line { stroke: #d1d9e0; } .lead { stroke: #8c959f; stroke-dasharray: 2 3; } \
    @media (prefers-color-scheme: dark) { text { fill: #f0f6fc; } .note { fill: #9198a1; } \
    polyline { stroke: #4493f8; } circle { fill: #4493f8; } \
    .grows polyline { stroke: #d29922; } .grows circle { fill: #d29922; } .grows text { fill: #d29922; } \
    line { stroke: #3d444d; } .lead { stroke: #6e7681; } }";

/// A chart of lines; both axes grow by ten from mark to mark.
pub(crate) struct Lines {
    pub(crate) title: String,
    pub(crate) note: String,
    /// What stands below.
    pub(crate) axis: String,
    pub(crate) lines: Vec<Line>,
}

/// A line with its name at its end.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
    /// Whether it is one of those that rise.
    pub(crate) grows: bool,
}

/// Where values stand.
struct Frame {
    /// The decades of either axis.
    across: (f64, f64),
    up: (f64, f64),
}

impl Lines {
    pub(crate) fn svg(&self) -> String {
        let frame = Frame::around(&self.lines);
        let (title, note) = (escaped(&self.title), escaped(&self.note));
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\" aria-labelledby=\"title note\">\n\
             <style>{STYLE}</style>\n\
             <text id=\"title\" class=\"title\" x=\"0\" y=\"18\">{title}</text>\n\
             <text id=\"note\" class=\"note\" x=\"0\" y=\"38\">{note}</text>\n"
        );
        frame.draw(&mut svg);
        // Writing to a string cannot fail.
        let _ = writeln!(
            svg,
            "<text class=\"note\" x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            (LEFT + RIGHT) / 2.0,
            BOTTOM + 40.0,
            escaped(&self.axis)
        );
        let names = self.names(&frame);
        for (line, name) in self.lines.iter().zip(names) {
            frame.line(&mut svg, line, name);
        }
        svg.push_str("</svg>\n");
        svg
    }

    /// How high each name stands: beside its line's end, or as near to it as others leave room.
    fn names(&self, frame: &Frame) -> Vec<f64> {
        let mut ends: Vec<_> = (self.lines.iter().enumerate())
            .map(|(at, line)| (frame.y(line.points.last().map_or(1.0, |point| point.1)), at))
            .collect();
        ends.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        let mut names = vec![0.0; ends.len()];
        let mut room = BOTTOM + 10.0;
        for (at, (end, line)) in ends.iter().enumerate() {
            // Those above need their room too.
            let above = (ends.len() - at) as f64 * APART;
            let height = end.min(room).max(TOP - 10.0 + above - APART);
            names[*line] = height;
            room = height - APART;
        }
        names
    }
}

impl Frame {
    fn around(lines: &[Line]) -> Self {
        let points = || lines.iter().flat_map(|line| &line.points);
        let decades = |values: &mut dyn Iterator<Item = f64>| {
            values.fold(1.0, f64::max).log10().ceil().max(1.0)
        };
        Self {
            across: (0.0, decades(&mut points().map(|point| point.0))),
            // A little below one: what is level is seldom quite so.
            up: (-0.3, decades(&mut points().map(|point| point.1))),
        }
    }

    fn x(&self, value: f64) -> f64 {
        let (least, most) = self.across;
        LEFT + (RIGHT - LEFT) * (value.log10() - least) / (most - least)
    }

    fn y(&self, value: f64) -> f64 {
        let (least, most) = self.up;
        BOTTOM - (BOTTOM - TOP) * (value.log10().max(least) - least) / (most - least)
    }

    /// The marks of both axes.
    fn draw(&self, svg: &mut String) {
        let marks = |(least, most): (f64, f64)| {
            (least.ceil() as i32..=most as i32).map(|at| 10_f64.powi(at))
        };
        for value in marks(self.up) {
            let y = self.y(value);
            let _ = writeln!(
                svg,
                "<line x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text class=\"note\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">× {}</text>",
                LEFT - 8.0,
                y + 4.0,
                thousands(value)
            );
        }
        for value in marks(self.across) {
            let _ = writeln!(
                svg,
                "<text class=\"note\" x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                self.x(value),
                BOTTOM + 20.0,
                thousands(value)
            );
        }
    }

    fn line(&self, svg: &mut String, line: &Line, name: f64) {
        let at = |(x, y): &(f64, f64)| format!("{:.1},{:.1}", self.x(*x), self.y(*y));
        let points: Vec<_> = line.points.iter().map(at).collect();
        let dots: String = (line.points.iter())
            .map(|(x, y)| {
                let (x, y) = (self.x(*x), self.y(*y));
                format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>")
            })
            .collect();
        let class = if line.grows { " class=\"grows\"" } else { "" };
        let (last, end) = line
            .points
            .last()
            .map_or((LEFT, BOTTOM), |(x, y)| (self.x(*x), self.y(*y)));
        let (from, to, beside) = (last + 6.0, RIGHT + 24.0, RIGHT + 28.0);
        let _ = writeln!(
            svg,
            "<g{class}><polyline points=\"{}\"/>{dots}\
             <line class=\"lead\" x1=\"{from:.1}\" y1=\"{end:.1}\" x2=\"{to}\" y2=\"{name:.1}\"/>\
             <text x=\"{beside}\" y=\"{:.1}\">{}</text></g>",
            points.join(" "),
            name + 4.0,
            escaped(&line.name)
        );
    }
}

fn thousands(value: f64) -> String {
    match value {
        1e3.. => format!("{},000", value / 1e3),
        _ => value.to_string(),
    }
}
