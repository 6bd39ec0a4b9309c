//! Who exports the spans: the
//! [resource](https://opentelemetry.io/docs/specs/semconv/resource/) that all of them belong to.

use std::sync::OnceLock;

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;

/// callboard, called `name`, with whatever `OTEL_RESOURCE_ATTRIBUTES` adds.
pub(super) fn of(name: &str) -> Resource {
    Resource::builder()
        .with_service_name(name.to_owned())
        .with_attributes([
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", instance().to_owned()),
            KeyValue::new("host.name", host()),
        ])
        .build()
}

/// A name that no other process has: a UUID of version 4 (RFC 9562).
fn instance() -> &'static str {
    static ID: OnceLock<String> = OnceLock::new();
    ID.get_or_init(|| {
        let random = fastrand::u128(..) & !(0xf << 76) & !(0x3 << 62) | (4 << 76) | (2 << 62);
        let digits = format!("{random:032x}");
        let (a, b, c, d, e) = (
            &digits[..8],
            &digits[8..12],
            &digits[12..16],
            &digits[16..20],
            &digits[20..],
        );
        format!("{a}-{b}-{c}-{d}-{e}")
    })
}

fn host() -> String {
    let names = rustix::system::uname();
    names.nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_has_a_name_of_its_own_that_stays() {
        let id = instance();
        assert_eq!((id.len(), instance()), (36, id));
        assert_eq!(id.as_bytes()[14], b'4', "{id}");
        assert!(b"89ab".contains(&id.as_bytes()[19]), "{id}");
    }
}
