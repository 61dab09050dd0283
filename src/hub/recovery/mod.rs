//! Connection state recovery: a client whose connection broke goes on as if nothing had happened, or is told that it cannot.
//!
//! # How a recoverable event walks
//! In a recoverable namespace an event that is neither volatile nor local and asks for no ack is logged, one to a single socket too. It
//! goes to the log first: [`Dispatch::dispatch`](super::Dispatch::dispatch) hands it to whoever keeps the log, the log gives it a
//! position, and every node, this one too, delivers it when it comes back ([`Hub::deliver`](super::Hub::deliver)), in the order of the
//! log. With a log in memory it has come back when `emit` returns, so that what one caller emits, joins and leaves keeps its order;
//! with a backend a leave is applied where the node has come in the log, and an `emit` before it may be behind that. Events that ask
//! for an ack, acks, volatile and local events are not logged: they may overtake.
//!
//! Each shard of a namespace knows how far it has come in the log. Whatever depends on a position (an entry's delivery, a join or leave,
//! the offset that a volatile event carries, the moment when a recovered socket goes live) happens under the lock of the socket's
//! shard, so that a socket has got exactly the entries up to that position which it was meant to get.
//!
//! # What a client sees
//! Its CONNECT is answered with a `pid`; each event has an [`Offset`] as its last argument, volatile and local ones that of the last logged
//! event before them, so that they poison nothing. When it comes back with both, its [`Record`] is looked up, the start of the replay
//! [decided](start_of_replay), and the record taken over by compare-and-set: who loses that race never had the session. The
//! connection that had the socket before is cut. Id, rooms, user and data of the socket are those of before; its handshake is that of the
//! connection on which it came back, as in the reference, and what was [kept](KeptHandshake) of the first one stands
//! [beside it](super::Socket::kept_handshake). The CONNECT answer goes first, then what was missed, as fast as the connection takes
//! it, then the socket is live.
//!
//! | room | what it does |
//! |---|---|
//! | `offset`, `stays`, `record` | the rules, plain values: offsets, who was meant by an entry, where a replay starts |
//! | `kept` | what is kept of the handshake with which a session began |
//! | `journal` | the seam to the layer that keeps log and records |
//! | `session` | what outlives the connection of a socket |
//! | `admission` | from CONNECT to a connected socket, new or recovered |
//! | `pace` | how fast is replayed, a plain value |
//! | `replay` | what was missed, up to the moment when the socket is live |
//! | `ledger` | the sessions of a namespace whose connections have ended, and their records |

mod admission;
mod journal;
mod kept;
mod ledger;
mod offset;
mod pace;
mod record;
mod replay;
mod session;
mod stays;

use std::{collections::BTreeSet, num::NonZeroU64, time::Duration};

pub(super) use self::{
    admission::{Restoring, Returning, comeback, connect, restore},
    ledger::{Ledger, OnExpired, end, flush, schedule},
    pace::Pace,
    session::Session,
};
pub use self::{
    journal::{Away, Journal, Later, Logged, NotKept, Page, Unread},
    kept::{HandshakeKey, KeptHandshake, MAX_KEPT_BYTES, NoHandshakeKey},
    ledger::Expired,
    offset::{Claim, Offset},
    record::{Pid, Record, Refusal, start_of_replay},
    stays::{Stay, Stays},
};

/// Settings of connection state recovery (`connection_state_recovery`).
#[derive(Debug, Clone)]
pub struct Recovery {
    /// How long a session waits for its client (`max_disconnection_duration`). Default: 120 s.
    pub max_disconnection_duration: Duration,
    /// Whether the middlewares are not asked about a client that is recovered (`skip_middlewares`). Default: true.
    pub skip_middlewares: bool,
    /// What is kept with a session of the handshake with which it began, beside the client's address and the time (`handshake.keep`): at
    /// most [`MAX_KEPT_BYTES`] of it. It stands in the session's record, so name no secrets. Default: nothing.
    pub handshake_keep: Vec<HandshakeKey>,
    /// The namespaces whose delivery is `recoverable`; the others' is `live`. Default `None`: all of them.
    pub namespaces: Option<BTreeSet<String>>,
    /// The most events that are replayed to one client; one that has missed more is not recovered. Default: 10 000.
    pub max_events: usize,
    /// The most bytes of events that are replayed to one client. Default: 16 MiB.
    pub max_bytes: usize,
    /// The most bytes of events a second that are replayed to one client, after a tenth of a second's worth at once. What comes
    /// meanwhile follows behind. Default: 4 MiB.
    pub replay_rate: NonZeroU64,
    /// The same for all clients of the node together. Default: 64 MiB.
    pub node_replay_rate: NonZeroU64,
    /// How long a replay may take, and before that the look at what was missed. A client for which it takes longer, because it reads more
    /// slowly than events come or because there are too many like it, is cut off, and gets a new session when it comes back; one that
    /// has missed more than it can get in this time, at once. Default: 60 s.
    pub replay_timeout: Duration,
}

const REPLAY_RATE: NonZeroU64 = NonZeroU64::new(4 << 20).unwrap();
const NODE_REPLAY_RATE: NonZeroU64 = NonZeroU64::new(64 << 20).unwrap();

impl Default for Recovery {
    fn default() -> Self {
        Self {
            max_disconnection_duration: Duration::from_secs(120),
            skip_middlewares: true,
            handshake_keep: Vec::new(),
            namespaces: None,
            max_events: 10_000,
            max_bytes: 16 << 20,
            replay_rate: REPLAY_RATE,
            node_replay_rate: NODE_REPLAY_RATE,
            replay_timeout: Duration::from_secs(60),
        }
    }
}

impl Recovery {
    /// The most bytes of events that can be replayed to one client.
    fn most_bytes(&self) -> u64 {
        let timely = u128::from(self.replay_rate.get()) * self.replay_timeout.as_millis() / 1000;
        u64::try_from(timely).unwrap_or(u64::MAX).min(self.max_bytes as u64)
    }

    /// Whether the delivery of this namespace is recoverable.
    #[must_use]
    pub fn covers(&self, namespace: &str) -> bool {
        self.namespaces.as_ref().is_none_or(|namespaces| namespaces.contains(namespace))
    }
}
