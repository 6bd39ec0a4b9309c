//! What a run says: a table, a chart, and README.md's part.

use crate::inside::FEW;
use crate::machine::Machine;
use crate::report::{self, Line, Lines, Table};
use crate::requests::LANES;
use crate::series::{Scale, Series};
use crate::spread::thousands;

/// What stands where there is no figure.
const NONE: &str = "–";
/// Other algorithms than the default have a name of their own; they are printed only.
const VARIANT: &str = "pick, ";

pub(crate) fn print(all: &[Series], scale: &Scale) {
    print!("\n{}", table(all.iter(), scale));
}

/// Writes README.md's part and the chart beside the other pictures.
pub(crate) fn write(all: &[Series], scale: &Scale, machine: &Machine) {
    let told: Vec<_> = (all.iter())
        .filter(|series| !series.cost.starts_with(VARIANT))
        .collect();
    report::write_chart("growth.svg", &chart(&told).svg());
    let reasons = told.iter().filter_map(|series| {
        let why = match series.grows {
            Some(why) => why,
            None if series.outgrows_logarithm() => "not as it should",
            None => return None,
        };
        Some(format!("{} by {} ({why})", series.cost, series.along))
    });
    let reasons: Vec<_> = reasons.collect();
    let part = format!(
        "![Each cost as there is more and more, relative to the smallest size.](docs/growth.svg)\n\n\
         {}\n\
         What grows faster than a logarithm: {}. Picks, heartbeats and searches are of {FEW} in turn; \
         requests go over {LANES} kept connections to all services, instances or routes in turn, which no \
         longer fit into the processor's caches when there are many; {machine}; {}.\n",
        table(told.iter().copied(), scale).markdown(),
        reasons.join("; "),
        report::today(),
    );
    report::write("growth", &part);
}

fn table<'a>(all: impl Iterator<Item = &'a Series>, scale: &Scale) -> Table {
    let sizes = scale.sizes.iter().map(|size| thousands(*size as f64));
    let names = ["cost", "by"].map(str::to_owned).into_iter();
    let columns = names.chain(sizes).chain([String::from("×")]);
    let mut table = Table::new(columns);
    for series in all {
        let names = [
            format!("{}, {}", series.cost, series.unit),
            series.along.to_owned(),
        ];
        let costs = scale.sizes.iter().map(|size| shown(series.at(*size)));
        let growth = series.growth();
        table.row(names.into_iter().chain(costs).chain([shown(growth)]));
    }
    table
}

fn chart(all: &[&Series]) -> Lines {
    // Two points are no line.
    let drawn = all.iter().filter(|series| series.points.len() > 2);
    let lines = drawn.filter_map(|series| {
        let (_, first) = series.points.first()?;
        let points = series.points.iter();
        Some(Line {
            name: format!("{} by {}", series.cost, series.along),
            points: points
                .map(|(size, cost)| (*size as f64, cost / first))
                .collect(),
            grows: series.grows.is_some() || series.outgrows_logarithm(),
        })
    });
    Lines {
        title: "Each cost as there is more and more".to_owned(),
        note: "Relative to the smallest size; level is best".to_owned(),
        axis: "services, instances, routes or connections".to_owned(),
        lines: lines.collect(),
    }
}

/// Three digits say enough.
fn shown(figure: Option<f64>) -> String {
    match figure {
        None => NONE.to_owned(),
        Some(figure @ ..10.0) => format!("{figure:.2}"),
        Some(figure @ 10.0..100.0) => format!("{figure:.1}"),
        Some(figure) => thousands(figure),
    }
}
