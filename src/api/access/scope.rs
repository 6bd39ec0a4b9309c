//! What a token is good for.

use std::str::FromStr;

use crate::names::ServiceName;

/// One thing a token's bearer may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    Admin,
    /// Every GET.
    Read,
    /// Register instances of one service, and change those it registered.
    Service(ServiceName),
    /// The same for every service whose name starts like this, in lower case.
    Services(String),
}

impl Scope {
    /// Whether it lets a bearer register instances of `service`.
    pub(super) fn covers(&self, service: &ServiceName) -> bool {
        match self {
            Self::Admin => true,
            Self::Read => false,
            Self::Service(name) => name == service,
            Self::Services(prefix) => service.as_str().starts_with(prefix),
        }
    }

    /// Whether it lets a bearer register anything.
    pub(super) fn writes(&self) -> bool {
        !matches!(self, Self::Read)
    }
}

/// A text is no scope. What it was is not repeated: it may be a secret in the wrong place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no scope")]
pub struct NoScope;

impl FromStr for Scope {
    type Err = NoScope;

    fn from_str(text: &str) -> Result<Self, NoScope> {
        let name = |text: &str| text.parse::<ServiceName>().map_err(|_| NoScope);
        match (text, text.strip_prefix("register:")) {
            ("admin", _) => Ok(Self::Admin),
            ("read", _) => Ok(Self::Read),
            (_, Some("*")) => Ok(Self::Services(String::new())),
            (_, Some(pattern)) => match pattern.strip_suffix('*') {
                Some(prefix) => Ok(Self::Services(name(prefix)?.as_str().to_owned())),
                None => Ok(Self::Service(name(pattern)?)),
            },
            (_, None) => Err(NoScope),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_cover_the_services_they_name() {
        for (scope, service, covered) in [
            ("admin", "orders", true),
            ("read", "orders", false),
            ("register:orders", "orders", true),
            ("register:Orders", "orders", true),
            ("register:orders", "ORDERS", true),
            ("register:orders", "orders-eu", false),
            ("register:orders", "order", false),
            ("register:orders-*", "orders-eu", true),
            ("register:Orders-*", "orders-eu", true),
            ("register:orders-*", "orders-", true),
            ("register:orders-*", "orders", false),
            ("register:orders-*", "my-orders-eu", false),
            ("register:*", "anything", true),
        ] {
            let parsed: Scope = scope.parse().unwrap();
            assert_eq!(
                parsed.covers(&service.parse().unwrap()),
                covered,
                "{scope} of {service}"
            );
        }
    }

    #[test]
    fn what_is_no_scope_is_refused() {
        for text in [
            "",
            "*",
            "Admin",
            "write",
            "register",
            "register:",
            "register:a b",
            "register:*a",
            "register:a*b*",
            "register:a**",
            "read,admin",
        ] {
            assert_eq!(text.parse::<Scope>(), Err(NoScope), "{text}");
        }
    }
}
