//! Replies that several calls give, as types to name in `#[utoipa::path(responses(…))]`.
//!
//! The problems of a call are listed by [`Kind`], which knows their statuses, so that a problem
//! that moves to another status moves in the description too. A new group is one line of
//! `problems!`.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use utoipa::openapi::link::{Link, LinkBuilder};
use utoipa::openapi::{
    ArrayBuilder, Content, Header, HeaderBuilder, KnownFormat, ObjectBuilder, Ref, RefOr, Response,
    ResponseBuilder, Schema, SchemaFormat, Type,
};
use utoipa::{IntoResponses, PartialSchema, ToSchema};

use crate::api::problem::{Kind, Problem};
use crate::registry::snapshot::Revision;

type Replies = BTreeMap<String, RefOr<Response>>;

/// One `T`, in its current version; or that the caller has it already.
pub struct Shown<T>(PhantomData<T>);

/// A list of `T`, in its current version; or that the caller has it already.
pub struct Listed<T>(PhantomData<T>);

/// A `T` that was registered.
pub struct Registered<T>(PhantomData<T>);

/// A `T` after it was changed.
pub struct Patched<T>(PhantomData<T>);

/// Declares groups of problems.
macro_rules! problems {
    ($($(#[$doc:meta])* $name:ident: $($kind:ident)*;)*) => {$(
        $(#[$doc])*
        pub struct $name;

        impl IntoResponses for $name {
            fn responses() -> Replies {
                problems(&[$(Kind::$kind),*])
            }
        }
    )*};
}

problems! {
    /// Of a call that needs no token and reads nothing but its parameters.
    Open: InvalidFields;
    /// Of a call that looks at a list.
    ListProblems: Unauthenticated InvalidToken InsufficientScope CrossOrigin InvalidFields
        RateLimited;
    /// Of a call that follows figures.
    LiveProblems: Unauthenticated InvalidToken InsufficientScope CrossOrigin InvalidFields
        RateLimited LimitReached;
    /// Of a call that looks at one service.
    ServiceProblems: Unauthenticated InvalidToken InsufficientScope CrossOrigin NoSuchRoute
        UnknownService InvalidFields RateLimited;
    /// Of a call that looks at the instances of a service, now or then.
    InstancesProblems: Unauthenticated InvalidToken InsufficientScope CrossOrigin NoSuchRoute
        Forgotten InvalidFields RateLimited Unavailable;
    /// Of a call that looks at the journal.
    JournalProblems: Unauthenticated InvalidToken InsufficientScope CrossOrigin InvalidFields
        RateLimited Unavailable;
    /// Of a call that looks at one instance.
    InstanceProblems: Unauthenticated InvalidToken InsufficientScope CrossOrigin NoSuchRoute
        UnknownInstance InvalidFields RateLimited;
    /// Of a registration.
    RegistrationProblems: MalformedJson BrokenBody SlowBody Unauthenticated InvalidToken
        InsufficientScope CrossOrigin NotOwner NoSuchRoute UnknownInstance Fenced ReadOnly TooLarge
        InvalidFields RateLimited LimitReached Unavailable StorageFull;
    /// Of a patch.
    PatchProblems: MalformedJson BrokenBody SlowBody Unauthenticated InvalidToken InsufficientScope
        CrossOrigin NotOwner NoSuchRoute UnknownInstance ReadOnly Stale TooLarge InvalidFields
        RateLimited Unavailable StorageFull;
    /// Of a heartbeat.
    LeaseProblems: MalformedJson BrokenBody SlowBody Unauthenticated InvalidToken InsufficientScope
        CrossOrigin NotOwner NoSuchRoute UnknownInstance Fenced ReadOnly TooLarge InvalidFields
        RateLimited;
    /// Of a call that starts or ends a drain.
    DrainProblems: Unauthenticated InvalidToken InsufficientScope CrossOrigin NotOwner NoSuchRoute
        UnknownInstance Fenced ReadOnly InvalidFields RateLimited Unavailable StorageFull;
    /// Of a sign-out.
    LeavingProblems: Unauthenticated InvalidToken InsufficientScope CrossOrigin NotOwner NoSuchRoute
        UnknownInstance Fenced DrainEnded ReadOnly InvalidFields RateLimited Unavailable
        StorageFull;
    /// Of a call that looks at one route.
    RouteProblems: Unauthenticated InvalidToken InsufficientScope CrossOrigin NoSuchRoute
        UnknownRoute InvalidFields RateLimited;
    /// Of a call that looks at one request's explanation.
    ExplainProblems: Unauthenticated InvalidToken InsufficientScope CrossOrigin NoSuchRoute
        UnknownRequest InvalidFields RateLimited;
    /// Of a call that changes a route's split.
    SplitProblems: MalformedJson BrokenBody SlowBody Unauthenticated InvalidToken InsufficientScope
        CrossOrigin NoSuchRoute UnknownRoute Stale TooLarge InvalidFields RateLimited Unavailable
        StorageFull;
    /// Of a call that asks for a plan.
    PlanProblems: BrokenBody SlowBody Unauthenticated InvalidToken InsufficientScope CrossOrigin
        TooLarge InvalidFields RateLimited Unavailable;
    /// Of a call about many instances; what is wrong with one of them is in its item.
    BulkProblems: MalformedJson BrokenBody SlowBody Unauthenticated InvalidToken InsufficientScope
        CrossOrigin ReadOnly TooLarge InvalidFields RateLimited;
}

impl<T: ToSchema> IntoResponses for Shown<T> {
    fn responses() -> Replies {
        versions(reference::<T>())
    }
}

impl<T: ToSchema> IntoResponses for Listed<T> {
    fn responses() -> Replies {
        versions(ArrayBuilder::new().items(reference::<T>()))
    }
}

impl<T: ToSchema> IntoResponses for Registered<T> {
    fn responses() -> Replies {
        let reply = |description: &str| {
            versioned(description)
                .content("application/json", Content::new(Some(reference::<T>())))
                .link("show", about("showInstance"))
                .link("patch", about("patchInstance"))
                .link("renew", about("renewLease"))
                .link("startDrain", about("startDrain"))
                .link("stopDrain", about("stopDrain"))
                .link("deregister", about("deregisterInstance"))
        };
        [
            ("200", "It replaced what was registered before"),
            ("201", "It is new"),
            (
                "202",
                "It is registered and gets no traffic yet: `reason` says why",
            ),
        ]
        .map(|(status, description)| (status.to_owned(), reply(description).into()))
        .into()
    }
}

impl<T: ToSchema> IntoResponses for Patched<T> {
    fn responses() -> Replies {
        let body = Content::new(Some(reference::<T>()));
        let reply = versioned("It is changed").content("application/json", body);
        [("200".to_owned(), reply.into())].into()
    }
}

/// What a list or an instance may be answered with.
fn versions(body: impl Into<RefOr<Schema>>) -> Replies {
    let shown =
        versioned("As it is now").content("application/json", Content::new(Some(body.into())));
    let seen = versioned("The caller has seen this version already");
    BTreeMap::from([
        ("200".to_owned(), shown.into()),
        ("304".to_owned(), seen.into()),
    ])
}

fn versioned(description: &str) -> ResponseBuilder {
    let tag = ObjectBuilder::new().schema_type(Type::String).build();
    ResponseBuilder::new()
        .description(description)
        .header("ETag", header(tag, "The version of what is shown."))
        .header(
            "Callboard-Index",
            header(Revision::schema(), "The index of what is shown."),
        )
}

/// The same instance in another call.
fn about(operation: &str) -> Link {
    LinkBuilder::new()
        .operation_id(operation)
        .parameter("service", "$request.path.service")
        .parameter("id", "$request.path.id")
        .build()
}

/// The replies with these kinds of problem, one for each status among them.
fn problems(kinds: &[Kind]) -> Replies {
    let mut statuses = BTreeMap::<u16, Vec<Kind>>::new();
    for &kind in kinds {
        statuses.entry(kind.status()).or_default().push(kind);
    }
    statuses
        .into_iter()
        .map(|(status, kinds)| (status.to_string(), problem(&kinds).into()))
        .collect()
}

fn problem(kinds: &[Kind]) -> ResponseBuilder {
    let lines: Vec<_> = kinds
        .iter()
        .map(|kind| format!("- `{}`: {}", kind.urn(), kind.title()))
        .collect();
    let content = Content::new(Some(reference::<Problem>()));
    let mut response = ResponseBuilder::new()
        .description(lines.join("\n"))
        .content("application/problem+json", content);
    if kinds.iter().any(|kind| kind.passes()) {
        let seconds = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
            .minimum(Some(0))
            .build();
        let waits = header(seconds, "How many seconds to wait before trying again.");
        response = response.header("Retry-After", waits);
    }
    if kinds.contains(&Kind::Unauthenticated) {
        let scheme = ObjectBuilder::new().schema_type(Type::String).build();
        let challenge = header(scheme, "The scheme to authenticate with: `Bearer`.");
        response = response.header("WWW-Authenticate", challenge);
    }
    response
}

fn header(schema: impl Into<RefOr<Schema>>, description: &str) -> Header {
    HeaderBuilder::new()
        .schema(Some(schema))
        .description(Some(description))
        .build()
}

fn reference<T: ToSchema>() -> Ref {
    Ref::from_schema_name(T::name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_of_one_status_share_its_reply_and_all_are_listed() {
        let replies = problems(&[Kind::Fenced, Kind::DrainEnded, Kind::Unavailable]);
        let json = serde_json::to_value(&replies).unwrap();
        assert_eq!(replies.keys().collect::<Vec<_>>(), ["409", "503"]);
        let conflicts = json["409"]["description"].as_str().unwrap();
        for kind in [Kind::Fenced, Kind::DrainEnded] {
            assert!(conflicts.contains(kind.urn()), "{conflicts}");
            assert!(conflicts.contains(kind.title()), "{conflicts}");
        }
        assert!(json["409"]["headers"]["Retry-After"].is_null());
        assert!(json["503"]["headers"]["Retry-After"].is_object());
    }

    #[test]
    fn a_call_that_may_need_a_token_says_how_to_bring_it() {
        let json = serde_json::to_value(ListProblems::responses()).unwrap();
        assert!(json["401"]["headers"]["WWW-Authenticate"].is_object());
    }
}
