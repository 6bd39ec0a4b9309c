//! The part of a request that the hash algorithms hash.

use std::net::IpAddr;

use http::header;

use crate::balance::{HashOn, hash};
use crate::fields::Fields;

use super::asked::Asked;

/// The draw that decides the request's side of a split: the same for all requests that are alike in
/// the part given, chance for those without it and where none is given.
pub(super) fn draw(split_on: Option<&HashOn>, asked: Asked<'_>, client: IpAddr) -> u64 {
    split_on.map_or_else(|| fastrand::u64(..), |part| of(part, asked, client))
}

/// The request's hash. A request without the part asked for gets a random one, so that such
/// requests are spread instead of all falling to one instance.
pub(super) fn of(hash_on: &HashOn, asked: Asked<'_>, client: IpAddr) -> u64 {
    let hashed = match hash_on {
        HashOn::Header(name) => asked.fields.first(name).map(hash::of),
        HashOn::Cookie(name) => cookie(asked.fields, name).map(hash::of),
        HashOn::Query(name) => query(asked.query(), name).map(|v| hash::of(v.as_bytes())),
        HashOn::Path => Some(hash::of(asked.path().as_bytes())),
        HashOn::ClientIp => Some(of_client(client)),
    };
    hashed.unwrap_or_else(|| fastrand::u64(..))
}

/// Whether the request has the part that is hashed.
pub(super) fn has(hash_on: &HashOn, asked: Asked<'_>) -> bool {
    match hash_on {
        HashOn::Header(name) => asked.fields.has(name),
        HashOn::Cookie(name) => cookie(asked.fields, name).is_some(),
        HashOn::Query(name) => query(asked.query(), name).is_some(),
        HashOn::Path | HashOn::ClientIp => true,
    }
}

/// The hash of a client's address.
pub(super) fn of_client(client: IpAddr) -> u64 {
    match client {
        IpAddr::V4(address) => hash::of(&address.octets()),
        IpAddr::V6(address) => hash::of(&address.octets()),
    }
}

fn cookie<'a>(fields: Fields<'a>, name: &str) -> Option<&'a [u8]> {
    fields
        .all(&header::COOKIE)
        .flat_map(|line| line.split(|&byte| byte == b';'))
        .find_map(|pair| {
            let pair = pair.trim_ascii();
            let rest = pair.strip_prefix(name.as_bytes())?;
            rest.strip_prefix(b"=")
        })
}

/// Compared as written: a value counts as different when it is escaped differently.
fn query<'a>(query: Option<&'a str>, name: &str) -> Option<&'a str> {
    query?.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use pingora::http::RequestHeader;

    use super::*;

    fn of(hash_on: &HashOn, request: &RequestHeader, client: IpAddr) -> u64 {
        super::of(hash_on, Asked::of_head(request), client)
    }

    fn request(path: &str, headers: &[(&'static str, &str)]) -> RequestHeader {
        let mut request = RequestHeader::build("GET", path.as_bytes(), None).unwrap();
        for &(name, value) in headers {
            request.append_header(name, value).unwrap();
        }
        request
    }

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn equal_parts_hash_alike_wherever_they_stand() {
        let cookie = HashOn::Cookie("user".to_owned());
        let first = of(&cookie, &request("/", &[("Cookie", "a=1; user=7")]), CLIENT);
        let second = of(
            &cookie,
            &request("/x", &[("Cookie", "b=2"), ("Cookie", "user=7;c=3")]),
            CLIENT,
        );
        assert_eq!(first, second);
        let query = HashOn::Query("user".to_owned());
        assert_eq!(
            of(&query, &request("/?user=7&b=1", &[]), CLIENT),
            of(&query, &request("/y?superuser=1&user=7", &[]), CLIENT),
        );
        let path = HashOn::Path;
        assert_eq!(
            of(&path, &request("/a?x=1", &[]), CLIENT),
            of(&path, &request("/a?x=2", &[]), CLIENT)
        );
    }

    #[test]
    fn requests_without_the_part_are_spread() {
        let header = HashOn::Header(http::HeaderName::from_static("x-user"));
        let bare = request("/", &[]);
        assert_ne!(of(&header, &bare, CLIENT), of(&header, &bare, CLIENT));
    }
}
