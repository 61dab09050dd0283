//! A clustered Socket.IO server: a library with the API that Socket.IO users know, and the broker `fanfare` that needs no code.
//!
#![doc = include_str!("../README.md")]
//!
//! # The layers, bottom to top
//!
//! | layer | what it does | may know | must not know |
//! |---|---|---|---|
//! | [`protocol`] | Engine.IO and Socket.IO packets, WebSocket frames: pure functions over bytes | bytes, serde, limits | tokio, clock, randomness, locks, HTTP |
//! | [`engine`] | Engine.IO sessions over WebSocket and polling; writes to the clients | tokio, `protocol::engineio`, `protocol::websocket` | Socket.IO packets, rooms, axum, cluster |
//! | [`hub`] | namespaces, rooms, sockets, handlers, operators of THIS node | `engine`'s handles, `protocol::socketio` | adapters, topics, wire bytes, HTTP, other nodes |
//! | [`cluster`] | carries commands between nodes in envelopes; membership; counts holes | commands, the `Adapter` trait | which backend it has, transports, HTTP |
//! | [`node`] | HTTP: transports, probes, metrics, drain | axum, addresses, statuses | packet syntax, wire encoding, client libraries |
//! | [`broker`] | the product's declarative rules over the public library API | hub's public API | transports, wire |
//! | [`config`], [`telemetry`], `cli`, `main` | read files and environment; compose | everything's `Config` | decisions that a test would want to make |
//!
//! An arrow only ever points down. What flows up is a returned value, a send on a channel that the upper layer made, or a trait
//! that the upper layer implements ([`engine::Application`], [`hub::Dispatch`], [`hub::recovery::Journal`]).

// In reading order; the empty lines keep rustfmt from sorting them.
pub mod protocol;

pub mod engine;

pub mod hub;

pub mod cluster;

pub mod node;

pub mod broker;

pub mod config;

pub mod telemetry;

pub use node::Server;
