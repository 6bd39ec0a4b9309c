//! What kinds of problem there are. Programs go by them.

use axum::http::StatusCode;
use serde::{Serialize, Serializer};

/// The kinds of problem. Each has a stable URN, a title and a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The body is not JSON.
    MalformedJson,
    /// The body broke off.
    BrokenBody,
    /// The body took too long to arrive.
    SlowBody,
    /// A web page of another origin made a browser send the request.
    CrossOrigin,
    /// There is nothing at this path.
    NoSuchRoute,
    /// Nobody has registered for the service.
    UnknownService,
    /// The service has no such instance.
    UnknownInstance,
    /// The configuration names no such route.
    UnknownRoute,
    /// No explanation of this request is kept.
    UnknownRequest,
    /// The path is right and the method is not.
    MethodNotAllowed,
    /// The call comes from an earlier life of the instance.
    Fenced,
    /// The instance came back while the caller waited for it to drain.
    DrainEnded,
    /// This callboard mirrors another registry, which is the one to change.
    ReadOnly,
    /// What is to be changed has changed since the caller saw it.
    Stale,
    /// The journal does not reach back to the moment asked for.
    Forgotten,
    /// The body is longer than allowed.
    TooLarge,
    /// Fields of the request have the wrong type or break a limit.
    InvalidFields,
    /// The call shows no token.
    Unauthenticated,
    /// The token it shows is malformed or not known.
    InvalidToken,
    /// The token's scopes do not reach that far.
    InsufficientScope,
    /// The instance was registered with another token.
    NotOwner,
    /// The caller calls too often.
    RateLimited,
    /// There are as many instances or services as there may be.
    LimitReached,
    /// The change cannot be made now; later it may.
    Unavailable,
    /// There is no room to store the change.
    StorageFull,
}

impl Kind {
    /// The HTTP status it is answered with.
    pub fn status(self) -> u16 {
        self.parts().0.as_u16()
    }

    /// Its stable name.
    pub fn urn(self) -> &'static str {
        self.parts().1
    }

    /// What it says of every such problem.
    pub fn title(self) -> &'static str {
        self.parts().2
    }

    /// Whether the same call may well succeed a moment later, so that the answer says when.
    pub fn passes(self) -> bool {
        self == Self::RateLimited || self.retry_after().is_some()
    }

    pub(super) fn parts(self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::MalformedJson => (
                S::BAD_REQUEST,
                "urn:callboard:problem:malformed-json",
                "The body is not JSON",
            ),
            Self::BrokenBody => (
                S::BAD_REQUEST,
                "urn:callboard:problem:broken-body",
                "The body broke off",
            ),
            Self::SlowBody => (
                S::REQUEST_TIMEOUT,
                "urn:callboard:problem:slow-body",
                "The body took too long",
            ),
            Self::CrossOrigin => (
                S::FORBIDDEN,
                "urn:callboard:problem:cross-origin",
                "Another site's page may not use the registry",
            ),
            Self::NoSuchRoute => (
                S::NOT_FOUND,
                "urn:callboard:problem:no-such-route",
                "There is nothing here",
            ),
            Self::UnknownService => (
                S::NOT_FOUND,
                "urn:callboard:problem:unknown-service",
                "The service is not registered",
            ),
            Self::UnknownInstance => (
                S::NOT_FOUND,
                "urn:callboard:problem:unknown-instance",
                "The instance is not registered",
            ),
            Self::UnknownRoute => (
                S::NOT_FOUND,
                "urn:callboard:problem:unknown-route",
                "No route has this name",
            ),
            Self::UnknownRequest => (
                S::NOT_FOUND,
                "urn:callboard:problem:unknown-request",
                "No explanation of the request is kept",
            ),
            Self::MethodNotAllowed => (
                S::METHOD_NOT_ALLOWED,
                "urn:callboard:problem:method-not-allowed",
                "The method is not allowed here",
            ),
            Self::Fenced => (
                S::CONFLICT,
                "urn:callboard:problem:fenced",
                "A later generation of the instance is registered",
            ),
            Self::DrainEnded => (
                S::CONFLICT,
                "urn:callboard:problem:drain-ended",
                "The instance came back while it drained",
            ),
            Self::ReadOnly => (
                S::CONFLICT,
                "urn:callboard:problem:read-only",
                "This callboard only mirrors another registry",
            ),
            Self::Stale => (
                S::PRECONDITION_FAILED,
                "urn:callboard:problem:stale",
                "It has changed meanwhile",
            ),
            Self::Forgotten => (
                S::GONE,
                "urn:callboard:problem:forgotten",
                "The journal does not reach back that far",
            ),
            Self::TooLarge => (
                S::PAYLOAD_TOO_LARGE,
                "urn:callboard:problem:too-large",
                "The body is too large",
            ),
            Self::InvalidFields => (
                S::UNPROCESSABLE_ENTITY,
                "urn:callboard:problem:invalid-fields",
                "The request breaks the rules",
            ),
            Self::Unavailable => (
                S::SERVICE_UNAVAILABLE,
                "urn:callboard:problem:unavailable",
                "The registry cannot do this now",
            ),
            Self::Unauthenticated => (
                S::UNAUTHORIZED,
                "urn:callboard:problem:unauthenticated",
                "The call needs a token",
            ),
            Self::InvalidToken => (
                S::UNAUTHORIZED,
                "urn:callboard:problem:invalid-token",
                "The token is not valid",
            ),
            Self::InsufficientScope => (
                S::FORBIDDEN,
                "urn:callboard:problem:insufficient-scope",
                "The token is not good for this",
            ),
            Self::RateLimited => (
                S::TOO_MANY_REQUESTS,
                "urn:callboard:problem:rate-limited",
                "Too many requests",
            ),
            Self::LimitReached => (
                S::TOO_MANY_REQUESTS,
                "urn:callboard:problem:limit-reached",
                "There is no place for one more",
            ),
            Self::NotOwner => (
                S::FORBIDDEN,
                "urn:callboard:problem:not-owner",
                "The instance belongs to another token",
            ),
            Self::StorageFull => (
                S::INSUFFICIENT_STORAGE,
                "urn:callboard:problem:storage-full",
                "The registry has no room left",
            ),
        }
    }

    /// What is asked of a caller that may not do this (RFC 6750, 3).
    pub(super) fn challenge(self) -> Option<&'static str> {
        match self {
            Self::Unauthenticated => Some(r#"Bearer realm="callboard""#),
            Self::InvalidToken => Some(r#"Bearer realm="callboard", error="invalid_token""#),
            Self::InsufficientScope => {
                Some(r#"Bearer realm="callboard", error="insufficient_scope""#)
            }
            _ => None,
        }
    }

    /// When to try again, in seconds, if nothing more precise is known.
    pub(super) fn retry_after(self) -> Option<u64> {
        match self {
            Self::Unavailable | Self::StorageFull => Some(1),
            Self::LimitReached => Some(10),
            _ => None,
        }
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.urn())
    }
}
