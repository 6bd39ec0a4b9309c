//! Traces go on through callboard, and a collector gets a span of each request and of each try.

mod collector;

use serde_json::{Value, json};

use crate::support::grpc::{Maker, Server};
use crate::support::scripted::{Scripted, Step};
use crate::support::{Callboard, Instance, Setup, eventually, peers};
use collector::{CLIENT, Collector, ERROR, SERVER, Span};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A callboard with these settings of traces and defaults.
fn setup(traces: &str, defaults: &str) -> Setup {
    Setup::default().registry("admission: trust").top(&format!(
        "telemetry: {{traces: {traces}}}\ndefaults: {{check: off, outlier: off, {defaults}}}"
    ))
}

/// One that samples all there is, and its collector; `None` skips `test`.
fn traced(test: &str, defaults: &str) -> Option<(Callboard, Collector)> {
    let collector = Collector::start(test)?;
    let traces = format!("{{endpoint: \"{}\", sample: 100%}}", collector.url());
    Some((setup(&traces, defaults).start(), collector))
}

/// Sends a request with these headers, of which one is its id, and gives what its instance echoes.
async fn ask(callboard: &Callboard, path: &str, headers: &[(&'static str, &str)]) -> Value {
    let mut request = callboard.client.get(callboard.url(path));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap().json().await.unwrap()
}

/// What an instance was sent as its parent: trace, span and flags.
fn parent(echo: &Value) -> (String, String, String) {
    let header = echo["headers"]["traceparent"].as_str();
    let header = header.unwrap_or_else(|| panic!("no parent in {echo}"));
    let parts: Vec<_> = header.split('-').collect();
    assert_eq!((parts.len(), parts[0]), (4, "00"), "{header}");
    (parts[1].into(), parts[2].into(), parts[3].into())
}

#[tokio::test]
async fn a_request_has_a_span_and_its_try_one_below_which_the_instance_sees() {
    let Some((callboard, collector)) = traced("a trace begun here", "") else {
        return;
    };
    let web = Instance::start("web-1");
    callboard.register("web", &web, json!({})).await;
    let headers = [
        ("x-request-id", "r-1"),
        ("user-agent", "test/1"),
        ("tracestate", "of=nothing"),
    ];
    let echo = ask(&callboard, "/web/a/b?secret=1", &headers).await;
    let spans = collector.request("r-1").await;
    let [server, client] = &spans[..] else {
        panic!("{spans:?}");
    };
    assert_eq!((server.kind, client.kind), (SERVER, CLIENT));
    assert_eq!(server.parent, "");
    let parent = parent(&echo);
    assert_eq!(
        parent,
        (client.trace.clone(), client.id.clone(), "03".into())
    );
    assert!(echo["headers"]["tracestate"].is_null(), "{echo}");
    for (name, value) in [
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("url.path", "/web/a/b"),
        ("url.scheme", "http"),
        ("client.address", "127.0.0.1"),
        ("server.address", "127.0.0.1"),
        ("network.protocol.version", "1.1"),
        ("user_agent.original", "test/1"),
        ("callboard.service", "web"),
        ("error.type", ""),
    ] {
        assert_eq!(&server[name], value, "{name}");
    }
    assert_eq!(server.name, format!("GET {}", &server["callboard.route"]));
    for (name, value) in [
        ("server.address", "127.0.0.1"),
        ("server.port", web.port.to_string().as_str()),
        ("url.full", &format!("http://127.0.0.1:{}/a/b", web.port)),
        ("callboard.instance", "web-1"),
        ("callboard.outcome", "answered"),
        ("callboard.connection.reused", "false"),
        ("http.response.status_code", "200"),
        ("http.request.resend_count", ""),
    ] {
        assert_eq!(&client[name], value, "{name}");
    }
    assert_eq!((server.status, client.status), (0, 0));
    assert_eq!(server.resource["service.name"], "callboard");
    assert_eq!(server.resource["service.instance.id"].len(), 36);
    assert!(!server.resource["host.name"].is_empty());
    assert!(!format!("{spans:?}").contains("secret"));
}

#[tokio::test]
async fn a_clients_trace_goes_on_as_it_says() {
    let Some(collector) = Collector::start("a client's trace") else {
        return;
    };
    let traces = format!("{{endpoint: \"{}\", sample: 0%}}", collector.url());
    let callboard = setup(&traces, "").start();
    let web = Instance::start("web-1");
    callboard.register("web", &web, json!({})).await;

    let unsampled = SAMPLED.replace("-01", "-00");
    let headers = [("x-request-id", "no"), ("traceparent", unsampled.as_str())];
    let (trace, span, flags) = parent(&ask(&callboard, "/web/", &headers).await);
    assert_eq!((trace.as_str(), flags.as_str()), (TRACE, "00"));
    assert_ne!(span, "00f067aa0ba902b7");

    let (trace, _, flags) = parent(&ask(&callboard, "/web/", &[("x-request-id", "new")]).await);
    assert_ne!(trace, TRACE);
    assert_eq!(flags, "02");

    let headers = [
        ("x-request-id", "yes"),
        ("traceparent", SAMPLED),
        ("tracestate", "a=1,b=2"),
    ];
    let echo = ask(&callboard, "/web/", &headers).await;
    assert_eq!(echo["headers"]["tracestate"], "a=1,b=2");
    let spans = collector.request("yes").await;
    assert_eq!(
        parent(&echo),
        (TRACE.into(), spans[1].id.clone(), "01".into())
    );
    assert_eq!(spans[0].parent, "00f067aa0ba902b7");
    assert_eq!(spans[0].state, "a=1,b=2");
    // What came before it would have been exported before it.
    assert_eq!(collector.spans().len(), 2);
}

#[tokio::test]
async fn a_try_that_fails_is_followed_by_another_span() {
    let Some((callboard, collector)) = traced("a second try", "balance: round_robin") else {
        return;
    };
    let alive = Instance::start("alive");
    let dead = Instance::dead("dead");
    for instance in [&alive, &dead] {
        callboard.register("web", instance, json!({})).await;
    }
    let echoes = [
        ask(&callboard, "/web/", &[("x-request-id", "0")]).await,
        ask(&callboard, "/web/", &[("x-request-id", "1")]).await,
    ];
    let mut retried = 0;
    for (number, echo) in echoes.iter().enumerate() {
        let spans = collector.request(&number.to_string()).await;
        assert_eq!(parent(echo).1, spans.last().unwrap().id);
        let [server, first, second] = &spans[..] else {
            continue;
        };
        retried += 1;
        assert_eq!(server.status, 0);
        assert_eq!(&first["callboard.instance"], "dead");
        assert_eq!(&first["callboard.outcome"], "failed");
        assert_eq!(&first["error.type"], "connection_refused");
        assert_eq!(first.status, ERROR);
        assert_eq!(&second["callboard.instance"], "alive");
        assert_eq!(&second["http.request.resend_count"], "1");
        assert_eq!(second.status, 0);
    }
    assert_eq!(retried, 1);
}

#[tokio::test]
async fn each_try_of_a_hedge_has_its_own_span() {
    let hedge = "balance: round_robin, retry: {hedge: {after: 20ms}}";
    let Some((callboard, collector)) = traced("a hedge", hedge) else {
        return;
    };
    let [slow, quick] = ["slow", "quick"].map(Instance::start);
    for instance in [&slow, &quick] {
        callboard.register("web", instance, json!({})).await;
    }
    quick.release(100);
    let mut hedged = 0;
    for number in ["0", "1"] {
        let echo = ask(&callboard, "/web/held", &[("x-request-id", number)]).await;
        let spans = collector.request(number).await;
        let winner = spans
            .iter()
            .find(|span| &span["callboard.instance"] == "quick");
        let winner = winner.unwrap();
        assert_eq!(
            parent(&echo),
            (winner.trace.clone(), winner.id.clone(), "03".into())
        );
        assert_eq!(&winner["callboard.outcome"], "answered");
        assert!(!winner["callboard.connection.reused"].is_empty());
        let [_, first, second] = &spans[..] else {
            continue;
        };
        hedged += 1;
        assert_eq!(&first["callboard.instance"], "slow");
        assert_eq!(&first["callboard.outcome"], "cancelled");
        assert_eq!((first.status, second.status), (0, 0));
        assert_ne!(first.id, second.id);
    }
    assert!(hedged >= 1);
}

#[tokio::test]
async fn a_hedge_that_loses_both_tries_shows_both() {
    let hedge = "balance: round_robin, retry: {hedge: {after: 10s}, on: [connect]}";
    let Some((callboard, collector)) = traced("a hedge in vain", hedge) else {
        return;
    };
    for instance in ["dead-1", "dead-2"].map(Instance::dead) {
        callboard.register("web", &instance, json!({})).await;
    }
    let request = callboard.client.get(callboard.url("/web/"));
    let reply = request.header("x-request-id", "vain").send().await.unwrap();
    assert_eq!(reply.status(), 502);
    let spans = collector.request("vain").await;
    assert_eq!(spans.len(), 3, "{spans:?}");
    for span in &spans {
        assert_eq!(span.status, ERROR);
        assert_eq!(&span["error.type"], "connection_refused");
    }
}

#[tokio::test]
async fn a_request_without_an_instance_has_one_span_that_says_why() {
    let Some(collector) = Collector::start("a failure without an instance") else {
        return;
    };
    let traces = format!("{{endpoint: \"{}\", sample: 100%}}", collector.url());
    let callboard = setup(&traces, "").top("services: {web: {}}").start();
    for (path, id, status) in [("/web/", "503", 503), ("/nothing/", "404", 404)] {
        let request = callboard.client.get(callboard.url(path));
        let reply = request.header("x-request-id", id).send().await.unwrap();
        assert_eq!(reply.status(), status);
    }
    let unavailable = collector.request("503").await;
    assert_eq!((unavailable.len(), unavailable[0].status), (1, ERROR));
    assert_ne!(&unavailable[0]["error.type"], "");
    let unknown = collector.request("404").await;
    assert_eq!((unknown.len(), unknown[0].status), (1, 0));
    assert_eq!(unknown[0].name, "GET");
}

#[tokio::test]
async fn a_call_of_grpc_says_what_it_is_and_ended_with() {
    let test = "spans of gRPC";
    let Some((callboard, collector)) = traced(test, "") else {
        return;
    };
    let Some(server) = Server::start(Maker::Go, "peer-1", test) else {
        return;
    };
    server.register(&callboard, json!({})).await;
    for (method, message) in [("Echo", "hello"), ("Fail", "13 broken")] {
        Maker::Go.call(&callboard, &["-method", method, message]);
    }
    let spans = |method: &'static str| {
        let collector = &collector;
        async move {
            eventually(&format!("the spans of {method} come"), || async {
                let spans = collector.spans();
                let full = format!("callboard.test.Peer/{method}");
                let is_it = |span: &&Span| span["rpc.method"] == full;
                let server = spans.iter().find(is_it)?.clone();
                let client = spans.iter().find(|span| span.parent == server.id)?.clone();
                Some((server, client))
            })
            .await
        }
    };
    let (server, client) = spans("Echo").await;
    assert_eq!(&server["rpc.system.name"], "grpc");
    assert_eq!(&server["rpc.response.status_code"], "OK");
    assert_eq!(&server["network.protocol.version"], "2");
    assert_eq!((server.status, client.status), (0, 0));
    let (server, client) = spans("Fail").await;
    assert_eq!(&server["rpc.response.status_code"], "INTERNAL");
    assert_eq!(&server["error.type"], "INTERNAL");
    assert_eq!((server.status, client.status), (ERROR, ERROR));
}

#[tokio::test]
async fn an_upgrade_tells_its_instance_too() {
    let Some((callboard, collector)) = traced("an upgrade", "") else {
        return;
    };
    let answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n";
    let web = Scripted::always("web-1", [Step::Say(answer), Step::Stall]).await;
    callboard.register_scripted("web", &web).await;
    let request = callboard.client.get(callboard.url("/web/"));
    let request = request
        .header("connection", "upgrade")
        .header("upgrade", "x");
    let reply = request.header("x-request-id", "up").send().await.unwrap();
    assert_eq!(reply.status(), 101);
    drop(reply);
    let spans = collector.request("up").await;
    assert_eq!(spans.len(), 2);
    assert_eq!(&spans[1]["http.response.status_code"], "101");
    let expected = format!("traceparent: 00-{}-{}-03", spans[1].trace, spans[1].id);
    assert!(
        web.heads()[0].contains(&expected),
        "{expected} {:?}",
        web.heads()
    );
}

#[tokio::test]
async fn a_copy_belongs_to_the_request_itself() {
    let Some(collector) = Collector::start("a mirrored request") else {
        return;
    };
    let traces = format!("{{endpoint: \"{}\", sample: 100%}}", collector.url());
    let route =
        "routes: [{match: {path: /shop}, service: web, mirror: {service: shadow, share: 100%}}]";
    let callboard = setup(&traces, "").top(route).start();
    let web = Instance::start("web-1");
    callboard.register("web", &web, json!({})).await;
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let shadow = Scripted::always("shadow-1", [Step::Say(answer)]).await;
    callboard.register_scripted("shadow", &shadow).await;
    ask(&callboard, "/shop", &[("x-request-id", "copied")]).await;
    let spans = collector.request("copied").await;
    let expected = format!("traceparent: 00-{}-{}-03", spans[0].trace, spans[0].id);
    eventually("the copy comes", || async {
        (shadow.hits() > 0).then_some(())
    })
    .await;
    assert!(
        shadow.heads()[0].contains(&expected),
        "{expected} {:?}",
        shadow.heads()
    );
}

#[tokio::test]
async fn without_traces_what_clients_say_passes_through() {
    let hedge = "retry: {hedge: {after: 10s}}";
    for defaults in ["", hedge] {
        let callboard = setup("off", defaults).start();
        let web = Instance::start("web-1");
        callboard.register("web", &web, json!({})).await;
        let headers = [("traceparent", "whatever"), ("tracestate", "a=1")];
        let echo = ask(&callboard, "/web/", &headers).await;
        assert_eq!(echo["headers"]["traceparent"], "whatever");
        assert_eq!(echo["headers"]["tracestate"], "a=1");
        let echo = ask(&callboard, "/web/", &[]).await;
        assert!(echo["headers"]["traceparent"].is_null());
    }
}

#[tokio::test]
async fn a_collector_that_is_down_costs_spans_and_nothing_else() {
    let traces = format!(
        "{{endpoint: \"http://127.0.0.1:{}\", sample: 100%}}",
        peers::free_port()
    );
    let callboard = setup(&traces, "").log("info").start();
    let web = Instance::start("web-1");
    callboard.register("web", &web, json!({})).await;
    for _ in 0..50 {
        assert_eq!(callboard.get("/web/").await.status(), 200);
    }
    eventually("all spans are counted as dropped", || async {
        (figure(&callboard, "dropped").await == 100).then_some(())
    })
    .await;
    assert_eq!(figure(&callboard, "exported").await, 0);
    callboard.get("/web/").await;
    eventually("the next are counted too", || async {
        (figure(&callboard, "dropped").await == 102).then_some(())
    })
    .await;
    let log = callboard.log();
    assert_eq!(log.matches("spans were lost").count(), 1, "{log}");
}

/// How many spans were, as the figures say.
async fn figure(callboard: &Callboard, what: &str) -> u64 {
    let url = format!("{}/metrics", callboard.registry);
    let page = callboard.client.get(url).send().await.unwrap();
    let page = page.text().await.unwrap();
    let name = format!("callboard_trace_spans_{what}_total ");
    let line = page.lines().find_map(|line| line.strip_prefix(&name));
    line.unwrap_or_else(|| panic!("no {name} in {page}"))
        .parse()
        .unwrap()
}

#[tokio::test]
async fn a_reload_leads_to_another_collector_and_loses_nothing() {
    let test = "a reload";
    let (Some(first), Some(second)) = (Collector::start(test), Collector::start(test)) else {
        return;
    };
    let traces =
        |of: &Collector| format!("{{endpoint: \"{}\", sample: 100%, name: edge}}", of.url());
    let callboard = setup(&traces(&first), "").log("info").start();
    let web = Instance::start("web-1");
    callboard.register("web", &web, json!({})).await;
    ask(&callboard, "/web/", &[("x-request-id", "before")]).await;
    callboard.rewrite(&setup(&traces(&second), ""));
    callboard.reload("reloaded").await;
    ask(&callboard, "/web/", &[("x-request-id", "after")]).await;
    let before = first.request("before").await;
    assert_eq!(before[0].resource["service.name"], "edge");
    second.request("after").await;
    assert_eq!((first.spans().len(), second.spans().len()), (2, 2));
    callboard.rewrite(&setup("off", ""));
    callboard.reload("reloaded").await;
    let echo = ask(&callboard, "/web/", &[]).await;
    assert!(echo["headers"]["traceparent"].is_null());
}

#[tokio::test]
async fn the_last_spans_are_exported_before_the_process_ends() {
    let Some((mut callboard, collector)) = traced("the end of the process", "") else {
        return;
    };
    let web = Instance::start("web-1");
    callboard.register("web", &web, json!({})).await;
    ask(&callboard, "/web/", &[("x-request-id", "last")]).await;
    callboard.signal("TERM");
    assert!(callboard.ended().await.success());
    assert_eq!(collector.request("last").await.len(), 2);
}
