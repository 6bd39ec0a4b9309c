//! Listeners that speak TLS, as other makers' clients see them.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rcgen::SerialNumber;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::authority::Authority;
use crate::support::{Callboard, Instance, Setup, peers};

/// A callboard whose second listener speaks TLS by these settings.
fn start(settings: &str) -> Callboard {
    Setup::default()
        .registry("admission: trust")
        .listener(&format!("tls: {{{settings}}}"))
        .start()
}

/// What `openssl s_client` says of a connection to the second listener, and the answer to a request.
fn s_client(openssl: &PathBuf, callboard: &Callboard, arguments: &[&str]) -> String {
    let mut process = Command::new(openssl)
        .args(["s_client", "-ign_eof", "-connect"])
        .arg(format!("127.0.0.1:{}", callboard.port(1)))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = process.stdin.take().unwrap();
    // One whose handshake failed is gone already.
    let _ = input.write_all(b"GET /none HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let output = process.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&said).into_owned()
}

#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken_and_nothing_older() {
    let Some(openssl) = peers::program("openssl", "versions of TLS") else {
        return;
    };
    let authority = Authority::new();
    authority.issue("a", &["a.test"]);
    let callboard = start(&authority.pair("a"));
    for (version, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let said = s_client(&openssl, &callboard, &[version]);
        assert!(said.contains(&format!("New, {name}")), "{said}");
        assert!(said.contains("HTTP/1.1 404"), "{said}");
    }
    for old in ["-tls1_1", "-tls1"] {
        let arguments = [old, "-cipher", "DEFAULT:@SECLEVEL=0"];
        let said = s_client(&openssl, &callboard, &arguments);
        // What else such a client lacks may be noticed before its version.
        let alerts = ["alert protocol version", "alert handshake failure"];
        assert!(alerts.iter().any(|alert| said.contains(alert)), "{said}");
        assert!(!said.contains("HTTP/1.1"), "{said}");
    }
    let callboard = start(&format!("{}, min_version: 1.3", authority.pair("a")));
    let said = s_client(&openssl, &callboard, &["-tls1_2"]);
    assert!(said.contains("alert protocol version"), "{said}");
    let said = s_client(&openssl, &callboard, &["-tls1_3"]);
    assert!(said.contains("HTTP/1.1 404"), "{said}");
}

#[tokio::test]
async fn each_name_is_shown_its_certificate_and_others_the_first() {
    let Some(openssl) = peers::program("openssl", "certificates by name") else {
        return;
    };
    let authority = Authority::new();
    authority.issue("a", &["a.test"]);
    authority.issue("b", &["b.test", "*.wild.test"]);
    authority.issue("late", &["late.test", "b.test"]);
    let callboard = start(&format!(
        "{}, certificates: [{{{}}}, {{{}}}]",
        authority.pair("a"),
        authority.pair("b"),
        authority.pair("late"),
    ));
    for (name, shown) in [
        (Some("a.test"), "a.test"),
        (Some("B.test"), "b.test"),
        (Some("x.wild.test"), "b.test"),
        (Some("x.y.wild.test"), "a.test"),
        (Some("late.test"), "late.test"),
        (Some("unknown.test"), "a.test"),
        (None, "a.test"),
    ] {
        let arguments = name.map_or(vec!["-noservername"], |name| vec!["-servername", name]);
        let said = s_client(&openssl, &callboard, &arguments);
        let subject = said.lines().find(|line| line.starts_with("subject=CN"));
        assert!(
            subject.unwrap().ends_with(&format!("= {shown}")),
            "{name:?}: {said}"
        );
    }
}

#[tokio::test]
async fn a_client_that_comes_again_resumes_its_session() {
    let Some(openssl) = peers::program("openssl", "resumption") else {
        return;
    };
    let authority = Authority::new();
    authority.issue("a", &["a.test"]);
    let callboard = start(&authority.pair("a"));
    for (version, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let session = authority.path(name);
        let session = session.to_str().unwrap();
        let said = s_client(&openssl, &callboard, &[version, "-sess_out", session]);
        assert!(said.contains(&format!("New, {name}")), "{said}");
        let said = s_client(&openssl, &callboard, &[version, "-sess_in", session]);
        assert!(said.contains(&format!("Reused, {name}")), "{said}");
        assert!(said.contains("HTTP/1.1 404"), "{said}");
    }
}

