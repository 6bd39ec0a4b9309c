use super::*;

fn request(content_type: &str) -> RequestHeader {
    let mut request = RequestHeader::build("POST", b"/a.B/C", None).unwrap();
    request
        .insert_header(header::CONTENT_TYPE, content_type)
        .unwrap();
    request
}

fn response(status: u16, fields: &[(&'static str, &str)]) -> ResponseHeader {
    let mut response = ResponseHeader::build(status, None).unwrap();
    for (name, value) in fields {
        response.insert_header(*name, *value).unwrap();
    }
    response
}

fn value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap())
}

fn flavor_of(request: &RequestHeader) -> Option<Flavor> {
    Flavor::of(&request.method, (&request.headers).into())
}

fn call_of(request: &RequestHeader) -> Option<Box<Call>> {
    Call::of(&request.method, (&request.headers).into())
}

#[test]
fn a_call_is_known_by_its_content_type() {
    for (content_type, expected) in [
        ("application/grpc", Some(Flavor::Native)),
        ("application/grpc+proto", Some(Flavor::Native)),
        ("Application/gRPC;charset=utf-8", Some(Flavor::Native)),
        ("application/grpc-web", Some(Flavor::Web)),
        ("application/grpc-web+json", Some(Flavor::Web)),
        ("application/grpc-web-text", Some(Flavor::WebText)),
        ("application/grpc-web-text+proto", Some(Flavor::WebText)),
        ("application/grpc-webby", None),
        ("application/grpcs", None),
        ("application/json", None),
        ("", None),
    ] {
        assert_eq!(
            flavor_of(&request(content_type)),
            expected,
            "{content_type}"
        );
    }
    let mut get = request("application/grpc");
    get.set_method(Method::GET);
    assert_eq!(flavor_of(&get), None);
}

#[test]
fn a_call_has_the_time_its_client_gives_it_and_no_other_limit_but_total() {
    let second = Duration::from_secs(1);
    for (given, total, expected) in [
        (None, None, None),
        (None, Some(5 * second), Some(5 * second)),
        (Some("2S"), None, Some(2 * second)),
        (Some("2S"), Some(5 * second), Some(2 * second)),
        (Some("9S"), Some(5 * second), Some(5 * second)),
        (Some("soon"), None, None),
        (Some("99999999H"), None, None),
    ] {
        let mut request = request("application/grpc");
        if let Some(given) = given {
            request.insert_header(timeout::HEADER, given).unwrap();
        }
        let mut timeouts = Timeouts {
            total,
            ..Timeouts::default()
        };
        call_of(&request).unwrap().govern(&mut timeouts);
        assert_eq!(timeouts.total, expected, "{given:?} {total:?}");
        assert_eq!(timeouts.request, FOREVER);
        assert_eq!(timeouts.between_bytes, FOREVER);
    }
}

#[test]
fn what_is_left_of_its_time_is_passed_on() {
    let mut request = request("application/grpc");
    request.insert_header(timeout::HEADER, "2S").unwrap();
    let mut call = call_of(&request).unwrap();
    let left = Some(Duration::from_millis(1_500));
    call.forward(&mut request, true, left).unwrap();
    assert_eq!(value(&request.headers, timeout::HEADER), Some("1500000u"));
    assert_eq!(value(&request.headers, "te"), Some("trailers"));
}

#[test]
fn grpc_web_is_translated_for_instances_that_speak_http_2_and_for_no_others() {
    for (speaks_http2, content_type, length) in [
        (true, "application/grpc+proto", None),
        (false, "application/grpc-web-text+proto", Some("8")),
    ] {
        let mut request = request("application/grpc-web-text+proto");
        request.insert_header("Content-Length", 8).unwrap();
        let mut call = call_of(&request).unwrap();
        call.forward(&mut request, speaks_http2, None).unwrap();
        assert_eq!(value(&request.headers, "content-type"), Some(content_type));
        assert_eq!(value(&request.headers, "content-length"), length);

        let mut answer = response(200, &[("content-type", "application/grpc+proto")]);
        call.answer(&mut answer).unwrap();
        let translated = value(&answer.headers, "content-type");
        let expected = ["application/grpc+proto", "application/grpc-web-text+proto"];
        assert_eq!(translated, Some(expected[usize::from(speaks_http2)]));

        let mut body = Some(Bytes::from_static(b"abc"));
        call.pass_answer(&mut body);
        assert_eq!(body.unwrap(), ["abc", "YWJj"][usize::from(speaks_http2)]);
        assert_eq!(call.close(&HeaderMap::new()).is_some(), speaks_http2);
    }
}

#[test]
fn answers_that_are_not_of_grpc_are_not_translated() {
    let mut request = request("application/grpc-web-text");
    let mut call = call_of(&request).unwrap();
    call.forward(&mut request, true, None).unwrap();
    for mut answer in [
        response(200, &[("content-type", "text/html")]),
        response(503, &[("content-type", "application/grpc")]),
        response(404, &[]),
    ] {
        let before = answer.headers.clone();
        call.answer(&mut answer).unwrap();
        let mut body = Some(Bytes::from_static(b"abc"));
        call.pass_answer(&mut body);
        assert_eq!((&answer.headers, body.unwrap()), (&before, "abc".into()));
        assert_eq!(call.close(&HeaderMap::new()), None);
    }
}

#[test]
fn each_try_reads_the_body_anew() {
    let mut request = request("application/grpc-web-text");
    let mut call = call_of(&request).unwrap();
    for _ in 0..2 {
        call.forward(&mut request, true, None).unwrap();
        let mut body = Some(Bytes::from_static(b"YWJjZ"));
        call.pass_request(&mut body, false).unwrap();
        assert_eq!(body.unwrap(), "abc");
    }
    let error = call.pass_request(&mut None, true).unwrap_err();
    assert_eq!(*error.esource(), pingora::ErrorSource::Downstream);
}

#[test]
fn a_status_in_the_head_ends_the_call() {
    let call = call_of(&request("application/grpc")).unwrap();
    let grpc = ("content-type", "application/grpc");
    for (answer, expected) in [
        (response(200, &[grpc]), Head::Open),
        (
            response(200, &[grpc, ("grpc-status", "14")]),
            Head::Over(Code::Unavailable),
        ),
        (
            response(200, &[grpc, ("grpc-status", "0")]),
            Head::Over(Code::Ok),
        ),
        (response(503, &[grpc, ("grpc-status", "14")]), Head::Foreign),
        (
            response(200, &[("content-type", "text/html")]),
            Head::Foreign,
        ),
        (response(404, &[]), Head::Foreign),
    ] {
        assert_eq!(call.read(&answer), expected, "{answer:?}");
    }
}

#[test]
fn pushback_is_a_time_or_forbids() {
    for (text, expected) in [
        ("1500", Ok(Duration::from_millis(1_500))),
        ("0", Ok(Duration::ZERO)),
        ("-1", Err(Forbidden)),
        ("later", Err(Forbidden)),
    ] {
        let mut fields = HeaderMap::new();
        fields.insert(PUSHBACK, text.parse().unwrap());
        assert_eq!(pushback(&fields), Some(expected), "{text}");
    }
    assert_eq!(pushback(&HeaderMap::new()), None);
}
