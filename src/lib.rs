//! callboard: a service registry and the load-balancing proxy in front of it, in one binary.
//!
//! Services in any language sign in over HTTP and keep a lease; clients know one address; callboard
//! sends every request to a live instance. This page is the map of the code.
//!
//! # Two flows
//!
//! ```text
//! registration   HTTP → api → Registry: command → Event → Store → state → Snapshot@Revision
//!                                                                               │ published
//! request        listener → Routes::find → Cluster::pick → Pick → instance      ◀┘ reconciled
//! ```
//!
//! *Registration.* [`api`] parses a request into a [`Command`](registry::command::Command). The
//! registry's one writer validates it against the state, gets an
//! [`Event`](registry::event::Event), keeps it in the [`Store`](registry::store::Store), and
//! publishes an immutable [`Snapshot`](registry::snapshot::Snapshot) under the next revision.
//! Clusters reconcile to it, and only then is the caller answered: an acknowledged registration is
//! routable and outlives the process, an acknowledged removal gets no further request. Heartbeats do
//! none of this: they store a deadline in the lease's atomic.
//!
//! *Silence.* A lease that runs out makes its member a suspect. The registry asks its observer, the
//! clusters; they probe and say what they found; and the registry's `suspects` weighs that with the
//! lease and with what else its service is losing. Whoever goes leaves an event that says why.
//!
//! *Request.* [`proxy`] finds a route, the route's service has a [`Cluster`](cluster::Cluster), and
//! the cluster's picker, behind one atomic pointer, chooses an endpoint. The
//! [`Pick`](cluster::pick::Pick) counts it as in flight until it is dropped. A try that fails goes
//! round again, if the settings and the budget let it, with the endpoints tried so far, which are not
//! picked twice.
//!
//! *Two paths.* What a connection of HTTP/1.1 brings is served on a lean path of callboard's own
//! (`proxy::lean`) if it is as simple as most requests are, and by Pingora's proxy otherwise. Both go by the
//! same decisions; they differ in who reads and writes.
//!
//! *Connections.* A [`Listener`](proxy::listener::Listener) says what becomes of its connections
//! ([`proxy::connection`]): a PROXY header is read, TLS is spoken, and then HTTP/1.1, HTTP/2, or bytes
//! that go to an instance as they are ([`proxy::tcp`]). A request that is answered with another
//! protocol leaves HTTP behind as well (`proxy::tunnel`).
//!
//! *Telling.* What is counted is counted where it happens, in plain atomics ([`figures`]). Of a request
//! whose story somebody wants, drawn when its head has come, the proxy keeps a trail, and at its end
//! [`telemetry`] takes it to the access log, the traces and the ring of explanations, none of which a
//! request waits for. [`admin`] and [`api`] show all of it, `dashboard` draws it.
//!
//! # Layout
//!
//! ```text
//! names       ServiceName, InstanceId: parsed once, at the edge
//! address     where something listens: an IP address and port, or a Unix socket
//! units       durations and moments as people write them
//! files       what a configuration names, read without waiting
//! instance    what registers, and the check it asks for
//! grpc        the statuses of gRPC
//! sse         server-sent events out of bytes
//! tls         certificates, and whom callboard believes
//! fields      the header fields of a message, as a map or as the bytes that came
//! figures     what is counted
//! acme        certificates from an ACME server
//! dial        connections to instances
//! registry    who is signed in: one writer, snapshots, leases and their expiry, stores and journals
//! pull        the membership of another callboard, mirrored
//! endpoint    one dialable member and its live load
//! balance     the pickers, one file an algorithm
//! health      probes, what their answers and the requests' add up to, and availability
//! cluster     one service as a target: reconciles with the registry, picks for requests
//! route       host, path, method and headers → service, and the splits in force
//! telemetry   what is told of requests: access log, traces, explanations
//! proxy       the request path on Pingora
//! dashboard   the page for operators, as files
//! api         the control plane's HTTP edges
//! admin       what operators and orchestrators ask of callboard itself
//! client      asking another callboard's registry
//! config      the YAML file; a `Config` is valid by construction
//! plan        what another configuration would change
//! simulate    the pickers under a load that is made up, in virtual time
//! server      the only wiring, and one process taking another's place
//! prove       deploys and crashes under load, counted; knows callboard from outside only
//! cli         the command line
//! ```
//!
//! A module imports only from those above it, and those that stand side by side (registry and pull
//! beside endpoint, balance and health; balance beside health; cluster beside route; api beside proxy,
//! admin and client; plan beside simulate; server beside prove) never import each other. `tests/architecture.rs` holds the
//! code to it.
//!
//! Architecture invariant: a membership change touches no other service, and in its own service no
//! other instance's connections, load, verdict or probes.
//!
//! Architecture invariant: the request path takes no lock, and picking allocates nothing. Only a
//! request that has to wait does either, and whoever frees what it waits for; and the request whose
//! failure ejects an instance, or that brings it back, takes its cluster's lock. The requests
//! that share a connection of HTTP/2 share one with each other.
//!
//! Architecture invariant: no health mechanism alone can empty a cluster; see the panic threshold,
//! the quota of ejections, and the suspects of the registry.
//!
//! Architecture invariant: wall-clock time is for people. Decisions use monotonic time, which is
//! passed in.
//!
//! Architecture invariant: nothing a registrant sends reaches another client unparsed.
//!
//! Architecture invariant: Pingora's types appear at the edges only: `dial`, `proxy`, `server` and the
//! probes.

pub mod acme;
pub mod address;
pub mod admin;
pub mod api;
pub mod balance;
pub mod cli;
pub mod client;
pub mod cluster;
pub mod config;
pub mod dashboard;
pub mod dial;
pub mod endpoint;
pub mod fields;
pub mod figures;
pub mod files;
pub mod grpc;
pub mod health;
pub mod instance;
pub mod names;
pub mod plan;
pub mod prove;
pub mod proxy;
pub mod pull;
pub mod registry;
pub mod route;
pub mod server;
pub mod simulate;
pub mod sse;
pub mod telemetry;
pub mod tls;
pub mod units;
