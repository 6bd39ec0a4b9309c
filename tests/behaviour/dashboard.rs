//! The dashboard's files: who gets them, and what keeps others' words from running in them. What the
//! page does is tested in a browser, see `tests/dashboard`.

use reqwest::{Client, Response, header};
use serde_json::Value;

use crate::support::tokens::auth;
use crate::support::{Callboard, Setup};

const CHROMIUM: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

async fn get(callboard: &Callboard, path: &str, accept: &str) -> Response {
    let request = Client::new().get(format!("{}{path}", callboard.registry));
    request.header(header::ACCEPT, accept).send().await.unwrap()
}

fn guarded() -> Callboard {
    Setup::default()
        .registry(&auth(&[("reader", "read")]))
        .start()
}

#[tokio::test]
async fn browsers_get_the_page_and_programs_the_text() {
    let callboard = guarded();
    for (accept, kind) in [
        (CHROMIUM, "text/html; charset=utf-8"),
        ("*/*", "text/plain; charset=utf-8"),
        ("application/json", "text/plain; charset=utf-8"),
    ] {
        let response = get(&callboard, "/", accept).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], kind, "{accept}");
        assert_eq!(response.headers()["vary"], "Accept");
    }
    let text = get(&callboard, "/", "*/*").await.text().await.unwrap();
    assert!(text.contains("PUT    /api/v1/services/"), "{text}");
}

#[tokio::test]
async fn the_files_need_no_token_and_what_they_show_does() {
    let callboard = guarded();
    let page = get(&callboard, "/", CHROMIUM).await.text().await.unwrap();
    let files: Vec<_> = page
        .split('"')
        .filter(|text| text.starts_with("/dashboard/"))
        .collect();
    assert!(files.len() >= 4, "{page}");
    for file in files {
        let response = get(&callboard, file, "*/*").await;
        assert_eq!(response.status(), 200, "{file}");
        let headers = response.headers();
        assert_eq!(
            headers["cache-control"],
            "public, max-age=31536000, immutable"
        );
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert_eq!(headers["referrer-policy"], "no-referrer");
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none';"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
    }
    let refused = get(&callboard, "/api/v1/services", "*/*").await;
    assert_eq!(refused.status(), 401);
}

#[tokio::test]
async fn below_its_path_there_is_nothing_else() {
    let callboard = guarded();
    for path in [
        "/dashboard/x/index.html",
        "/dashboard/x/..%2fapp.js",
        "/dashboard/x/%2e%2e/app.js",
        "/dashboard/x/y/z",
        "/dashboard/",
        "/dashboard/..%2fapi%2fv1%2fservices",
    ] {
        let response = get(&callboard, path, "*/*").await;
        assert_eq!(response.status(), 404, "{path}");
    }
    let url = format!("{}/dashboard/x/app.js", callboard.registry);
    let posted = Client::new().post(url).send().await.unwrap();
    assert_eq!(posted.status(), 401, "what is open is open for reading");
    let problem: Value = posted.json().await.unwrap();
    assert_eq!(problem["status"], 401);
}
