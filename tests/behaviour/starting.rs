//! Starting, and refusing to start.

use std::net::TcpListener;

use crate::support::{Callboard, run_to_end};

#[tokio::test]
async fn a_started_callboard_is_alive_and_ready() {
    let callboard = Callboard::trusting();
    for path in ["/healthz", "/readyz"] {
        let url = format!("{}{path}", callboard.registry);
        assert_eq!(
            callboard.client.get(url).send().await.unwrap().status(),
            200
        );
    }
}

#[test]
fn a_taken_port_is_a_clear_error() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("proxy.yaml");
    for yaml in [
        format!("proxy: {{listen: [\"{address}\"]}}\nregistry: {{listen: \"127.0.0.1:0\"}}\n"),
        format!("proxy: {{listen: [\"127.0.0.1:0\"]}}\nregistry: {{listen: \"{address}\"}}\n"),
    ] {
        std::fs::write(&file, &yaml).unwrap();
        let output = run_to_end(&["run", "--config", file.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1), "{yaml}");
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains(&address), "{error}");
        assert!(error.contains("ddress already in use"), "{error}");
    }
}

#[test]
fn a_missing_file_is_a_clear_error() {
    for command in ["run", "check"] {
        let output = run_to_end(&[command, "--config", "no/such/file.yaml"]);
        assert_eq!(output.status.code(), Some(2));
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains("no/such/file.yaml"), "{error}");
    }
}

#[test]
fn check_tells_all_errors_at_their_places() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("proxy.yaml");
    std::fs::write(
        &file,
        "proxy:\n  listen: [\"127.0.0.1:99999\"]\ndefaults:\n  balance: fastest\n  chek: off\n",
    )
    .unwrap();
    let name = file.to_str().unwrap();
    let output = run_to_end(&["check", "--config", name]);
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8(output.stderr).unwrap();
    for place in ["2:12", "4:12", "5:3"] {
        assert!(
            error.contains(&format!("{name}:{place}: ")),
            "{place} in {error}"
        );
    }
}

#[test]
fn the_shipped_configuration_passes_its_own_check() {
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/proxy.yaml");
    let output = run_to_end(&["check", "--config", shipped]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}
