//! What benches say in README.md: tables, charts, and the place where they go.

#![allow(
    dead_code,
    unused_imports,
    reason = "each bench says it in another way"
)]

mod chart;
mod lines;
mod readme;
mod table;

pub(crate) use chart::{Bar, Chart};
pub(crate) use lines::{Line, Lines};
pub(crate) use readme::{today, write, write_chart};
pub(crate) use table::Table;
