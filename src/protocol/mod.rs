//! What stands on the wire between a client and its node: Engine.IO packets, Socket.IO packets, WebSocket frames.
//!
//! Everything here is a pure function or a small value over bytes: no tokio, clock, randomness, locks, tracing or HTTP. Limits are
//! parameters. Nothing a peer sends makes this layer panic, recurse, or allocate more than a small multiple of what has arrived.

pub mod engineio;
pub mod socketio;
pub mod websocket;
