//! What an engine is told when it is made.

use std::{num::NonZeroU32, time::Duration};

use super::Transport;

/// Intervals and bounds of the sessions of one engine. Names and defaults are those of the reference server where it has the option.
#[derive(Debug, Clone)]
pub struct Config {
    /// From a pong to the next ping.
    pub ping_interval: Duration,
    /// From a ping to the end of a session whose peer does not answer.
    pub ping_timeout: Duration,
    /// How long a WebSocket may probe before it is closed; the session goes on over polling.
    pub upgrade_timeout: Duration,
    /// Bytes of the largest message (WebSocket) or body (polling) that is taken from a peer. Told to clients as `maxPayload`.
    pub max_http_buffer_size: usize,
    /// Bytes that may wait for one session. Beyond it the session is a slow consumer and is closed with `transport error`.
    /// One message of any size may always wait.
    pub outbox_bytes: usize,
    /// Messages that may wait for one session; beyond it as with `outbox_bytes`.
    pub outbox_entries: usize,
    /// Transports on offer.
    pub transports: Vec<Transport>,
    /// Whether a polling session is told that it may upgrade.
    pub allow_upgrades: bool,
    /// Whether clients of Socket.IO 1 and 2 are served, which speak revision 3 of Engine.IO. Without it they are refused with code 5.
    pub allow_eio3: bool,
    /// Whether polling by script tags and forms (JSONP) is spoken with clients that ask for it, as the oldest browsers need it. Without
    /// it their handshake is a bad request.
    pub jsonp: bool,
    /// Compression of messages on WebSockets whose clients offer it. Default: offers are not taken, as in the reference.
    pub per_message_deflate: Option<PerMessageDeflate>,
    /// A text message that every session gets right behind its `open` packet, in the same payload over polling.
    pub initial_packet: Option<String>,
    /// How long a peer may take none of the bytes that wait for it before its connection is reset.
    pub write_timeout: Duration,
    /// From the first byte of a WebSocket message to its last; a session whose peer takes longer is closed with `transport error`. What
    /// has come of the message is held meanwhile.
    pub message_timeout: Duration,
    /// How long the last bytes of a WebSocket, and its close handshake, may take; after that it is reset. Over polling: how long after
    /// the `1` with which a client closes its session a poll is answered that it sent at the same moment, on another connection.
    pub farewell_timeout: Duration,
    /// How long an application may keep a session paused before the session is closed with `transport error`.
    pub pause_timeout: Duration,
    /// How long the close of a polling session waits for the next poll.
    pub close_timeout: Duration,
    /// Sessions at one time. Beyond it a handshake is answered 503.
    pub max_sessions: usize,
    /// Sessions of one client address at one time (an IPv6 client counts by its /64 network). Beyond it a handshake is answered with
    /// code 4. Default: unbounded, as in the reference. Clients behind one NAT share an address; behind a balancer the node has to be
    /// told whom to believe, or all of them do.
    pub max_sessions_per_address: usize,
    /// Tasks that write for all plain WebSockets; zero means one per available processor.
    pub flushers: usize,
}

/// Compression of messages on WebSockets (permessage-deflate, RFC 7692; the reference's `perMessageDeflate`). Each message is compressed by
/// itself (`no_context_takeover`), so that it is done once for all that get it. Clients may compress what they send, whatever its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PerMessageDeflate {
    /// From how many bytes on a message, or an attachment, is compressed; one that would get no shorter goes as it is.
    pub threshold: usize,
}

impl Default for PerMessageDeflate {
    fn default() -> Self {
        Self { threshold: 1024 }
    }
}

impl PerMessageDeflate {
    /// The same as sessions keep it; nothing is shorter than one byte.
    pub(super) fn least(self) -> NonZeroU32 {
        let least = u32::try_from(self.threshold).unwrap_or(u32::MAX);
        NonZeroU32::new(least).unwrap_or(NonZeroU32::MIN)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            upgrade_timeout: Duration::from_secs(10),
            max_http_buffer_size: 1_000_000,
            outbox_bytes: 1 << 20,
            outbox_entries: 16_384,
            transports: vec![Transport::Polling, Transport::WebSocket],
            allow_upgrades: true,
            allow_eio3: false,
            jsonp: false,
            per_message_deflate: None,
            initial_packet: None,
            write_timeout: Duration::from_secs(20),
            message_timeout: Duration::from_secs(60),
            farewell_timeout: Duration::from_secs(2),
            pause_timeout: Duration::from_secs(60),
            close_timeout: Duration::from_secs(30),
            max_sessions: 1_000_000,
            max_sessions_per_address: usize::MAX,
            flushers: 0,
        }
    }
}
