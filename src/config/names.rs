//! Names in `acme` of `tls`: who may have certificates from the server in `proxy.acme`.

use super::Proxy;
use super::raw;
use super::report::{Path, Report};
use super::shape::Several;
use super::variants;
use crate::address::Address;
use crate::proxy::listener::{Listener, Protocol};

/// Where an ACME server connects to (RFC 8737, section 3; RFC 8555, section 8.3).
const TLS_PORT: u16 = 443;
const PLAIN_PORT: u16 = 80;

/// Checks that the names of `proxy.listen` have a server, and that it finds the way.
pub(super) fn check(raw: &raw::Proxy, proxy: &Proxy, report: &mut Report) {
    let Some(Several(listeners)) = &raw.listen else {
        return;
    };
    let plane = Path::default().key("proxy");
    let mut first = None;
    for (position, variants::Listener(raw)) in listeners.iter().enumerate() {
        let tls = raw.tls.as_ref().filter(|tls| !tls.0.acme.0.is_empty());
        if tls.is_some() {
            let path = plane.key("listen").item(position).key("tls").key("acme");
            first.get_or_insert(path);
        }
    }
    let Some(first) = first else {
        return;
    };
    if raw.acme.is_none() && report.whole(&plane.key("acme")) {
        let message = "has names and proxy.acme says nothing of where to have certificates from \
                       (expected for example proxy: {acme: {terms_agreed: on}})";
        report.error(&first, message);
    } else if !proxy.listen.iter().any(is_reached) {
        let message = format!(
            "an ACME server connects to port {TLS_PORT} for TLS or {PLAIN_PORT} for HTTP, and no \
             listener is on it (expected something in front that passes it on)"
        );
        report.warning(&first, message);
    }
}

fn is_reached(listener: &Listener) -> bool {
    let port = match &listener.tls {
        Some(tls) if !tls.settings().acme.is_empty() => TLS_PORT,
        None if listener.protocol == Protocol::Http => PLAIN_PORT,
        _ => return false,
    };
    matches!(&listener.address, Address::Inet(address) if address.port() == port)
}

/// Checks that `registry.tls` at `path` has none: an ACME server finds listeners of `proxy` only.
pub(super) fn are_absent(tls: &raw::ServerTls, path: &Path, report: &mut Report) -> bool {
    let absent = tls.acme.0.is_empty();
    if !absent {
        let message =
            "is for listeners of proxy, where an ACME server looks (expected cert and key)";
        report.error(&path.key("acme"), message);
    }
    absent
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    fn lines(text: &str) -> (Vec<String>, Vec<String>) {
        let show = |all: &[_]| all.iter().map(ToString::to_string).collect();
        match Config::parse("f", text) {
            Ok(loaded) => (Vec::new(), show(&loaded.warnings)),
            Err(errors) => (show(&errors), Vec::new()),
        }
    }

    const ACME: &str = "acme: {terms_agreed: on}";

    #[test]
    fn names_need_a_server_and_a_way_for_it() {
        let listen = |address: &str| {
            format!("listen: [{{address: \"{address}\", tls: {{acme: [a.example]}}}}]")
        };
        let (errors, _) = lines(&format!("proxy: {{{}}}", listen("0.0.0.0:443")));
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(
            errors[0].contains("proxy.listen[0].tls.acme: has names"),
            "{errors:?}"
        );
        let with = |listen: String| lines(&format!("proxy: {{{listen}, {ACME}}}"));
        assert_eq!(with(listen("0.0.0.0:443")), (vec![], vec![]));
        let (errors, warnings) = with(listen("0.0.0.0:8443"));
        assert_eq!(errors, [""; 0]);
        assert!(warnings[0].contains("no listener is on it"), "{warnings:?}");
        let plain = listen("0.0.0.0:8443").replace("[{", "[\"0.0.0.0:80\", {");
        assert_eq!(with(plain), (vec![], vec![]));
    }

    #[test]
    fn names_that_no_server_can_see_are_refused() {
        for (name, why) in [
            ("\"*.example.com\"", "dns-01"),
            ("10.0.0.1", "is no such name"),
            ("a_b.example", "is no such name"),
            ("\"\"", "is no such name"),
        ] {
            let (errors, _) = lines(&format!(
                "proxy: {{listen: [{{address: 0.0.0.0:443, tls: {{acme: [{name}]}}}}], {ACME}}}"
            ));
            assert!(
                errors.iter().any(|error| error.contains(why)),
                "{name}: {errors:?}"
            );
        }
    }

    #[test]
    fn the_control_plane_has_none() {
        let (errors, _) = lines(&format!(
            "registry: {{tls: {{acme: [a.example]}}}}\nproxy: {{{ACME}}}"
        ));
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(
            errors[0].contains("registry.tls.acme: is for listeners"),
            "{errors:?}"
        );
    }

    #[test]
    fn issuers_are_read_along_with_the_rest() {
        let (errors, _) = lines("proxy: {acme: {terms_agreed: on, ca: /nowhere}}");
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(
            errors[0].contains("proxy.acme.ca: \"/nowhere\" cannot be read"),
            "{errors:?}"
        );
    }
}
