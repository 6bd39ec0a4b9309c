//! The operators' page: files that are part of the program, and no more. All that the page knows it asks
//! of `/api/v1`, with the token of whoever looks at it; the files themselves are open.
//!
//! Their paths hold a version made of their content, so that browsers keep them for good and never mix
//! those of two releases; the page alone is asked for anew, with an `ETag`.
//!
//! Names, tags and reasons are written by whoever registers. The page shows them as text, and its
//! Content-Security-Policy lets nothing run, load or be asked that is not callboard's own.

mod accept;
mod assets;

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use assets::{Asset, Assets};

pub use accept::wants_page;

/// Below this path are the page's files.
pub const PREFIX: &str = "/dashboard/";

/// Nothing but our own files and calls; no frames, forms or plugins.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const PROTECTION: [(HeaderName, &str); 5] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

/// The page's files, `GET /dashboard/{version}/{file}`.
pub fn routes() -> Router {
    Router::new().route("/dashboard/{version}/{file}", get(file))
}

/// The page itself, or 304 for a browser that has it.
pub fn page(headers: &HeaderMap) -> Response {
    let assets = Assets::embedded();
    let mut response = tagged(assets.page(), assets.version(), headers);
    let vary = HeaderValue::from_static("Accept");
    response.headers_mut().insert(header::VARY, vary);
    response
}

async fn file(Path((version, name)): Path<(String, String)>, headers: HeaderMap) -> Response {
    let assets = Assets::embedded();
    let Some(asset) = assets.file(&name) else {
        let text = "there is no such file of the dashboard (expected one that GET / names)\n";
        return protected((StatusCode::NOT_FOUND, text).into_response());
    };
    if version != assets.version() {
        // A page of another release asks, as one process takes another's place.
        return tagged(asset, assets.version(), &headers);
    }
    let for_good = HeaderValue::from_static("public, max-age=31536000, immutable");
    let mut response = whole(asset);
    (response.headers_mut()).insert(header::CACHE_CONTROL, for_good);
    response
}

/// `asset`, which is asked for anew each time.
fn tagged(asset: &Asset, version: &str, headers: &HeaderMap) -> Response {
    let tag = format!("\"{version}\"");
    let known = headers.get_all(header::IF_NONE_MATCH).iter();
    let is_known = known.filter_map(|value| value.to_str().ok()).any(|value| {
        let mut tags = value.split(',').map(str::trim);
        tags.any(|known| known == "*" || known.trim_start_matches("W/") == tag)
    });
    let mut response = if is_known {
        protected(StatusCode::NOT_MODIFIED.into_response())
    } else {
        whole(asset)
    };
    let headers = response.headers_mut();
    let anew = HeaderValue::from_static("no-cache");
    headers.insert(header::CACHE_CONTROL, anew);
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}

fn whole(asset: &Asset) -> Response {
    let kind = [(header::CONTENT_TYPE, asset.kind)];
    protected((kind, asset.text.clone()).into_response())
}

fn protected(mut response: Response) -> Response {
    for (name, value) in PROTECTION {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn files_are_kept_for_good_under_their_own_version_only() {
        let version = Assets::embedded().version().to_owned();
        let ask = |version: &str, name: &str| {
            file(
                Path((version.to_owned(), name.to_owned())),
                HeaderMap::new(),
            )
        };
        let response = ask(&version, "app.js").await;
        let cached = &response.headers()[header::CACHE_CONTROL];
        assert!(cached.to_str().unwrap().contains("immutable"));
        assert_eq!(
            response.headers()[header::CONTENT_TYPE],
            "text/javascript; charset=utf-8"
        );
        let response = ask("0123456789abcdef", "app.js").await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-cache");
        for name in ["index.html", "../app.js", "", "app.js/"] {
            assert_eq!(ask(&version, name).await.status(), StatusCode::NOT_FOUND);
        }
    }

    #[test]
    fn a_browser_that_has_the_page_is_told_so() {
        let first = page(&HeaderMap::new());
        assert_eq!(first.status(), StatusCode::OK);
        assert_eq!(first.headers()[header::CONTENT_SECURITY_POLICY], POLICY);
        let tag = first.headers()[header::ETAG].clone();
        let again = HeaderMap::from_iter([(header::IF_NONE_MATCH, tag)]);
        assert_eq!(page(&again).status(), StatusCode::NOT_MODIFIED);
        let other = HeaderMap::from_iter([(
            header::IF_NONE_MATCH,
            HeaderValue::from_static("\"0123456789abcdef\""),
        )]);
        assert_eq!(page(&other).status(), StatusCode::OK);
    }
}
