//! Starting over a file that is damaged, or that is not callboard's.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::{Callboard, run_to_end};

const FILE: &str = "data/callboard.db";

/// A callboard with 200 instances of `web`.
async fn populated() -> Callboard {
    let callboard = Callboard::trusting();
    let instance = |id| {
        json!({"service": "web", "id": format!("i-{id:03}"), "address": "127.0.0.1", "port": 9,
               "weight": id, "check": "off"})
    };
    let batch: Vec<Value> = (0..200).map(instance).collect();
    let request = callboard.client.post(callboard.api("/instances:batch"));
    let reply = request.json(&json!({"instances": batch})).send().await;
    assert_eq!(reply.unwrap().status(), 200);
    callboard
}

/// Moves everything from the log into the file, as callboard does from time to time.
fn checkpoint(folder: &Path) {
    let db = Connection::open(folder.join(FILE)).unwrap();
    db.pragma_update_and_check(None, "wal_checkpoint", "TRUNCATE", |_| Ok(()))
        .unwrap();
}

fn overwrite(file: &Path, at: u64, bytes: &[u8]) {
    let mut file = File::options().write(true).open(file).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(bytes).unwrap();
}

/// The weights of the instances of `web` by id; each must be what was registered.
async fn weights(callboard: &Callboard) -> Vec<u64> {
    let url = callboard.api("/services/web/instances");
    let reply = callboard.client.get(url).send().await.unwrap();
    let list: Vec<Value> = reply.json().await.unwrap();
    for instance in &list {
        let id = format!("i-{:03}", instance["weight"].as_u64().unwrap());
        assert_eq!(instance["id"], id.as_str());
    }
    let weight = |instance: &Value| instance["weight"].as_u64().unwrap();
    list.iter().map(weight).collect()
}

/// Changes are taken and survive.
async fn goes_on(callboard: &mut Callboard) {
    let body = json!({"address": "127.0.0.1", "port": 9, "check": "off"});
    let url = callboard.api("/services/later/instances/a");
    let reply = callboard.client.put(url).json(&body).send().await.unwrap();
    assert_eq!(reply.status(), 201);
    callboard.crash_and_restart(|_| {});
    let url = callboard.api("/services/later/instances/a");
    let reply = callboard.client.get(url).send().await.unwrap();
    assert_eq!(reply.status(), 200);
}

#[tokio::test]
async fn a_truncated_file_is_kept_and_what_can_be_read_comes_back() {
    let mut saved = Vec::new();
    for share in [0, 20, 60, 95] {
        let mut callboard = populated().await;
        callboard.crash_and_restart(|folder| {
            checkpoint(folder);
            let file = File::options().write(true).open(folder.join(FILE)).unwrap();
            let length = file.metadata().unwrap().len();
            file.set_len(length * share / 100).unwrap();
        });
        saved.push(weights(&callboard).await.len());
        if share > 0 {
            let log = callboard.log();
            assert!(log.contains("data/callboard.db is damaged: "), "{log}");
            assert!(
                log.contains("It is kept as data/callboard.db.damaged-2"),
                "{log}"
            );
        }
        goes_on(&mut callboard).await;
    }
    assert_eq!(saved[0], 0);
    assert!(saved[3] > 100, "{saved:?}");
}

#[tokio::test]
async fn overwritten_pages_do_not_keep_callboard_from_starting() {
    let mut random = fastrand::Rng::with_seed(3);
    for _ in 0..6 {
        let mut callboard = populated().await;
        callboard.crash_and_restart(|folder| {
            checkpoint(folder);
            let file = folder.join(FILE);
            let end = fs::metadata(&file).unwrap().len();
            let at = random.u64(100..end - 5_000);
            let bytes: Vec<u8> = (0..random.usize(1..5_000)).map(|_| random.u8(..)).collect();
            overwrite(&file, at, &bytes);
        });
        weights(&callboard).await;
        goes_on(&mut callboard).await;
    }
}

#[tokio::test]
async fn a_damaged_row_is_named_and_the_others_come_back() {
    let mut callboard = populated().await;
    callboard.crash_and_restart(|folder| {
        let db = Connection::open(folder.join(FILE)).unwrap();
        let sql = "UPDATE events SET instance = replace(instance, '127.0.0.1', '127.6.6.6') \
                   WHERE id = 'i-007'";
        assert_eq!(db.execute(sql, []).unwrap(), 1);
    });
    let weights = weights(&callboard).await;
    assert_eq!(weights.len(), 199);
    assert!(!weights.contains(&7));
    let log = callboard.log();
    let line = log
        .lines()
        .find(|line| line.contains("table events, index "));
    let line = line.unwrap_or_else(|| panic!("{log}"));
    for part in [FILE, "checksum is", r#"service "web" instance "i-007""#] {
        assert!(line.contains(part), "{line}");
    }
    goes_on(&mut callboard).await;
}

#[tokio::test]
async fn a_file_that_is_damaged_meanwhile_costs_no_change() {
    let mut callboard = populated().await;
    let file = callboard.folder().join(FILE);
    checkpoint(callboard.folder());
    let end = fs::metadata(&file).unwrap().len();
    overwrite(&file, 0, &vec![0x5a; usize::try_from(end).unwrap()]);
    goes_on(&mut callboard).await;
    assert_eq!(weights(&callboard).await.len(), 200);
    let log = callboard.log();
    assert!(log.contains("starts with the 200 instances"), "{log}");
}

/// What callboard says when it refuses to start over `file`.
fn refusal(file: &Path) -> String {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("proxy.yaml");
    let yaml = format!(
        "proxy: {{listen: \"127.0.0.1:0\"}}\nregistry: {{listen: \"127.0.0.1:0\", \
         store: {{sqlite: {{path: \"{}\"}}}}}}\n",
        file.display()
    );
    fs::write(&config, yaml).unwrap();
    let output = run_to_end(&["run", "--config", config.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("cannot start the registry: "), "{error}");
    assert!(error.contains(file.to_str().unwrap()), "{error}");
    error
}

#[test]
fn the_file_of_another_program_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bookmarks.db");
    let db = Connection::open(&file).unwrap();
    db.execute_batch("CREATE TABLE bookmarks (url)").unwrap();
    drop(db);
    let before = fs::read(&file).unwrap();
    assert!(refusal(&file).contains("is the database of another program"));
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[tokio::test]
async fn a_file_that_a_later_version_has_written_is_refused_and_left_alone() {
    let mut callboard = populated().await;
    callboard.crash();
    let file = callboard.folder().join(FILE);
    let db = Connection::open(&file).unwrap();
    db.pragma_update(None, "user_version", 3).unwrap();
    drop(db);
    let before = fs::read(&file).unwrap();
    let refusal = refusal(&file);
    assert!(refusal.contains("has layout 3"), "{refusal}");
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[test]
fn a_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    assert!(refusal(folder.path()).contains("is a folder"));
}

#[tokio::test]
async fn a_second_callboard_on_the_same_file_is_refused_while_people_may_read_it() {
    let callboard = populated().await;
    let file = callboard.folder().join(FILE);
    assert!(refusal(&file).contains("in use by another callboard"));
    let db = Connection::open(&file).unwrap();
    let members: i64 = db
        .query_row("SELECT count(*) FROM members", [], |row| row.get(0))
        .unwrap();
    assert_eq!(members, 200);
    assert_eq!(weights(&callboard).await.len(), 200);
}
