//! What may be asked of a namespace, as plain data, and what is answered.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{EmitFlags, HandshakeObject, Room, Target};
use crate::protocol::socketio::Payload;

/// One thing to be asked of the sockets of a [`Target`], or of the nodes that have its namespace: see [`Dispatch::request`](super::Dispatch::request).
#[derive(Debug, Clone)]
pub enum Query {
    /// Sends an event, which each of the sockets is asked to answer: an [`Reply::Answer`] for each.
    Ask {
        /// Who gets it.
        target: Target,
        /// The event's name and arguments, encoded once.
        payload: Payload,
        /// How it is sent.
        flags: EmitFlags,
    },
    /// Asks which sockets there are: a [`Reply::Socket`] for each.
    Sockets {
        /// Which are meant.
        target: Target,
    },
    /// Asks how many sockets there are: a [`Reply::Count`] of each node.
    Count {
        /// Which are meant.
        target: Target,
    },
    /// Asks which rooms the sockets are in: as many [`Reply::Rooms`] of each node as it takes.
    Rooms {
        /// Which are meant.
        target: Target,
    },
    /// Tells the applications of the other nodes an event: a [`Reply::Answer`] of each that gives one.
    Tell {
        /// The namespace where it is told; rooms mean nothing.
        target: Target,
        /// The event's name and arguments, encoded once.
        payload: Payload,
        /// Whether an answer is asked for.
        answer: bool,
    },
}

impl Query {
    /// Who is meant.
    #[must_use]
    pub const fn target(&self) -> &Target {
        match self {
            Self::Ask { target, .. }
            | Self::Sockets { target }
            | Self::Count { target }
            | Self::Rooms { target }
            | Self::Tell { target, .. } => target,
        }
    }
}

/// One answer to a [`Query`].
#[derive(Debug, Clone)]
pub enum Reply {
    /// What a client, or another node, answered to an event.
    Answer(Payload),
    /// A socket.
    Socket(SocketRecord),
    /// How many sockets of a node are meant.
    Count(usize),
    /// Some of the rooms that they are in, and how many of them in each; a socket's own is not among them.
    Rooms(Vec<(Room, usize)>),
}

/// What is told of a socket to those who do not have it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SocketRecord {
    /// Its id.
    pub id: Room,
    /// How it came.
    pub handshake: HandshakeObject,
    /// The rooms it is in, that of its own id first.
    pub rooms: Vec<Room>,
    /// What the application keeps with it: see [`Socket::set_data`](super::Socket::set_data).
    pub data: Value,
}
