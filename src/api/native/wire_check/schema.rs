//! The schema of a check. It is `"off"`, or fields of which `tcp`, `http` and `grpc` exclude each other.

use std::borrow::Cow;

use utoipa::openapi::schema::{AdditionalProperties, AnyOfBuilder, SchemaType};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::api::openapi::schemas;
use crate::units::DurationText;

use super::{CheckJson, GrpcFields, HttpFields, Statuses, TcpFields};

impl PartialSchema for CheckJson {
    fn schema() -> RefOr<Schema> {
        // YAML reads a bare `off` as false, and what was YAML once may come as JSON.
        let off = ObjectBuilder::new()
            .schema_type(SchemaType::Array(vec![Type::String, Type::Boolean]))
            .enum_values(Some([serde_json::json!("off"), serde_json::json!(false)]))
            .description(Some("No active checks."));
        AnyOfBuilder::new()
            .item(off)
            .item(asking(
                "tcp",
                TcpFields::schema(),
                "Does the port accept a connection?",
            ))
            .item(asking(
                "http",
                HttpFields::schema(),
                "Does a GET answer with an expected status?",
            ))
            .item(asking(
                "grpc",
                GrpcFields::schema(),
                "Does the standard health service say that it is serving?",
            ))
            .description(Some(
                "An active check. `interval` is the time between two probes (100ms to 1h), \
                 `timeout` the time one may take (10ms to 1m); after `fall` failures in a row an \
                 instance is unhealthy, after `rise` passes ready. What is left out is as the \
                 service's policy says.",
            ))
            .into()
    }
}

/// A check that asks `what`.
fn asking(what: &str, fields: RefOr<Schema>, description: &str) -> ObjectBuilder {
    let optional = |schema: RefOr<Schema>| {
        let nothing = ObjectBuilder::new().schema_type(Type::Null);
        AnyOfBuilder::new().item(nothing).item(schema)
    };
    let times = || optional(schemas::whole(1, 100).into());
    ObjectBuilder::new()
        .property(what, optional(fields))
        .property("interval", optional(DurationText::schema()))
        .property("timeout", optional(DurationText::schema()))
        .property("fall", times())
        .property("rise", times())
        .additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(false)))
        .description(Some(description))
}

impl ToSchema for CheckJson {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Check")
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        HttpFields::schemas(schemas);
    }
}

impl PartialSchema for Statuses {
    fn schema() -> RefOr<Schema> {
        let range = schemas::text(
            "^[1-5][0-9][0-9](-[1-5][0-9][0-9])?$",
            "The first and the last of a range.",
            "200-399",
        );
        let status = schemas::whole(100, 599);
        AnyOfBuilder::new().item(status).item(range).into()
    }
}

impl ToSchema for Statuses {}
