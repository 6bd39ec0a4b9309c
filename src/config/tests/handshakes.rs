//! Certificates and keys that a configuration names.

use std::fs;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use super::*;

/// A folder of files to name, and what is said of a listener's `tls` that does.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.issue("a", |_| {});
        folder.issue("b", |_| {});
        folder
    }

    fn issue(&self, file: &str, change: impl FnOnce(&mut CertificateParams)) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        change(&mut params);
        let certificate = params.self_signed(&key).unwrap();
        self.write(&format!("{file}.pem"), certificate.pem().as_bytes());
        self.write(&format!("{file}.key"), key.serialize_pem().as_bytes());
    }

    fn write(&self, file: &str, bytes: &[u8]) {
        fs::write(self.0.path().join(file), bytes).unwrap();
    }

    fn text(&self, settings: &str) -> String {
        let folder = self.0.path().display().to_string();
        let text = format!("proxy: {{listen: [{{address: 0.0.0.0:1, tls: {{{settings}}}}}]}}");
        text.replace("DIR", &folder)
    }

    /// What follows the place of the first finding's listener.
    fn said(&self, findings: &str) -> String {
        let folder = self.0.path().display().to_string();
        let said = findings.replace(&folder, "DIR");
        let (_, said) = said.split_once("proxy.listen[0].tls.").unwrap();
        said.to_owned()
    }

    fn refused(&self, settings: &str) -> String {
        self.said(&errors(&self.text(settings)))
    }
}

#[test]
fn a_fault_of_a_file_is_told_where_it_is_named() {
    let folder = Folder::new();
    folder.write("none", b"hello");
    folder.write("cut.pem", b"-----BEGIN CERTIFICATE-----\nMIIB");
    folder.write(
        "odd.pem",
        b"-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n",
    );
    for (settings, said) in [
        (
            "cert: DIR/a.pem, key: DIR/b.key",
            "key: \"DIR/b.key\" does not belong to the certificate",
        ),
        (
            "cert: DIR/a.pem, key: DIR/a.key, certificates: [{cert: DIR/b.pem, key: DIR/a.key}]",
            "certificates[0].key: \"DIR/a.key\" does not belong to the certificate",
        ),
        (
            "certificates: [{cert: DIR/a.pem, key: DIR/a.key}, {cert: DIR/none, key: DIR/a.key}]",
            "certificates[1].cert: \"DIR/none\" holds no certificate",
        ),
        (
            "cert: DIR/cut.pem, key: DIR/a.key",
            "cert: \"DIR/cut.pem\" is damaged",
        ),
        (
            "cert: DIR/odd.pem, key: DIR/a.key",
            "cert: \"DIR/odd.pem\" holds a certificate that is damaged",
        ),
        (
            "cert: DIR/a.pem, key: DIR/a.pem",
            "key: \"DIR/a.pem\" holds no private key",
        ),
        (
            "cert: DIR/a.pem, key: DIR/a.key, ocsp: DIR/none",
            "ocsp: \"DIR/none\" is no OCSP response",
        ),
        (
            "cert: DIR/a.pem, key: DIR/a.key, clients: {ca: DIR/none}",
            "clients.ca: \"DIR/none\" holds no certificate",
        ),
        (
            "cert: DIR/a.pem, key: DIR/a.key, clients: {ca: DIR/odd.pem}",
            "clients.ca: \"DIR/odd.pem\" holds a certificate that is damaged",
        ),
    ] {
        let found = folder.refused(settings);
        assert!(found.starts_with(said), "{settings}: {found}");
    }
}

#[test]
fn a_certificate_that_clients_do_not_accept_is_warned_of() {
    let folder = Folder::new();
    folder.issue("past", |params| {
        params.not_after = date_time_ymd(2001, 2, 3)
    });
    folder.issue("future", |params| {
        params.not_before = date_time_ymd(3001, 2, 3);
    });
    let warned = |file: &str| {
        let text = folder.text(&format!(
            "cert: DIR/a.pem, key: DIR/a.key, certificates: [{{cert: DIR/{file}.pem, key: DIR/{file}.key}}]"
        ));
        warnings(&text)
    };
    assert_eq!(warned("b"), "");
    insta::assert_snapshot!(
        ["past", "future"].map(|file| folder.said(&warned(file))).concat(),
        @r#"
    certificates[0].cert: "DIR/past.pem" expired at 2001-02-03T00:00:00Z (expected a newer certificate)
    certificates[0].cert: "DIR/future.pem" is valid from 3001-02-03T00:00:00Z on (expected an earlier one, or another clock)
    "#
    );
}

#[test]
fn a_listener_may_begin_without_a_certificate_if_an_acme_server_is_to_give_it_one() {
    let folder = Folder::new();
    let acme = "acme: {terms_agreed: on, contact: \"mailto:a@b.c\"}";
    let text = folder.text("acme: [a.test]");
    let loaded = Config::parse(
        "f",
        &text.replace("proxy: {", &format!("proxy: {{{acme}, ")),
    );
    let config = loaded.unwrap().config;
    let tls = config.proxy.listen[0].tls.as_ref().unwrap();
    assert_eq!(tls.settings().acme, ["a.test"]);
}

#[test]
fn what_tls_goes_by_may_change_and_whether_there_is_any_may_not() {
    let folder = Folder::new();
    let with = |settings: &str| config(&folder.text(settings));
    let old = with("cert: DIR/a.pem, key: DIR/a.key");
    for settings in [
        "cert: DIR/b.pem, key: DIR/b.key, min_version: 1.3",
        "cert: DIR/a.pem, key: DIR/a.key, clients: {ca: DIR/b.pem}",
    ] {
        assert!(old.restart_needed(&with(settings)).is_empty(), "{settings}");
    }
    let none = config("proxy: {listen: [{address: 0.0.0.0:1}]}");
    assert_eq!(old.restart_needed(&none), ["proxy.listen"]);
    let other = folder
        .text("cert: DIR/a.pem, key: DIR/a.key")
        .replace("0:1", "0:2");
    assert_eq!(old.restart_needed(&config(&other)), ["proxy.listen"]);
}

#[test]
fn a_client_is_a_name_a_uri_or_all_below_one() {
    let of = |pattern: &str| {
        let text = format!("routes: [{{match: {{client: \"{pattern}\"}}, service: a}}]");
        Config::parse("f", &text).map(|loaded| {
            let matches = &loaded.config.routing.routes[0].matches;
            matches.client.clone().unwrap()
        })
    };
    for (pattern, read) in [
        ("Ops.Internal", "ops.internal"),
        ("*.Internal", "*.internal"),
        ("spiffe://Mesh/*", "spiffe://Mesh/*"),
        ("spiffe://mesh/Ops", "spiffe://mesh/Ops"),
    ] {
        assert_eq!(of(pattern).unwrap(), read);
    }
    for wrong in [
        "",
        "*",
        "*.",
        "a*",
        "*a",
        "a.*",
        "spiffe://*",
        "spiffe://a*",
        "a b",
        "x://*/a",
    ] {
        assert!(of(wrong).is_err(), "{wrong}");
    }
}
