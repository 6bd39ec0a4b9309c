//! callboard: a service registry and the load-balancing proxy in front of it, in one binary.

pub mod admin;
pub mod api;
pub mod balance;
pub mod cluster;
pub mod config;
pub mod endpoint;
pub mod health;
pub mod instance;
pub mod names;
pub mod proxy;
pub mod registry;
pub mod route;
pub mod units;
