//! Socket.IO on THIS node: namespaces, rooms, sockets and their handlers.
//!
//! Knows the engine's handles and Socket.IO packets; does not know adapters, topics, wire bytes, HTTP or other nodes. Whatever acts on
//! more than one socket is a [`Command`], plain data that is handed to a [`Dispatch`]: handlers, the HTTP API, broker rules and
//! remote nodes all walk the same path. [`Io`] is where an application begins.
//!
//! # A chat server
//! The one that the reference begins with: whatever one says, all hear, on all nodes.
//!
//! ```no_run
//! use axum::{Router, response::Html, routing::get};
//! use fanfare::{
//!     Server,
//!     hub::{Data, DisconnectReason, EmitError, Io, Socket},
//! };
//!
//! const PAGE: &str = r#"<ul id="messages"></ul><form id="form"><input id="input"><button>Send</button></form>
//! <script src="/socket.io/socket.io.js"></script>
//! <script>
//!   const socket = io();
//!   form.onsubmit = () => { socket.emit("chat message", input.value); input.value = ""; return false; };
//!   socket.on("chat message", (text) => {
//!     messages.appendChild(document.createElement("li")).textContent = text;
//!   });
//! </script>"#;
//!
//! async fn connected(socket: Socket) -> Result<(), EmitError> {
//!     socket.broadcast().emit("chat message", &"somebody came in")
//! }
//!
//! async fn chat(io: Io, Data(text): Data<String>) -> Result<(), EmitError> {
//!     io.emit("chat message", &text)
//! }
//!
//! async fn left(io: Io, reason: DisconnectReason) -> Result<(), EmitError> {
//!     io.emit("chat message", &format!("somebody left: {reason}"))
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let server = Server::builder().build()?;
//!     server.io().sockets().on_connect(connected)?.on("chat message", chat)?.on_disconnect(left)?;
//!     let page = Router::new().route("/", get(async || Html(PAGE)));
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//!     Ok(axum::serve(listener, page.merge(server.router())).await?)
//! }
//! ```

mod acks;
mod bucket;
mod client;
mod command;
mod config;
mod connect;
mod counters;
mod departure;
mod directory;
mod dispatch;
mod error;
mod events;
pub mod handlers;
mod handshake;
mod intake;
mod io;
mod joined;
mod lane;
mod local;
mod log_limit;
mod namespace;
mod operators;
mod parents;
mod peer;
mod query;
mod rate;
mod reason;
pub mod recovery;
mod remote;
mod replies;
mod rooms;
mod server;
mod shared;
mod socket;
#[cfg(test)]
mod tests;

pub use acks::{AckRequest, Answers, BroadcastAckRequest};
pub use command::{Command, EmitFlags, Room, Scope, Target};
pub use config::Config;
pub use counters::Counters;
pub use departure::NodeLeft;
pub use dispatch::{Dispatch, Observer};
pub use error::{
    AckError, BroadcastAckError, ConnectError, EmitError, EventError, FetchError, JoinError, NotDispatched, Partial, RegisterError,
};
pub use handlers::{Ack, Args, Data, EventMut, Extension, ListenerId, Raw, Rejection, State};
pub use handshake::HandshakeObject;
pub use io::Io;
pub use joined::Joined;
pub use local::Hub;
pub use namespace::{Delivered, Namespace, ParentNamespace};
pub(crate) use operators::flags;
pub use operators::{BroadcastOperator, Rooms};
pub use query::{Query, Reply, SocketRecord};
pub use reason::DisconnectReason;
pub use remote::RemoteSocket;
pub use replies::{Collector, Missing, Replies};
pub use server::ServerEvent;
pub use socket::{Socket, SocketOperator};

pub use crate::protocol::socketio::{Date, JsonParser, MsgpackParser, Parser, RESERVED_EVENTS};
