//! Socket.IO on THIS node: namespaces, rooms, sockets and their handlers.
//!
//! Knows the engine's handles and Socket.IO packets; does not know adapters, topics, wire bytes, HTTP or other nodes. Whatever acts on
//! more than one socket is a [`Command`], plain data that is handed to a [`Dispatch`]: handlers, the HTTP API, broker rules and
//! remote nodes all walk the same path. [`Io`] is where an application begins.

mod acks;
mod client;
mod command;
mod config;
mod connect;
mod counters;
mod directory;
mod dispatch;
mod error;
mod events;
pub mod handlers;
mod handshake;
mod intake;
mod io;
mod lane;
mod local;
mod namespace;
mod operators;
mod parents;
mod peer;
mod query;
mod rate;
mod reason;
mod remote;
mod replies;
mod rooms;
mod shared;
mod socket;
#[cfg(test)]
mod tests;

pub use acks::{AckRequest, Answers, BroadcastAckRequest};
pub use command::{Command, EmitFlags, Room, Scope, Target};
pub use config::Config;
pub use counters::Counters;
pub use dispatch::{Dispatch, Observer};
pub use error::{AckError, BroadcastAckError, ConnectError, EmitError, EventError, FetchError, JoinError, RegisterError};
pub use handlers::{Ack, Args, Data, Extension, Raw, Rejection, State};
pub use handshake::HandshakeObject;
pub use io::Io;
pub use local::Hub;
pub use namespace::{Namespace, ParentNamespace};
pub use operators::{BroadcastOperator, Rooms};
pub use query::{Query, Reply, SocketRecord};
pub use reason::DisconnectReason;
pub use remote::RemoteSocket;
pub use replies::{Missing, Replies};
pub use socket::{Socket, SocketOperator};

pub use crate::protocol::socketio::{JsonParser, MsgpackParser, Parser, RESERVED_EVENTS};
