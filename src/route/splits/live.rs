//! The routes at one moment.

use std::sync::Arc;

use crate::route::table::Routes;
use crate::route::{Route, Routing};

use super::Set;

/// The routes as they are in force.
#[derive(Debug)]
pub struct Live {
    /// What requests are matched against.
    pub table: Routes,
    pub(super) routing: Arc<Routing>,
    pub(super) set: Set,
}

/// One route as it is in force.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// The route, with the split in force.
    pub route: &'a Route,
    /// Whether that is not the one in the file.
    pub overridden: bool,
}

impl Live {
    pub(super) fn new(routing: Arc<Routing>, set: Set) -> Self {
        let mut effective = (*routing).clone();
        for route in &mut effective.routes {
            let over = route.name.as_ref().and_then(|name| set.get(name));
            if let Some(over) = over {
                route.destinations.clone_from(&over.split);
            }
        }
        Self {
            table: Routes::new(effective),
            routing,
            set,
        }
    }

    /// The configured routes in their order.
    pub fn shown(&self) -> impl Iterator<Item = Shown<'_>> {
        self.table.configured().iter().map(|route| Shown {
            route,
            overridden: (route.name.as_ref()).is_some_and(|name| self.set.contains_key(name)),
        })
    }

    /// The route called `name`.
    pub fn named(&self, name: &str) -> Option<Shown<'_>> {
        self.shown()
            .find(|shown| shown.route.name.as_deref() == Some(name))
    }
}
