use http::HeaderMap;

use super::*;

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, value.parse().unwrap());
    }
    headers
}

const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[test]
fn a_trace_is_continued_as_its_client_says_if_it_may() {
    let headers = headers(&[(PARENT, SAMPLED), (STATE, "a=1"), (STATE, "b=2")]);
    let context = Context::begin((&headers).into(), || false, || true);
    assert_eq!(context.trace, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
    assert_eq!(context.parent, Some(0x00f0_67aa_0ba9_02b7));
    assert!(context.sampled && context.has_state && !context.random);
    let context = Context::begin((&headers).into(), || true, || false);
    assert!(!context.sampled);
    let parent = context.parent_for(7);
    assert_eq!(
        parent,
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000007-00"
    );
}

#[test]
fn what_is_no_trace_is_begun_anew_without_its_state() {
    let upper = SAMPLED.to_uppercase();
    let headers = headers(&[(PARENT, &upper), (STATE, "a=1")]);
    let context = Context::begin((&headers).into(), || true, || false);
    assert!(context.sampled && context.random && !context.has_state);
    assert!(context.parent.is_none() && context.trace != 0 && context.span != 0);
}

#[test]
fn a_trace_goes_on_without_a_state_that_is_none() {
    for (state, passed) in [("a=1", true), ("=,,;;", false)] {
        let headers = headers(&[(PARENT, SAMPLED), (STATE, state)]);
        let context = Context::begin((&headers).into(), || false, || true);
        assert_eq!(context.has_state, passed, "{state}");
        assert!(context.parent.is_some());
    }
}

#[test]
fn clients_have_only_so_many_traces_sampled() {
    let settings = Settings {
        endpoint: "http://127.0.0.1:1".to_owned(),
        sample: 0.0,
        limit: 3,
        name: "test".to_owned(),
    };
    let tracer = Tracer::default();
    tracer.configure(Some(&settings));
    let headers = headers(&[(PARENT, SAMPLED)]);
    let sampled = (0..1_000)
        .filter(|_| tracer.begin(&settings, (&headers).into()).sampled)
        .count();
    assert!((3..500).contains(&sampled), "{sampled}");
    let none = Settings {
        limit: 0,
        ..settings
    };
    tracer.configure(Some(&none));
    assert!(!tracer.begin(&none, (&headers).into()).sampled);
}
