//! Engine.IO sessions: who is connected, over which transport, and what waits to be sent to them.
//!
//! A message is opaque here. Knows tokio, `protocol::engineio` and `protocol::websocket`; does not know Socket.IO packets, rooms,
//! axum or the cluster.

mod addresses;
mod application;
mod carrier;
mod config;
mod counters;
mod dialect;
mod driver;
mod flusher;
mod handle;
mod handshake;
pub mod id;
mod mailbox;
mod outbox;
mod outgoing;
mod polling;
mod registry;
mod scratch;
mod session;
mod sessions;
#[cfg(test)]
mod tests;
mod transport;
mod websocket;

pub use addresses::{Addresses, Crowded, Place};
pub use application::{Application, Connection, Flow, Incoming};
pub use carrier::Carrier;
pub use config::{Config, PerMessageDeflate};
pub(crate) use counters::counters;
pub use counters::{Counter, Counters};
pub use flusher::gather;
pub use handle::{Handle, Pushed, Tap};
pub use handshake::{Arrival, Handshake};
pub use outgoing::Outgoing;
pub use polling::{Poll, Post, Reply};
pub(crate) use scratch::{READ_BYTES, for_read};
pub use sessions::{Admission, Admitted, Candidate, Engine, NotAdmitted, Request, Routed, Upgrade};
pub use transport::{CloseReason, Transport};
pub(crate) use websocket::read_tcp;
pub use websocket::{Duplex, Io, accept};

pub use crate::protocol::engineio::Revision;
