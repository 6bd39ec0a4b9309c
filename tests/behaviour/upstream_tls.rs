//! TLS with instances: whom callboard believes, what it shows, and what it says when that fails.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, date_time_ymd,
};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;

use crate::support::http2_instance::Http2Instance;
use crate::support::{Callboard, Setup, eventually};

/// An issuer, and a folder with what it issued.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

/// A certificate and its key, in PEM.
struct Pair {
    cert: String,
    key: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A certificate for `names`, which stand side by side.
    fn issue(&self, names: &str, adjust: impl FnOnce(&mut CertificateParams)) -> Pair {
        let mut params =
            CertificateParams::new(names.split(' ').map(str::to_owned).collect::<Vec<_>>())
                .unwrap();
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        adjust(&mut params);
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        Pair {
            cert: cert.pem(),
            key: key.serialize_pem(),
        }
    }

    /// A server for the hosts `names`; the clients must show a certificate of `clients`.
    fn server(&self, names: &str, clients: Option<&Self>) -> ServerConfig {
        config(&self.issue(names, |_| {}), clients)
    }
}

impl Pair {
    fn write(&self, folder: &Path) {
        fs::write(folder.join("own.pem"), &self.cert).unwrap();
        fs::write(folder.join("own.key"), &self.key).unwrap();
    }
}

