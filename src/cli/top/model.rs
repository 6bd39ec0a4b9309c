//! What is shown: told by the registry, steered by keys.

use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};

use super::feed::Told;
use super::figures::{Event, Figures, Row, Total};
use super::instances::{Inside, Instance};

/// The most seconds of the past.
const PAST: usize = 240;

/// What is shown.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) at: String,
    pub(super) total: Total,
    pub(super) past: VecDeque<Figures>,
    pub(super) services: BTreeMap<String, Row>,
    /// Why nothing comes.
    pub(super) lost: Option<String>,
    pub(super) view: View,
    pub(super) filter: String,
    pub(super) sort: Sort,
    pub(super) reversed: bool,
    /// The service the mark is on. It stays on it wherever that goes.
    pub(super) selected: Option<String>,
    pub(super) inside: Inside,
}

/// What is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum View {
    #[default]
    Services,
    /// Of one service its instances.
    Inside,
    /// The services, while a filter is typed.
    Filter,
    Help,
}

/// What comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sort {
    #[default]
    Rate,
    Errors,
    P99,
    InFlight,
    Instances,
    Name,
}

impl Sort {
    pub(super) fn next(self) -> Self {
        match self {
            Self::Rate => Self::Errors,
            Self::Errors => Self::P99,
            Self::P99 => Self::InFlight,
            Self::InFlight => Self::Instances,
            Self::Instances => Self::Name,
            Self::Name => Self::Rate,
        }
    }

    /// The heading of its column.
    pub(super) fn heading(self) -> &'static str {
        match self {
            Self::Rate => "RATE",
            Self::Errors => "ERRORS",
            Self::P99 => "P99",
            Self::InFlight => "FLYING",
            Self::Instances => "INST",
            Self::Name => "SERVICE",
        }
    }

    fn compare(self, a: &Row, b: &Row) -> Ordering {
        let (one, other) = (&a.figures, &b.figures);
        let largest_first = match self {
            Self::Rate => other.rate.total_cmp(&one.rate),
            Self::Errors => other.errors.total_cmp(&one.errors),
            Self::P99 => other
                .p99
                .unwrap_or(-1.0)
                .total_cmp(&one.p99.unwrap_or(-1.0)),
            Self::InFlight => other.in_flight.cmp(&one.in_flight),
            Self::Instances => b.instances.cmp(&a.instances),
            Self::Name => Ordering::Equal,
        };
        largest_first.then_with(|| a.service.cmp(&b.service))
    }
}

impl Model {
    /// Takes in what was told.
    pub(super) fn hear(&mut self, told: Told) {
        match told {
            Told::Figures(event) => self.take(*event),
            Told::Lost(why) => self.lost = Some(why),
            Told::Instances(service, told) if service == self.inside.service => match told {
                Ok(instances) => self.inside.renew(instances),
                Err(why) => self.inside.problem = Some(why),
            },
            Told::Instances(..) => {}
        }
    }

    fn take(&mut self, event: Event) {
        self.lost = None;
        self.at = event.at;
        self.total = event.total;
        if event.complete {
            self.services.clear();
            if !event.history.is_empty() {
                self.past = event.history.into();
            }
        } else {
            self.past.push_back(self.total.figures.clone());
        }
        while self.past.len() > PAST {
            self.past.pop_front();
        }
        for service in &event.removed {
            self.services.remove(service);
        }
        let rows = event.services.into_iter();
        self.services
            .extend(rows.map(|row| (row.service.clone(), row)));
    }

    /// The services that pass the filter, in order.
    pub(super) fn rows(&self) -> Vec<&Row> {
        let wanted = self.filter.to_lowercase();
        let passes = |row: &&Row| row.service.to_lowercase().contains(&wanted);
        let mut rows: Vec<_> = self.services.values().filter(passes).collect();
        rows.sort_by(|a, b| self.sort.compare(a, b));
        if self.reversed {
            rows.reverse();
        }
        rows
    }

    /// Where the mark is among `rows`.
    pub(super) fn mark(&self, rows: &[&Row]) -> Option<usize> {
        let selected = self.selected.as_ref();
        let found = selected.and_then(|name| rows.iter().position(|row| row.service == *name));
        found.or((!rows.is_empty()).then_some(0))
    }

    /// Moves the mark.
    pub(super) fn go(&mut self, by: isize) {
        let moved = |from: usize, count: usize| {
            let last = count.saturating_sub(1);
            from.saturating_add_signed(by).min(last)
        };
        if self.view == View::Inside {
            let inside = &mut self.inside;
            inside.selected = moved(inside.selected, inside.instances.len());
            return;
        }
        let rows = self.rows();
        let to = self.mark(&rows).map(|from| moved(from, rows.len()));
        self.selected = to.and_then(|to| Some(rows.get(to)?.service.clone()));
    }

