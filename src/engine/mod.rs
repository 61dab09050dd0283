//! Engine.IO sessions: who is connected, over which transport, and what waits to be sent to them.
//!
//! A message is opaque here. Knows tokio, `protocol::engineio` and `protocol::websocket`; does not know Socket.IO packets, rooms,
//! axum or the cluster.

mod application;
mod outgoing;

pub use application::{Application, Connection, Flow, Incoming};
pub use outgoing::Outgoing;
