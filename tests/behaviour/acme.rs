//! Certificates from an ACME server: Pebble, which Let's Encrypt tests clients with.

mod pebble;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use rcgen::{CertificateParams, CertifiedKey, KeyPair, generate_simple_self_signed};

use crate::support::{Callboard, Instance, eventually};
use pebble::{Pebble, free_port};

/// The name that certificates are for.
const NAME: &str = "www.callboard.example";

/// A callboard's listeners, and what its Pebble is told of them.
struct Stage {
    plain: u16,
    secured: u16,
    path: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        Self {
            plain: free_port(),
            secured: free_port(),
            path: tempfile::tempdir().unwrap(),
        }
    }

    /// A configuration that asks for certificates for `names`; `more` stands beside them.
    fn yaml(&self, pebble: &Pebble, names: &str, more: &str) -> String {
        let Self {
            plain,
            secured,
            path,
        } = self;
        let (ca, path) = (pebble.ca(), path.path().display());
        format!(
            "proxy:\n  listen:\n    - \"127.0.0.1:{plain}\"\n    - address: \
             \"127.0.0.1:{secured}\"\n      tls: {{acme: [{names}]{more}}}\n  acme: {{directory: \
             \"{}\", terms_agreed: on, ca: \"{}\", path: \"{path}\"}}\nregistry: {{listen: \
             \"127.0.0.1:0\"}}\n",
            pebble.directory(),
            ca.display()
        )
    }

    fn start(&self, pebble: &Pebble) -> Callboard {
        Callboard::start(&self.yaml(pebble, NAME, ""))
    }

    fn kept(&self, pebble: &Pebble, name: &str) -> PathBuf {
        pebble.kept(self.path.path()).join(name)
    }

    fn keep(&self, pebble: &Pebble, name: &str, text: &str) {
        fs::create_dir_all(pebble.kept(self.path.path())).unwrap();
        fs::write(self.kept(pebble, name), text).unwrap();
    }

    /// The certificate that a client who asks for `name` is shown, whoever issued it.
    async fn shown(&self, name: &str) -> Vec<u8> {
        let client = self.client(name).tls_danger_accept_invalid_certs(true);
        let client = client.tls_info(true).build().unwrap();
        let reply = client.get(self.url(name)).send().await.unwrap();
        let info = reply.extensions().get::<reqwest::tls::TlsInfo>().unwrap();
        info.peer_certificate().unwrap().to_vec()
    }

    /// The same once Pebble vouches for it.
    async fn verified(&self, name: &str, pebble: &Pebble) -> Vec<u8> {
        let root = pebble.root().await.unwrap();
        eventually(&format!("{name} is vouched for"), || async {
            let root = reqwest::Certificate::from_pem(root.as_bytes()).unwrap();
            let client = self.client(name).tls_certs_only([root]).build().unwrap();
            let reply = client.get(self.url(name)).send().await.ok()?;
            // There is no such service; but there was a request.
            assert_eq!(reply.status(), 404);
            Some(())
        })
        .await;
        self.shown(name).await
    }

    fn client(&self, name: &str) -> reqwest::ClientBuilder {
        let address = SocketAddr::from(([127, 0, 0, 1], self.secured));
        reqwest::Client::builder().no_proxy().resolve(name, address)
    }

    fn url(&self, name: &str) -> String {
        format!("https://{name}:{}/nobody", self.secured)
    }
}

