//! The words the tests are written in.

mod again;
mod backend;
mod client;
mod dialect;
mod gauges;
mod http;
mod node;
mod polling;
mod process;
mod raw;
mod relay;
mod websocket;

use std::{future::Future, time::Duration};

pub(crate) use self::{
    again::{NodeProcess, serve},
    backend::Backend,
    client::Client,
    dialect::Dialect,
    gauges::{acquainted, metric, until_empty},
    http::{Answer, exchange, request, settle, upgrade},
    node::{application, loopback, start, start_on, start_with, three_nodes},
    polling::Polling,
    process::{Running, fanfare, temporary},
    raw::{Raw, frame},
    relay::{Relay, Way},
    websocket::WebSocket,
};

/// Awaits an event; a minute is far more than any of them takes, and ends a test that would hang.
pub(crate) async fn within<T>(what: &str, event: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(60), event).await {
        Ok(value) => value,
        Err(_) => panic!("waited a minute for: {what}"),
    }
}