    /// Looks into the service the mark is on.
    pub(super) fn enter(&mut self) {
        let rows = self.rows();
        let Some(row) = self.mark(&rows).and_then(|at| rows.get(at)) else {
            return;
        };
        let service = row.service.clone();
        self.selected = Some(service.clone());
        self.inside = Inside {
            service,
            ..Inside::default()
        };
        self.view = View::Inside;
    }

    /// Goes back to the services.
    pub(super) fn leave(&mut self) {
        self.inside = Inside::default();
        self.view = View::Services;
    }

    /// The service whose instances are shown.
    pub(super) fn wanted(&self) -> Option<String> {
        let service = &self.inside.service;
        (!service.is_empty()).then(|| service.clone())
    }
}

impl Inside {
    fn renew(&mut self, instances: Vec<Instance>) {
        self.problem = None;
        self.selected = self.selected.min(instances.len().saturating_sub(1));
        self.instances = instances;
    }
}

#[cfg(test)]
mod tests {
    use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

    use super::*;

    fn event(complete: bool, rows: &[(&str, f64)], removed: &[&str]) -> Told {
        let services = rows.iter().map(|(service, rate)| Row {
            service: (*service).to_owned(),
            figures: Figures {
                rate: *rate,
                ..Figures::default()
            },
            ..Row::default()
        });
        Told::Figures(Box::new(Event {
            complete,
            services: services.collect(),
            removed: removed.iter().map(|name| (*name).to_owned()).collect(),
            ..Event::default()
        }))
    }

    fn press(model: &mut Model, code: KeyCode) -> bool {
        model.press(KeyEvent::new(code, KeyModifiers::NONE))
    }

    fn shown(model: &Model) -> Vec<&str> {
        model
            .rows()
            .iter()
            .map(|row| row.service.as_str())
            .collect()
    }

    #[test]
    fn services_come_change_and_go_and_a_complete_event_begins_anew() {
        let mut model = Model::default();
        model.hear(event(true, &[("a", 1.0), ("b", 2.0)], &[]));
        assert_eq!(shown(&model), ["b", "a"]);
        model.hear(event(false, &[("a", 3.0), ("c", 0.0)], &["b"]));
        assert_eq!(shown(&model), ["a", "c"]);
        model.hear(event(true, &[("d", 1.0)], &[]));
        assert_eq!(shown(&model), ["d"]);
    }

    #[test]
    fn a_loss_is_told_until_something_comes() {
        let mut model = Model::default();
        model.hear(Told::Lost("refused".to_owned()));
        assert_eq!(model.lost.as_deref(), Some("refused"));
        model.hear(event(true, &[], &[]));
        assert_eq!(model.lost, None);
    }

    #[test]
    fn the_mark_stays_on_its_service() {
        let mut model = Model::default();
        model.hear(event(true, &[("a", 3.0), ("b", 2.0), ("c", 1.0)], &[]));
        press(&mut model, KeyCode::Down);
        assert_eq!(model.selected.as_deref(), Some("b"));
        model.hear(event(false, &[("b", 9.0)], &[]));
        assert_eq!(model.mark(&model.rows()), Some(0));
        press(&mut model, KeyCode::End);
        assert_eq!(model.selected.as_deref(), Some("c"));
        press(&mut model, KeyCode::Enter);
        assert_eq!(
            (model.view, model.wanted().as_deref()),
            (View::Inside, Some("c"))
        );
        press(&mut model, KeyCode::Esc);
        assert_eq!((model.view, model.wanted()), (View::Services, None));
    }

    #[test]
    fn a_filter_is_typed_kept_and_dropped() {
        let mut model = Model::default();
        model.hear(event(true, &[("orders", 1.0), ("queue", 2.0)], &[]));
        press(&mut model, KeyCode::Char('/'));
        for c in "QUE".chars() {
            assert!(!press(&mut model, KeyCode::Char(c)));
        }
        assert_eq!(shown(&model), ["queue"]);
        press(&mut model, KeyCode::Enter);
        assert!(press(&mut model, KeyCode::Char('q')));
        press(&mut model, KeyCode::Esc);
        assert_eq!(shown(&model).len(), 2);
    }

    #[test]
    fn whatever_is_pressed_on_an_empty_table_is_harmless() {
        let mut model = Model::default();
        for code in [
            KeyCode::Up,
            KeyCode::Down,
            KeyCode::Home,
            KeyCode::End,
            KeyCode::PageUp,
            KeyCode::Enter,
            KeyCode::Char('s'),
            KeyCode::Char('r'),
            KeyCode::Char('?'),
            KeyCode::Esc,
        ] {
            assert!(!press(&mut model, code), "{code:?}");
        }
        assert_eq!(model.view, View::Services);
    }

    #[test]
    fn the_past_is_bounded() {
        let mut model = Model::default();
        for _ in 0..1_000 {
            model.hear(event(false, &[], &[]));
        }
        assert_eq!(model.past.len(), PAST);
    }
}