/// A key and a certificate of our own for [`NAME`], in one text, good until `until`.
fn homemade(until: i32) -> (String, Vec<u8>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([NAME.to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    let certificate = params.self_signed(&key).unwrap();
    let text = key.serialize_pem() + &certificate.pem();
    (text, certificate.der().to_vec())
}

async fn until_log(callboard: &Callboard, says: &str) {
    eventually(&format!("the log says {says:?}"), || async {
        callboard.log().contains(says).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_certificate_is_had_over_tls_alpn_and_is_there_when_the_server_is_not() {
    let stage = Stage::new();
    let test = "certificates over TLS-ALPN-01";
    // Nobody answers HTTP where Pebble would look for it.
    let Some(mut pebble) = Pebble::start(test, free_port(), stage.secured).await else {
        return;
    };
    let mut callboard = stage.start(&pebble);
    let first = stage.verified(NAME, &pebble).await;
    let page = callboard
        .client
        .get(format!("{}/metrics", callboard.registry));
    let page = page.send().await.unwrap().text().await.unwrap();
    let metric = format!("callboard_certificate_expiry_seconds{{name=\"{NAME}\"}} ");
    let line = page.lines().find_map(|line| line.strip_prefix(&metric));
    assert!(
        line.unwrap().parse::<u64>().unwrap() > 1_800_000_000,
        "{page}"
    );
    for file in ["account.json", &format!("{NAME}.pem")] {
        let file = fs::metadata(stage.kept(&pebble, file)).unwrap();
        assert_eq!(file.permissions().mode() & 0o777, 0o600);
    }

    pebble.kill();
    callboard.crash_and_restart(|_| {});
    assert_eq!(stage.shown(NAME).await, first);
}

#[tokio::test]
async fn what_fails_over_tls_alpn_is_proven_over_http() {
    let stage = Stage::new();
    // Nobody answers TLS where Pebble would look for it.
    let test = "certificates over HTTP-01";
    let Some(pebble) = Pebble::start(test, stage.plain, free_port()).await else {
        return;
    };
    let callboard = stage.start(&pebble);
    stage.verified(NAME, &pebble).await;
    // What is not asked for goes where the routes say.
    let url = "http://127.0.0.1:PORT/.well-known/acme-challenge/token";
    let url = url.replace("PORT", &stage.plain.to_string());
    let reply = callboard.client.get(url).send().await.unwrap();
    assert_eq!(reply.status(), 404);
    assert!(reply.headers().contains_key("proxy-status"), "{reply:?}");
}

#[tokio::test]
async fn a_listener_of_bytes_has_certificates_too() {
    let stage = Stage::new();
    let test = "certificates where no HTTP is spoken";
    let Some(pebble) = Pebble::start(test, free_port(), stage.secured).await else {
        return;
    };
    let yaml = stage.yaml(&pebble, NAME, "");
    let protocol = "\n      protocol: tcp\n      service: web\n      tls:";
    let callboard = Callboard::start(&yaml.replace("\n      tls:", protocol));
    let web = Instance::start("web-1");
    let extra = serde_json::json!({});
    callboard
        .register_port("web", "web-1", web.port, extra)
        .await;
    let root = pebble.root().await.unwrap();
    eventually("the certificate is vouched for", || async {
        let root = reqwest::Certificate::from_pem(root.as_bytes()).unwrap();
        let client = stage.client(NAME).tls_certs_only([root]).build().unwrap();
        let reply = client.get(stage.url(NAME)).send().await.ok()?;
        (reply.status() == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn clients_that_must_show_certificates_keep_no_server_from_looking() {
    let stage = Stage::new();
    let test = "certificates where clients have certificates";
    let Some(pebble) = Pebble::start(test, free_port(), stage.secured).await else {
        return;
    };
    let ca = pebble.ca();
    let more = format!(", clients: {{ca: \"{}\", required: on}}", ca.display());
    let callboard = Callboard::start(&stage.yaml(&pebble, NAME, &more));
    until_log(&callboard, &format!("got a certificate for {NAME}")).await;
}

#[tokio::test]
async fn a_certificate_is_renewed_before_it_ends_and_serves_until_then() {
    let stage = Stage::new();
    let test = "the renewal of certificates";
    let Some(mut pebble) = Pebble::prepare(test, free_port(), stage.secured) else {
        return;
    };
    // Most of its time is over.
    let (text, old) = homemade(2027);
    stage.keep(&pebble, &format!("{NAME}.pem"), &text);
    let mut callboard = stage.start(&pebble);
    assert_eq!(stage.shown(NAME).await, old);
    until_log(&callboard, &format!("no new certificate for {NAME}: ")).await;
    let log = callboard.log();
    let line = log.lines().find(|line| line.contains("no new certificate"));
    for part in [
        "Connection refused",
        &pebble.directory(),
        "the one in use ends at 2027-01-01T",
        "the next try is in ",
    ] {
        assert!(line.unwrap().contains(part), "{part}: {log}");
    }
    assert_eq!(stage.shown(NAME).await, old);

    pebble.run().await;
    callboard.crash_and_restart(|_| {});
    assert_ne!(stage.verified(NAME, &pebble).await, old);
    // Only what has ended is worse, and even that is better than none.
    pebble.kill();
    let (text, ended) = homemade(2021);
    callboard.crash_and_restart(|_| stage.keep(&pebble, &format!("{NAME}.pem"), &text));
    assert_eq!(stage.shown(NAME).await, ended);
}

#[tokio::test]
async fn a_name_that_cannot_be_proven_has_a_temporary_certificate_and_says_why() {
    let stage = Stage::new();
    let test = "names that cannot be proven";
    let Some(pebble) = Pebble::start(test, free_port(), free_port()).await else {
        return;
    };
    let callboard = stage.start(&pebble);
    until_log(&callboard, &format!("no new certificate for {NAME}: ")).await;
    let log = callboard.log();
    let line = log.lines().find(|line| line.contains("no new certificate"));
    for part in [
        "tls-alpn-01: the server says: ",
        "; http-01: the server says: ",
        "a temporary one is in use",
    ] {
        assert!(line.unwrap().contains(part), "{part}: {log}");
    }
    assert!(!stage.shown(NAME).await.is_empty());
    assert!(!stage.kept(&pebble, &format!("{NAME}.pem")).exists());
}

#[tokio::test]
async fn damaged_files_are_set_aside_and_replaced() {
    let stage = Stage::new();
    let test = "damaged certificates";
    let Some(pebble) = Pebble::start(test, stage.plain, stage.secured).await else {
        return;
    };
    let file = format!("{NAME}.pem");
    stage.keep(&pebble, &file, "-----BEGIN CERTIFICATE-----\nAAAA\n");
    stage.keep(&pebble, "account.json", "{\"credentials\": {}}");
    let callboard = stage.start(&pebble);
    stage.verified(NAME, &pebble).await;
    for file in [file.as_str(), "account.json"] {
        let aside = stage.kept(&pebble, &format!("{file}.damaged-1"));
        assert!(aside.exists(), "{}", callboard.log());
        let told = format!("set aside as {}", aside.display());
        assert!(callboard.log().contains(&told), "{}", callboard.log());
    }
}

#[tokio::test]
async fn the_account_is_used_again_as_long_as_the_server_knows_it() {
    let stage = Stage::new();
    let test = "the account at an ACME server";
    let Some(mut pebble) = Pebble::start(test, stage.plain, stage.secured).await else {
        return;
    };
    let mut callboard = stage.start(&pebble);
    let first = stage.verified(NAME, &pebble).await;
    let account = fs::read(stage.kept(&pebble, "account.json")).unwrap();
    let certificate = stage.kept(&pebble, &format!("{NAME}.pem"));
    callboard.crash_and_restart(|_| fs::remove_file(&certificate).unwrap());
    assert_ne!(stage.verified(NAME, &pebble).await, first);
    let made = |callboard: &Callboard| callboard.log().matches("made the account").count();
    assert_eq!(made(&callboard), 1, "{}", callboard.log());
    assert_eq!(
        fs::read(stage.kept(&pebble, "account.json")).unwrap(),
        account
    );

    // It forgets all it knew.
    pebble.run().await;
    callboard.crash_and_restart(|_| fs::remove_file(&certificate).unwrap());
    stage.verified(NAME, &pebble).await;
    assert_eq!(made(&callboard), 2, "{}", callboard.log());
    let aside = stage.kept(&pebble, "account.json.damaged-1");
    assert_eq!(fs::read(aside).unwrap(), account);
}

#[tokio::test]
async fn a_certificate_is_renewed_when_the_server_wants_it() {
    let stage = Stage::new();
    let test = "renewal when an ACME server wants it";
    let Some(pebble) = Pebble::start(test, stage.plain, stage.secured).await else {
        return;
    };
    let mut callboard = stage.start(&pebble);
    let first = stage.verified(NAME, &pebble).await;
    let kept = fs::read_to_string(stage.kept(&pebble, &format!("{NAME}.pem"))).unwrap();
    pebble.wants_renewed(&kept).await;
    callboard.crash_and_restart(|_| {});
    eventually("another certificate is shown", || async {
        (stage.shown(NAME).await != first).then_some(())
    })
    .await;
    stage.verified(NAME, &pebble).await;
}

#[tokio::test]
async fn names_come_and_go_with_a_reload() {
    let stage = Stage::new();
    let test = "names that come with a reload";
    let Some(pebble) = Pebble::start(test, free_port(), stage.secured).await else {
        return;
    };
    let callboard = stage.start(&pebble);
    let first = stage.verified(NAME, &pebble).await;
    let other = "api.callboard.example";
    callboard.rewrite_raw(&stage.yaml(&pebble, &format!("{NAME}, {other}"), ""));
    callboard.reload("configuration reloaded").await;
    stage.verified(other, &pebble).await;
    assert_eq!(stage.shown(NAME).await, first);

    callboard.rewrite_raw(&stage.yaml(&pebble, other, ""));
    callboard.reload("configuration reloaded").await;
    let url = format!("{}/metrics", callboard.registry);
    eventually("the name is gone", || async {
        let page = callboard.client.get(&url).send().await.unwrap();
        let page = page.text().await.unwrap();
        assert!(page.contains(other), "{page}");
        (!page.contains(NAME)).then_some(())
    })
    .await;
    assert_ne!(stage.shown(NAME).await, first);
}

#[tokio::test]
async fn an_ordinary_client_is_never_shown_what_an_acme_server_is() {
    let stage = Stage::new();
    let test = "challenges apart from service";
    let Some(pebble) = Pebble::prepare(test, free_port(), stage.secured) else {
        return;
    };
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed([NAME.to_owned()]).unwrap();
    let text = signing_key.serialize_pem() + &cert.pem();
    stage.keep(&pebble, &format!("{NAME}.pem"), &text);
    let _callboard = stage.start(&pebble);
    assert_eq!(stage.shown(NAME).await, cert.der().to_vec());
    // Nothing is pending, so nobody is spoken with in that protocol.
    let provider = rustls::crypto::ring::default_provider();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let mut config = rustls::ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"acme-tls/1".to_vec()];
    let socket = tokio::net::TcpStream::connect(("127.0.0.1", stage.secured));
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let name = NAME.try_into().unwrap();
    let refused = connector.connect(name, socket.await.unwrap()).await;
    let error = refused.unwrap_err().to_string();
    assert!(error.contains("NoApplicationProtocol"), "{error}");
}
