//! Requests as HTTP/2 has them.

use http::{Uri, Version, header};
use pingora::http::RequestHeader;
use pingora::{ErrorType, OkOrErr, OrErr, Result};

/// Turns a request of HTTP/1.1 without hop-by-hop headers into one of HTTP/2 (RFC 9113, section
/// 8.3.1); `secure` says whether it goes over TLS.
///
/// # Errors
/// When its `Host` is missing or no host, or its target is no path.
pub fn to_http2(request: &mut RequestHeader, secure: bool) -> Result<()> {
    let host = request.remove_header(&header::HOST);
    let host = host.or_err(ErrorType::InvalidHTTPHeader, "no Host to send it to")?;
    let target = request.uri.path_and_query().cloned();
    let uri = Uri::builder()
        .scheme(if secure { "https" } else { "http" })
        .authority(host.as_bytes())
        .path_and_query(target.map_or_else(|| "/".to_owned(), |target| target.to_string()))
        .build()
        .or_err(ErrorType::InvalidHTTPHeader, "its host or target is none")?;
    request.set_uri(uri);
    request.set_version(Version::HTTP_2);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_becomes_the_authority_and_the_scheme_says_how_it_goes() {
        for (secure, expected) in [
            (false, "http://web.callboard:8080/a%20b?c=/d"),
            (true, "https://web.callboard:8080/a%20b?c=/d"),
        ] {
            let mut request = RequestHeader::build("GET", b"/a%20b?c=/d", None).unwrap();
            assert!(to_http2(&mut request.clone(), secure).is_err());
            request.insert_header("Host", "web.callboard:8080").unwrap();
            to_http2(&mut request, secure).unwrap();
            assert_eq!(request.uri.to_string(), expected);
            assert!(!request.headers.contains_key("Host"));
            assert_eq!(request.version, Version::HTTP_2);
        }
    }
}
