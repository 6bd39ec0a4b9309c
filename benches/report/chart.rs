//! Bars, as an SVG that can be read on light and on dark pages.

use std::fmt::Write;

const WIDTH: f64 = 720.0;
/// Where bars begin: names stand left of it.
const LEFT: f64 = 170.0;
/// Room for the longest bar's figure.
const RIGHT: f64 = 90.0;
const TOP: f64 = 56.0;
const STEP: f64 = 30.0;
const THICK: f64 = 18.0;

/// Text is what a page has in either mode; the bars' colours are readable on both.
const STYLE: &str = "text { font: 14px system-ui, sans-serif; fill: #1f2328; } \
    .title { font-weight: 600; } .note { font-size: 12px; fill: #59636e; } \
    rect { fill: #8c959f; } .own { fill: #0969da; } .own-text { font-weight: 600; } \
    line { stroke: #d1d9e0; } \
    @media (prefers-color-scheme: dark) { text { fill: #f0f6fc; } .note { fill: #9198a1; } \
    rect { fill: #6e7681; } .own { fill: #4493f8; } line { stroke: #3d444d; } }";

/// A chart of bars, one below the other.
pub(crate) struct Chart {
    pub(crate) title: String,
    pub(crate) note: String,
    pub(crate) bars: Vec<Bar>,
}

/// A bar with its name at the left and its figure at the right.
pub(crate) struct Bar {
    pub(crate) name: String,
    pub(crate) length: f64,
    pub(crate) figure: String,
    /// Whether it is the one that the chart is about.
    pub(crate) is_own: bool,
}

impl Chart {
    pub(crate) fn svg(&self) -> String {
        let height = TOP + STEP * self.bars.len() as f64 + 10.0;
        let longest = self
            .bars
            .iter()
            .map(|bar| bar.length)
            .fold(f64::MIN_POSITIVE, f64::max);
        let (title, note) = (escaped(&self.title), escaped(&self.note));
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
             width=\"{WIDTH}\" height=\"{height}\" role=\"img\" aria-labelledby=\"title note\">\n\
             <style>{STYLE}</style>\n\
             <text id=\"title\" class=\"title\" x=\"0\" y=\"18\">{title}</text>\n\
             <text id=\"note\" class=\"note\" x=\"0\" y=\"38\">{note}</text>\n"
        );
        for (at, bar) in self.bars.iter().enumerate() {
            let top = TOP + STEP * at as f64;
            let base = top + THICK - 4.0;
            let long = (WIDTH - LEFT - RIGHT) * bar.length / longest;
            let (name, figure) = (escaped(&bar.name), escaped(&bar.figure));
            let (own, text) = if bar.is_own {
                ("own", "own-text")
            } else {
                ("", "")
            };
            let (beside, before) = (LEFT + long + 8.0, LEFT - 10.0);
            // Writing to a string cannot fail.
            let _ = writeln!(
                svg,
                "<text class=\"{text}\" x=\"{before}\" y=\"{base}\" text-anchor=\"end\">{name}</text>\
                 <rect class=\"{own}\" x=\"{LEFT}\" y=\"{top}\" width=\"{long:.1}\" height=\"{THICK}\" rx=\"2\"/>\
                 <text class=\"{text}\" x=\"{beside:.1}\" y=\"{base}\">{figure}</text>"
            );
        }
        let foot = height - 6.0;
        let _ = writeln!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{LEFT}\" y1=\"{}\" y2=\"{foot}\"/>\n</svg>",
            TOP - 6.0
        );
        svg
    }
}

pub(super) fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('"', "&quot;")
}
