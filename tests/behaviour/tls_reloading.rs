//! Certificates that change while callboard runs.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::support::authority::Authority;
use crate::support::{Callboard, Instance, Setup, eventually, peers};

fn setup(settings: &str) -> Setup {
    Setup::default()
        .registry("admission: trust")
        .listener(&format!("tls: {{{settings}}}"))
}

/// Whether a new connection to the second listener for `name` is shown a certificate for it.
async fn is_shown(authority: &Authority, callboard: &Callboard, name: &str) -> bool {
    let client = authority.client(&[name]).build().unwrap();
    let url = format!("https://{name}:{}/none", callboard.port(1));
    match client.get(url).send().await {
        Ok(reply) => reply.status() == 404,
        Err(error) if error.is_connect() => false,
        Err(error) => panic!("{error:?}"),
    }
}

async fn until_shown(authority: &Authority, callboard: &Callboard, name: &str) {
    eventually(&format!("{name} is shown"), || async {
        is_shown(authority, callboard, name).await.then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_new_file_is_shown_while_open_connections_go_on() {
    let authority = Authority::new();
    authority.issue("a", &["old.test"]);
    let callboard = setup(&authority.pair("a")).start();
    let web = Instance::start("web-1");
    callboard.register("web", &web, json!({})).await;
    let kept = authority.client(&["old.test"]).build().unwrap();
    let url = format!("https://old.test:{}/web/held", callboard.port(1));
    let held = tokio::spawn(kept.get(&url).send());
    eventually("the request is held", || async {
        (web.holding() == 1).then_some(())
    })
    .await;
    authority.issue("a", &["new.test"]);
    until_shown(&authority, &callboard, "new.test").await;
    assert!(!is_shown(&authority, &callboard, "old.test").await);
    web.release(2);
    assert_eq!(held.await.unwrap().unwrap().status(), 200);
    // A new connection of this client would find no certificate for the name.
    assert_eq!(kept.get(&url).send().await.unwrap().status(), 200);
    assert!(
        callboard
            .log()
            .contains("proxy.listen[1].tls: the files changed")
    );
}

#[tokio::test]
async fn files_behind_a_link_change_with_it() {
    let authority = Authority::new();
    for (folder, name) in [("1", "old.test"), ("2", "new.test")] {
        fs::create_dir(authority.path(folder)).unwrap();
        authority.issue(&format!("{folder}/tls"), &[name]);
    }
    symlink("1", authority.path("data")).unwrap();
    let callboard = setup(&authority.pair("data/tls")).start();
    assert!(is_shown(&authority, &callboard, "old.test").await);
    symlink("2", authority.path("next")).unwrap();
    fs::rename(authority.path("next"), authority.path("data")).unwrap();
    until_shown(&authority, &callboard, "new.test").await;
}

#[tokio::test]
async fn a_broken_file_is_told_once_and_changes_nothing() {
    let authority = Authority::new();
    authority.issue("a", &["a.test"]);
    let callboard = setup(&authority.pair("a")).start();
    let good = fs::read(authority.path("a.pem")).unwrap();
    let told = |what: &str| callboard.log().matches(what).count();
    for (broken, what) in [
        (&good[..good.len() / 2], "is damaged"),
        (b"", "holds no certificate"),
    ] {
        fs::write(authority.path("a.pem"), broken).unwrap();
        eventually(what, || async { (told(what) > 0).then_some(()) }).await;
        assert!(is_shown(&authority, &callboard, "a.test").await);
    }
    fs::remove_file(authority.path("a.pem")).unwrap();
    let what = "cannot be read: No such file";
    eventually(what, || async { (told(what) > 0).then_some(()) }).await;
    // By now each of the others would have been told again.
    assert_eq!((told("is damaged"), told("holds no certificate")), (1, 1));
    authority.issue("a", &["new.test"]);
    until_shown(&authority, &callboard, "new.test").await;
}

#[tokio::test]
async fn a_reload_changes_everything_about_tls_but_whether_there_is_any() {
    let Some(openssl) = peers::program("openssl", "reloading TLS") else {
        return;
    };
    let authority = Authority::new();
    authority.issue("a", &["a.test"]);
    authority.issue("b", &["b.test"]);
    let callboard = setup(&authority.pair("a")).start();
    let session = authority.path("session").display().to_string();
    let connect = |option: &str| {
        let mut process = Command::new(&openssl)
            .args(["s_client", "-ign_eof", option, &session, "-connect"])
            .arg(format!("127.0.0.1:{}", callboard.port(1)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let request = b"GET /none HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        let _ = process.stdin.take().unwrap().write_all(request);
        let output = process.wait_with_output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(connect("-sess_out").contains("HTTP/1.1 404"));
    assert!(connect("-sess_in").contains("Reused"));

    let both = format!(
        "{}, certificates: [{{{}}}]",
        authority.pair("b"),
        authority.pair("a")
    );
    callboard.rewrite(&setup(&both));
    callboard.reload("configuration reloaded").await;
    assert!(is_shown(&authority, &callboard, "a.test").await);
    assert!(is_shown(&authority, &callboard, "b.test").await);
    assert!(!callboard.log().contains("a restart will"));

    let ca = authority.path("ca.pem").display().to_string();
    let required = format!("{}, clients: {{ca: {ca}}}", authority.pair("a"));
    callboard.rewrite(&setup(&required));
    callboard.reload("configuration reloaded").await;
    let said = connect("-sess_in");
    assert!(
        !said.contains("Reused") && !said.contains("HTTP/1.1"),
        "{said}"
    );
    assert!(!callboard.log().contains("a restart will"));

    callboard.rewrite(&Setup::default().listener("proxy_protocol: off"));
    callboard
        .reload("proxy.listen changed; a restart will")
        .await;
    assert!(!connect("-sess_in").contains("HTTP/1.1"));
}

#[tokio::test]
async fn names_for_an_acme_server_wait_for_the_restart_that_the_server_needs() {
    let authority = Authority::new();
    authority.issue("a", &["a.test"]);
    let callboard = setup(&authority.pair("a")).start();
    assert!(is_shown(&authority, &callboard, "a.test").await);
    let acme = "acme: {directory: \"https://127.0.0.1:1/dir\", terms_agreed: on}";
    callboard.rewrite(&setup("acme: [a.test]").proxy(acme));
    callboard
        .reload("proxy.acme changed; a restart will put it in force")
        .await;
    eventually("the rest is in force", || async {
        (callboard.log().contains("configuration reloaded")).then_some(())
    })
    .await;
    assert!(is_shown(&authority, &callboard, "a.test").await);
}
