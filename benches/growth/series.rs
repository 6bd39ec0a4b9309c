//! A cost at several sizes.

use std::time::Duration;

use crate::spread::median;

/// How large it gets, and how long is looked.
pub(crate) struct Scale {
    pub(crate) sizes: Vec<usize>,
    pub(crate) turns: usize,
    /// How long a turn of a process lasts.
    pub(crate) span: Duration,
    /// How long a turn inside this process lasts.
    pub(crate) moment: Duration,
}

impl Scale {
    pub(crate) fn new(is_quick: bool) -> Self {
        let sizes = vec![1, 10, 100, 1_000, 10_000];
        match is_quick {
            false => Self {
                sizes,
                turns: 9,
                span: Duration::from_millis(500),
                moment: Duration::from_millis(20),
            },
            true => Self {
                sizes: sizes[..4].to_vec(),
                turns: 3,
                span: Duration::from_millis(200),
                moment: Duration::from_millis(5),
            },
        }
    }
}

/// One cost as one thing grows.
pub(crate) struct Series {
    pub(crate) cost: &'static str,
    pub(crate) unit: &'static str,
    /// What there is more and more of.
    pub(crate) along: &'static str,
    /// At which size how much; sizes at which it cannot be told are not there.
    pub(crate) points: Vec<(usize, f64)>,
    /// Why it is expected to grow, if it is.
    pub(crate) grows: Option<&'static str>,
}

impl Series {
    /// Of the turns at each size, the medians.
    pub(crate) fn new(
        (cost, unit): (&'static str, &'static str),
        along: &'static str,
        turns: impl IntoIterator<Item = (usize, Vec<f64>)>,
    ) -> Self {
        let points = turns.into_iter().filter(|(_, turns)| !turns.is_empty());
        let series = Self {
            cost,
            unit,
            along,
            points: points.map(|(size, turns)| (size, median(turns))).collect(),
            grows: None,
        };
        let points = series.points.iter();
        let points: Vec<_> = points
            .map(|(size, cost)| format!("{size}: {cost:.1}"))
            .collect();
        eprintln!("{cost}, {unit}, by {along}: {}", points.join(", "));
        series
    }

    pub(crate) fn growing(self, why: &'static str) -> Self {
        Self {
            grows: Some(why),
            ..self
        }
    }

    pub(crate) fn at(&self, size: usize) -> Option<f64> {
        let (_, cost) = self.points.iter().find(|(at, _)| *at == size)?;
        Some(*cost)
    }

    /// Whether it grows faster than by what it costs at first for each size ten times as large.
    pub(crate) fn outgrows_logarithm(&self) -> bool {
        let sizes = self.points.first().zip(self.points.last());
        sizes.is_some_and(|((small, first), (large, last))| {
            let decades = (*large as f64 / *small as f64).log10();
            last / first > 1.0 + decades
        })
    }

    /// How often the first cost the last one is.
    pub(crate) fn growth(&self) -> Option<f64> {
        let ((_, first), (_, last)) = (self.points.first()?, self.points.last()?);
        Some(last / first)
    }
}
