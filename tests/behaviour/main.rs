//! callboard's behaviour, seen from outside: the real binary, real sockets, one module per
//! behaviour.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets what it did not expect should stop there"
)]

mod support;

mod access_log;
mod access_log_files;
mod acme;
mod addresses;
mod availability;
mod balancing;
mod both_ways;
mod client_certificates;
mod clients_that_leave;
mod commands;
mod commands_shell;
mod commands_steering;
mod commands_watch;
mod damage;
mod dashboard;
mod durability;
mod ejecting;
mod evidence;
mod explaining;
mod forwarding;
mod framing;
mod grpc;
mod grpc_checks;
mod grpc_limits;
mod grpc_web;
mod hedging;
mod holding;
mod http2_clients;
mod http2_hostile;
mod http2_instances;
mod http2_stalls;
mod journal;
mod journal_command;
mod kept_connections;
mod lean_path;
mod leaving;
mod leaving_busy;
mod limits;
mod live;
mod metrics;
mod mirroring;
mod native_bulk;
mod native_describing;
mod native_leaving;
mod native_listing;
mod native_registering;
mod native_watching;
mod odd_clients;
mod odd_http;
mod overload;
mod panicking;
mod planning;
mod prometheus;
mod proving;
mod proxy_protocol;
mod pulling;
mod pulling_strangers;
mod reloading;
mod retrying;
mod routing;
mod scopes;
mod shares;
mod simulating;
mod slow_clients;
mod splitting;
mod starting;
mod streams;
mod tcp_leaving;
mod tcp_peers;
mod tcp_services;
mod tcp_tls;
mod telling_together;
mod tls;
mod tls_listening;
mod tls_reloading;
mod tls_together;
mod tokens;
mod top;
mod tracing;
mod tunnels;
mod tunnels_over;
mod unix_instances;
mod unix_listeners;
mod upgrading;
mod upgrading_in_vain;
mod upgrading_killed;
mod upgrading_under_load;
mod upstream_faults;
mod upstream_time;
mod upstream_tls;
mod watching_crowd;
mod websockets;
