//! What may be done to the sockets of a namespace, as plain data: the one form that operators build, the hub applies and the cluster
//! carries to other nodes.

use std::sync::Arc;

use crate::protocol::socketio::Payload;

/// The name of a room. A socket's own id is a room with that socket in it, without having been joined.
pub type Room = Arc<str>;

/// Which sockets of a namespace are meant: those in any of `rooms` (all of the namespace when there is none) that are in none of
/// `except`. A socket that is in several of the rooms is meant once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The namespace's name, with its leading `/`.
    pub namespace: Arc<str>,
    /// The rooms whose sockets are meant; none stands for the whole namespace.
    pub rooms: Vec<Room>,
    /// The rooms whose sockets are left out.
    pub except: Vec<Room>,
}

impl Target {
    /// Every socket of a namespace.
    #[must_use]
    pub const fn namespace(namespace: Arc<str>) -> Self {
        Self {
            namespace,
            rooms: Vec::new(),
            except: Vec::new(),
        }
    }
}

/// One thing to be done to the sockets of a [`Target`].
#[derive(Debug, Clone)]
pub enum Command {
    /// Sends an event.
    Emit {
        /// Who gets it.
        target: Target,
        /// The event's name and arguments, encoded once.
        payload: Payload,
        /// How it is sent.
        flags: EmitFlags,
    },
    /// Adds sockets to rooms.
    Join {
        /// Who joins.
        target: Target,
        /// The rooms to join.
        rooms: Vec<Room>,
    },
    /// Takes sockets out of rooms.
    Leave {
        /// Who leaves.
        target: Target,
        /// The rooms to leave.
        rooms: Vec<Room>,
    },
    /// Disconnects sockets, as [`Socket::disconnect`](super::Socket::disconnect) does.
    Disconnect {
        /// Who is disconnected.
        target: Target,
        /// Whether the whole connection is closed, with all its namespaces.
        close: bool,
    },
}

impl Command {
    /// Who is meant.
    #[must_use]
    pub const fn target(&self) -> &Target {
        match self {
            Self::Emit { target, .. } | Self::Join { target, .. } | Self::Leave { target, .. } | Self::Disconnect { target, .. } => target,
        }
    }
}

/// How an event is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EmitFlags {
    /// Whether a socket that cannot be written to now goes without it. Default: no.
    pub volatile: bool,
    /// Whether it may be compressed where its transport compresses. Default: yes.
    pub compress: bool,
}

impl Default for EmitFlags {
    fn default() -> Self {
        Self {
            volatile: false,
            compress: true,
        }
    }
}

/// How far a command goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scope {
    /// To every node of the cluster, this one included.
    #[default]
    Cluster,
    /// To the sockets of this node only.
    Local,
}
