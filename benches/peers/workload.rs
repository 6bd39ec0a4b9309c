//! What the proxies are asked to do.

use crate::load::websocket;

/// The length of a small answer's body and of a WebSocket's messages, of a large answer's, and of what
/// is posted.
pub(crate) const SMALL: usize = 128;
pub(crate) const LARGE: usize = 64 << 10;
pub(crate) const POSTED: usize = 16 << 10;

/// How many streams each connection of HTTP/2 has at a time.
const STREAMS: usize = 32;

/// How clients speak.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Client {
    Http1,
    /// HTTP/1.1 with a connection for every request.
    Fresh,
    Tls,
    Http2,
    WebSocket,
}

impl Client {
    pub(crate) fn is_secure(self) -> bool {
        matches!(self, Self::Tls | Self::Http2)
    }

    /// How many lanes share a connection.
    pub(crate) fn streams(self) -> usize {
        if self == Self::Http2 { STREAMS } else { 1 }
    }
}

/// Who takes part.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    Everybody,
    /// Those that people choose for speed.
    Main,
    /// callboard in several ways, as nobody else can do it.
    Callboard,
}

/// One kind of load, and the setting for it.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) client: Client,
    /// The request line's method and path.
    line: &'static str,
    pub(crate) field: Field,
    /// How many exchanges are under way at a time.
    pub(crate) lanes: usize,
    /// How many connections are open beside them, on which nobody says anything.
    pub(crate) idle: usize,
    pub(crate) endpoints: usize,
    /// Whether each request is logged, to a file.
    pub(crate) is_logged: bool,
}

/// What the others differ from.
const GET: Workload = Workload {
    name: "get",
    title: "GET, 128 B",
    client: Client::Http1,
    line: "GET /small",
    field: Field::Everybody,
    lanes: 64,
    idle: 0,
    endpoints: 2,
    is_logged: false,
};

const SMALL_GET: Workload = Workload {
    field: Field::Main,
    ..GET
};

/// All of them, the main one first.
pub(crate) const WORKLOADS: &[Workload] = &[
    GET,
    Workload {
        name: "large",
        title: "GET, 64 KiB",
        line: "GET /large",
        ..SMALL_GET
    },
    Workload {
        name: "post",
        title: "POST, 16 KiB",
        line: "POST /small",
        ..SMALL_GET
    },
    Workload {
        name: "connect",
        title: "a connection for each request",
        client: Client::Fresh,
        ..SMALL_GET
    },
    Workload {
        name: "tls",
        title: "TLS, kept connections",
        client: Client::Tls,
        ..SMALL_GET
    },
    Workload {
        name: "http2",
        title: "HTTP/2 over TLS, 32 streams a connection",
        client: Client::Http2,
        lanes: 4 * STREAMS,
        ..SMALL_GET
    },
    Workload {
        name: "websocket",
        title: "WebSocket echo, 128 B a message",
        client: Client::WebSocket,
        line: "GET /socket",
        ..SMALL_GET
    },
    Workload {
        name: "idle",
        title: "1,000 idle connections beside 64 busy ones",
        idle: 1_000,
        ..SMALL_GET
    },
    Workload {
        name: "endpoints-1",
        title: "1 endpoint",
        endpoints: 1,
        ..SMALL_GET
    },
    Workload {
        name: "endpoints-10",
        title: "10 endpoints",
        endpoints: 10,
        ..SMALL_GET
    },
    Workload {
        name: "endpoints-10000",
        title: "10,000 endpoints",
        endpoints: 10_000,
        ..SMALL_GET
    },
    Workload {
        name: "log",
        title: "access log to a file",
        is_logged: true,
        ..SMALL_GET
    },
    Workload {
        name: "changes",
        title: "100 membership changes a second",
        field: Field::Callboard,
        ..GET
    },
];

impl Workload {
    /// Whether it is the one that is looked at from all sides.
    pub(crate) fn is_main(&self) -> bool {
        self.name == GET.name
    }

    /// A request as it goes over the wire.
    pub(crate) fn ask(&self) -> Vec<u8> {
        if self.client == Client::WebSocket {
            return websocket::ASK.into();
        }
        let mut ask = format!(
            "{} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\nAccept: */*\r\n",
            self.line
        );
        if self.client == Client::Fresh {
            ask += "Connection: close\r\n";
        }
        let posted = if self.line.starts_with("POST") {
            POSTED
        } else {
            0
        };
        if posted > 0 {
            ask += &format!("Content-Type: text/plain\r\nContent-Length: {posted}\r\n");
        }
        ask += "\r\n";
        let mut ask = ask.into_bytes();
        ask.resize(ask.len() + posted, b'x');
        ask
    }

    /// How long the body of an answer has to be.
    pub(crate) fn answered(&self) -> usize {
        if self.line.ends_with("/large") {
            LARGE
        } else {
            SMALL
        }
    }
}
