//! The hub's settings.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use super::recovery::Recovery;
use crate::protocol::socketio::{JsonParser, Limits, Parser};

/// Settings of a [`Hub`](super::Hub).
#[derive(Debug, Clone)]
pub struct Config {
    /// A connection that has been in no namespace for this time is closed: since it was opened, or since it left the last one. Default:
    /// 45 s.
    pub connect_timeout: Duration,
    /// How long an emitted event's ack is waited for unless the caller says otherwise. Default: 10 s.
    pub ack_timeout: Duration,
    /// How many bytes of clients' answers to one broadcast are held until they are taken; further answers count as missing. Default: 16 MiB.
    pub ack_bytes: usize,
    /// How long other nodes are waited for unless the caller says otherwise. Default: 6 s, more than twice the silence after which a node is
    /// suspected, and waited for no longer.
    pub request_timeout: Duration,
    /// Whether `fetch_sockets` tells cookies and authorization headers of clients, and the `pid` by which a session is taken over. Default:
    /// no, they are withheld.
    pub expose_credentials: bool,
    /// How many namespaces one connection may join; further ones are refused. Default: 32.
    pub max_namespaces: usize,
    /// How many rooms one socket may be in, its own not counted; further ones are not joined. Default: 10 000, which costs a client that
    /// can name its rooms some megabytes of the node's memory.
    pub max_rooms: usize,
    /// How many namespaces may exist on this node because clients asked for them ([`Io::of_dynamic`](super::Io::of_dynamic)); further ones
    /// are refused. Default: 10 000.
    pub max_child_namespaces: usize,
    /// Whether such a namespace is removed when its last socket has left, and no session waits there for its client. Default: no, as the reference.
    pub cleanup_empty_child_namespaces: bool,
    /// How packets are carried; clients must use the same one, and so must all nodes of a cluster. Default: [`JsonParser`], the stock
    /// client's; [`MsgpackParser`](super::MsgpackParser) for clients with `socket.io-msgpack-parser`.
    pub parser: Arc<dyn Parser>,
    /// Bytes of JSON that a client may send as its auth for a namespace, which are kept as long as its socket; more is refused. Default:
    /// 64 KiB.
    pub max_auth_bytes: usize,
    /// Bounds on a client's packets.
    pub limits: Limits,
    /// How many events of one connection may wait for its handlers before it is no longer read from. Default: 256.
    pub queue_events: usize,
    /// How many bytes of events of one connection may wait for its handlers before it is no longer read from. Default: 1 MiB.
    pub queue_bytes: usize,
    /// How many events a second a client may send into one namespace, after a second's worth at once. What is more is not refused: the
    /// connection is not read from until it is in time, so that a client that is only quick notices a delay; one that stays above the
    /// rate for `stall_timeout` is closed, and counted. Acks do not count. Default: no bound.
    pub events_per_second: Option<NonZeroU32>,
    /// A connection that is not read from for this long, because its handlers are behind, is closed. Default: 30 s.
    pub stall_timeout: Duration,
    /// A connection whose packet waits for its next attachment for this long is closed: what has come of it is held meanwhile. A client
    /// that takes longer over one message cannot answer a ping in it either. Default: 60 s.
    pub attachment_timeout: Duration,
    /// Whether and how clients get back the session of a connection that broke. Needs a [`Journal`](super::recovery::Journal), without
    /// which nothing is recovered. Default `None`: not at all.
    pub connection_state_recovery: Option<Recovery>,
    /// Into how many parts, each with its own lock, a namespace's sockets are split. Default: one for each processor.
    pub shards: usize,
}

impl Config {
    /// Bounds packets by what an engine lets through: a text and its attachments, each of them as large as a message may be.
    pub fn take_messages_of(&mut self, max_http_buffer_size: usize) {
        let messages = self.limits.max_attachments.saturating_add(1);
        self.limits.max_bytes = max_http_buffer_size.saturating_mul(messages);
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(45),
            ack_timeout: Duration::from_secs(10),
            ack_bytes: 16 << 20,
            request_timeout: Duration::from_secs(6),
            expose_credentials: false,
            max_namespaces: 32,
            max_rooms: 10_000,
            max_child_namespaces: 10_000,
            cleanup_empty_child_namespaces: false,
            parser: Arc::new(JsonParser),
            limits: Limits::default(),
            max_auth_bytes: 64 << 10,
            queue_events: 256,
            queue_bytes: 1 << 20,
            events_per_second: None,
            stall_timeout: Duration::from_secs(30),
            attachment_timeout: Duration::from_secs(60),
            connection_state_recovery: None,
            shards: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        }
    }
}