#[tokio::test]
async fn what_the_issuer_says_of_a_certificate_is_shown_along_with_it() {
    let Some(openssl) = peers::program("openssl", "OCSP") else {
        return;
    };
    let authority = Authority::new();
    for (file, serial) in [("a", vec![0x10, 0x01]), ("b", vec![0x10, 0x02])] {
        authority.issue_with(file, &["a.test"], |params| {
            params.serial_number = Some(SerialNumber::from(serial));
        });
    }
    fs::write(
        authority.path("index"),
        "V\t491231235959Z\t\t1001\tunknown\t/CN=a.test\n",
    )
    .unwrap();
    let made = Command::new(&openssl)
        .args("ocsp -index index -rsigner ca.pem -rkey ca.key -CA ca.pem -issuer ca.pem -cert a.pem -ndays 1 -respout a.der".split(' '))
        .current_dir(authority.folder())
        .output()
        .unwrap();
    assert!(authority.path("a.der").is_file(), "{made:?}");
    let ocsp = authority.path("a.der").display().to_string();
    let callboard = start(&format!("{}, ocsp: {ocsp}", authority.pair("a")));
    let said = s_client(&openssl, &callboard, &["-status"]);
    assert!(said.contains("OCSP Response Status: successful"), "{said}");
    assert!(said.contains("Cert Status: good"), "{said}");

    let config = |settings: &str| {
        let text = format!("proxy: {{listen: {{address: 0.0.0.0:1, tls: {{{settings}}}}}}}");
        callboard.rewrite_raw(&text);
        let checked = callboard.beside("check").output().unwrap();
        String::from_utf8(checked.stderr).unwrap()
    };
    let said = config(&format!("{}, ocsp: {ocsp}", authority.pair("b")));
    assert!(
        said.contains("tls.ocsp: ") && said.contains("another certificate"),
        "{said}"
    );
    let ca = authority.path("ca.pem").display().to_string();
    let said = config(&format!("{}, ocsp: {ca}", authority.pair("a")));
    assert!(said.contains("is no OCSP response"), "{said}");
}

#[tokio::test]
async fn plain_http_gets_told_and_what_is_neither_gets_nothing() {
    let authority = Authority::new();
    authority.issue("a", &["a.test"]);
    let callboard = start(&authority.pair("a"));
    for (sent, hint) in [
        (&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], true),
        (&[0; 100][..], false),
        (&b"\x16\x03\x01\xff\xff\xff"[..], false),
        (&b""[..], false),
    ] {
        let mut client = TcpStream::connect(("127.0.0.1", callboard.port(1)))
            .await
            .unwrap();
        client.write_all(sent).await.unwrap();
        client.shutdown().await.unwrap();
        let mut answer = Vec::new();
        // A reset is an end as well.
        let _ = client.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        assert_eq!(
            answer.starts_with("HTTP/1.1 400"),
            hint,
            "{sent:?}: {answer}"
        );
        assert_eq!(
            answer.contains("expected https"),
            hint,
            "{sent:?}: {answer}"
        );
    }
}

#[tokio::test]
async fn a_client_that_never_shakes_hands_is_not_waited_for() {
    let authority = Authority::new();
    authority.issue("a", &["a.test"]);
    let callboard = start(&authority.pair("a"));
    for begun in [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01\x00"] {
        let mut client = TcpStream::connect(("127.0.0.1", callboard.port(1)))
            .await
            .unwrap();
        client.write_all(begun).await.unwrap();
        let mut answer = Vec::new();
        let ended = client.read_to_end(&mut answer);
        let ended = tokio::time::timeout(std::time::Duration::from_secs(60), ended).await;
        assert!(ended.is_ok(), "{begun:?}");
    }
}

#[tokio::test]
async fn instances_learn_that_the_client_spoke_tls() {
    let authority = Authority::new();
    authority.issue("a", &["a.test"]);
    let callboard = start(&authority.pair("a"));
    let web = Instance::start("web-1");
    callboard.register("web", &web, json!({})).await;
    let client = authority.client(&["a.test"]).build().unwrap();
    let url = format!("https://a.test:{}/web/", callboard.port(1));
    let reply = client.get(url).send().await.unwrap();
    let echo: serde_json::Value = reply.json().await.unwrap();
    assert_eq!(echo["headers"]["x-forwarded-proto"], "https");
    let forwarded = echo["headers"]["forwarded"].as_str().unwrap();
    assert!(forwarded.ends_with(";proto=https"), "{forwarded}");
}