fn config(pair: &Pair, clients: Option<&Authority>) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.issuer.der().clone()).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        }
    };
    let cert = CertificateDer::from_pem_slice(pair.cert.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
    let mut config = builder.with_single_cert(vec![cert], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

fn setup(tls: &str) -> Setup {
    let defaults = format!("defaults: {{check: off, outlier: off, tls: {{{tls}}}}}");
    Setup::default().registry("admission: trust").top(&defaults)
}

async fn echo(callboard: &Callboard, path: &str) -> Value {
    let reply = callboard.get(path).await;
    assert_eq!(reply.status(), 200, "{reply:?}");
    reply.json().await.unwrap()
}

/// The `Proxy-Status` of a 502.
async fn refusal(callboard: &Callboard, path: &str) -> String {
    let reply = callboard.get(path).await;
    assert_eq!(reply.status(), 502, "{reply:?}");
    reply.headers()["proxy-status"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn instances_are_spoken_to_over_tls_in_the_version_they_registered_with() {
    let authority = Authority::new("mesh");
    let callboard = setup(&format!("ca: {:?}", authority.ca())).start();
    let instance = Http2Instance::secured("a", authority.server("web.callboard", None)).await;
    for (scheme, version) in [("https", "HTTP/1.1"), ("h2", "HTTP/2.0")] {
        callboard.register_http2("web", &instance, scheme).await;
        for _ in 0..3 {
            let echo = echo(&callboard, "/web/echo").await;
            assert_eq!(echo["version"], version);
            match scheme {
                "h2" => assert!(echo["uri"].as_str().unwrap().starts_with("https://")),
                _ => assert_eq!(echo["server_name"], "web.callboard"),
            }
        }
    }
    // One for each scheme.
    assert_eq!(instance.connections(), 2);
}

#[tokio::test]
async fn a_certificate_that_is_not_right_is_told_with_whose_and_why() {
    let (believed, other) = (Authority::new("mesh"), Authority::new("other"));
    let callboard = setup(&format!("ca: {:?}", believed.ca())).start();
    let expired = believed.issue("web.callboard", |params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    });
    let early = believed.issue("web.callboard", |params| {
        params.not_before = date_time_ymd(4000, 1, 1);
    });
    for scheme in ["https", "h2"] {
        for (config, said) in [
            (config(&expired, None), "its certificate has expired"),
            (config(&early, None), "its certificate is not valid yet"),
            (
                believed.server("orders.callboard", None),
                "its certificate is not for web.callboard",
            ),
            (
                other.server("web.callboard", None),
                "its certificate is of an issuer that callboard does not believe",
            ),
        ] {
            let instance = Http2Instance::secured("a", config).await;
            callboard.register_http2("web", &instance, scheme).await;
            let status = refusal(&callboard, "/web/echo").await;
            assert!(status.contains("error=tls_certificate_error"), "{status}");
            let port = instance.port;
            let said = format!("connect to 127.0.0.1:{port}: {said}");
            assert!(status.contains(&said), "{status}");
            assert_eq!(instance.hits(), 0);
        }
    }
}

#[tokio::test]
async fn a_post_that_a_certificate_stops_goes_to_another_instance() {
    let (believed, other) = (Authority::new("mesh"), Authority::new("other"));
    let callboard = setup(&format!("ca: {:?}", believed.ca())).start();
    let good = Http2Instance::secured("good", believed.server("web.callboard", None)).await;
    let bad = Http2Instance::secured("bad", other.server("web.callboard", None)).await;
    for instance in [&good, &bad] {
        callboard.register_http2("web", instance, "https").await;
    }
    for _ in 0..6 {
        let post = callboard.client.post(callboard.url("/web/echo"));
        assert_eq!(post.body("x").send().await.unwrap().status(), 200);
    }
    assert_eq!(bad.hits(), 0);
}

#[tokio::test]
async fn without_an_issuer_of_its_own_a_service_is_held_to_those_of_the_system() {
    let authority = Authority::new("mesh");
    let callboard = setup("verify: on").start();
    let instance = Http2Instance::secured("a", authority.server("web.callboard", None)).await;
    callboard.register_http2("web", &instance, "https").await;
    let status = refusal(&callboard, "/web/echo").await;
    assert!(status.contains("tls_certificate_error"), "{status}");
}

#[tokio::test]
async fn verification_can_be_turned_off_and_another_name_be_asked_for() {
    let authority = Authority::new("mesh");
    let loose = format!(
        "services: {{loose: {{tls: {{verify: off}}}}, named: {{tls: {{ca: {:?}, server_name: \
         orders.internal}}}}}}",
        authority.ca()
    );
    let callboard = setup("verify: on").top(&loose).start();
    let config = || authority.server("orders.internal", None);
    let instance = Http2Instance::secured("a", config()).await;
    for (service, name) in [("loose", "loose.callboard"), ("named", "orders.internal")] {
        callboard.register_http2(service, &instance, "https").await;
        let echo = echo(&callboard, &format!("/{service}/echo")).await;
        assert_eq!(echo["server_name"], name);
    }
    callboard.register_http2("strict", &instance, "https").await;
    refusal(&callboard, "/strict/echo").await;
    assert!(callboard.log().contains("verify"), "{}", callboard.log());
}

#[tokio::test]
async fn an_instance_that_demands_a_certificate_gets_one_or_says_so() {
    let authority = Authority::new("mesh");
    authority
        .issue("proxy.callboard", |_| {})
        .write(authority.folder.path());
    let folder = authority.folder.path().display();
    let own = format!(
        "services: {{own: {{tls: {{cert: \"{folder}/own.pem\", key: \"{folder}/own.key\"}}}}}}"
    );
    let callboard = setup(&format!("ca: {:?}", authority.ca()))
        .top(&own)
        .start();
    let config = authority.server("own.callboard none.callboard", Some(&authority));
    let instance = Http2Instance::secured("a", config).await;
    for scheme in ["https", "h2"] {
        callboard.register_http2("own", &instance, scheme).await;
        callboard.register_http2("none", &instance, scheme).await;
        let before = instance.hits();
        let post = callboard.client.post(callboard.url("/none/echo"));
        let reply = post.body("x").send().await.unwrap();
        assert_eq!(reply.status(), 502, "{reply:?}");
        let status = reply.headers()["proxy-status"].to_str().unwrap();
        assert!(status.contains("error=tls_alert_received"), "{status}");
        assert!(
            status.contains("it demands a certificate of callboard"),
            "{status}"
        );
        assert_eq!(instance.hits(), before);
        echo(&callboard, "/own/echo").await;
    }
}

#[tokio::test]
async fn probes_are_held_to_the_same_and_say_what_is_wrong() {
    let authority = Authority::new("mesh");
    let defaults = format!(
        "defaults: {{check: {{http: {{path: /echo}}, interval: 100ms, timeout: 100ms}}, tls: {{ca: {:?}}}}}",
        authority.ca()
    );
    let callboard = Setup::default().top(&defaults).start();
    let good = Http2Instance::secured("good", authority.server("web.callboard", None)).await;
    let bad = Http2Instance::secured("bad", authority.server("other.callboard", None)).await;
    for scheme in ["https", "h2"] {
        for instance in [&good, &bad] {
            callboard.register_http2("web", instance, scheme).await;
        }
        let url = callboard.api("/services/web/instances");
        eventually("the good one is ready and the other is not", || async {
            let list: Value = callboard
                .client
                .get(&url)
                .send()
                .await
                .ok()?
                .json()
                .await
                .ok()?;
            let of = |id: &str| list.as_array()?.iter().find(|i| i["id"] == id).cloned();
            let (good, bad) = (of("good")?, of("bad")?);
            let told = bad["reason"]
                .as_str()?
                .contains("its certificate is not for web.callboard");
            (good["availability"] == "ready" && bad["availability"] != "ready" && told)
                .then_some(())
        })
        .await;
        assert_eq!(echo(&callboard, "/web/echo").await["id"], "good");
        for id in ["good", "bad"] {
            let url = callboard.api(&format!("/services/web/instances/{id}"));
            callboard.client.delete(url).send().await.unwrap();
        }
    }
}

#[tokio::test]
async fn new_settings_get_new_connections() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let callboard = setup(&format!("ca: {:?}", old.ca())).start();
    let instance = Http2Instance::secured("a", old.server("web.callboard", None)).await;
    callboard.register_http2("web", &instance, "h2").await;
    echo(&callboard, "/web/echo").await;
    callboard.rewrite(&setup(&format!("ca: {:?}", new.ca())));
    callboard.reload("configuration reloaded").await;
    let status = refusal(&callboard, "/web/echo").await;
    assert!(status.contains("does not believe"), "{status}");
}

#[tokio::test]
async fn a_changed_file_is_read_with_the_configuration() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let callboard = setup(&format!("ca: {:?}", old.ca())).start();
    let instance = Http2Instance::secured("a", old.server("web.callboard", None)).await;
    callboard.register_http2("web", &instance, "h2").await;
    echo(&callboard, "/web/echo").await;
    fs::copy(new.ca(), old.ca()).unwrap();
    callboard.reload("configuration reloaded").await;
    let status = refusal(&callboard, "/web/echo").await;
    assert!(status.contains("does not believe"), "{status}");
    fs::write(old.ca(), "no certificate").unwrap();
    callboard.reload("was not reloaded").await;
    assert!(
        callboard.log().contains("defaults.tls.ca"),
        "{}",
        callboard.log()
    );
}

#[tokio::test]
async fn a_changed_file_is_read_without_being_told_to_whatever_is_wrong_with_another() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let faulty = Authority::new("faulty");
    let of = |service: &str, ca: &Authority| format!("{service}: {{tls: {{ca: {:?}}}}}", ca.ca());
    let services = ["a", "b", "c", "d", "e"].map(|service| of(service, &faulty));
    let services = format!("services: {{{}, {}}}", services.join(", "), of("web", &old));
    let setup = |timeout: &str| {
        Setup::default()
            .registry("admission: trust")
            .top(&format!(
                "defaults: {{check: off, outlier: off, timeouts: {{connect: {timeout}}}}}"
            ))
            .top(&services)
    };
    let callboard = setup("5s").start();
    let instance = Http2Instance::secured("a", old.server("web.callboard", None)).await;
    callboard.register_http2("web", &instance, "h2").await;
    echo(&callboard, "/web/echo").await;
    // What goes on undisturbed by a reload hears of changes all the same.
    callboard.reload("configuration reloaded").await;
    callboard.rewrite(&setup("6s"));
    callboard.reload("configuration reloaded").await;
    callboard.reload("configuration reloaded").await;
    echo(&callboard, "/web/echo").await;
    fs::write(faulty.ca(), "no certificate").unwrap();
    fs::copy(new.ca(), old.ca()).unwrap();
    eventually("the new issuer is believed alone", || async {
        let status = callboard.get("/web/echo").await.status();
        (status == 502).then_some(())
    })
    .await;
    eventually("every faulty file is told of", || async {
        let log = callboard.log();
        let told = |service| {
            let place = format!("services.{service}.tls.ca: ");
            log.matches(&place).count() == 1
        };
        ["a", "b", "c", "d", "e"]
            .into_iter()
            .all(told)
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn probes_hear_of_changed_files_too() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let setup = || {
        let defaults = format!(
            "defaults: {{check: {{http: {{path: /echo}}, interval: 100ms, fall: 1}}, tls: {{ca: {:?}}}}}",
            old.ca()
        );
        Setup::default().registry("admission: trust").top(&defaults)
    };
    let callboard = setup().start();
    let instance = Http2Instance::secured("a", old.server("web.callboard", None)).await;
    callboard.register_http2("web", &instance, "h2").await;
    callboard.reload("configuration reloaded").await;
    let availability = || async {
        let url = callboard.api("/services/web/instances/a");
        let shown: Value = callboard
            .client
            .get(url)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        shown["availability"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    eventually("the instance is ready", || async {
        (availability().await == "ready").then_some(())
    })
    .await;
    fs::copy(new.ca(), old.ca()).unwrap();
    eventually("the instance is not believed", || async {
        (availability().await == "unhealthy").then_some(())
    })
    .await;
}
