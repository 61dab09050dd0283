//! Nodes that leave.

use std::sync::Arc;

use crate::engine::id::NodeTag;

/// A node that is gone: what a function of [`Io::on_node_left`](super::Io::on_node_left) is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeLeft {
    node: Arc<str>,
    tag: NodeTag,
    said_goodbye: bool,
}

impl NodeLeft {
    /// A node of this name and tag.
    #[must_use]
    pub const fn new(node: Arc<str>, tag: NodeTag, said_goodbye: bool) -> Self {
        Self { node, tag, said_goodbye }
    }

    /// The name that it was given.
    #[must_use]
    pub const fn node(&self) -> &Arc<str> {
        &self.node
    }

    /// Whether it left in good order. Otherwise nothing was heard of it for too long: it died, or it lives on beyond a network that is
    /// torn, with its clients, and comes back as a new node.
    #[must_use]
    pub const fn said_goodbye(&self) -> bool {
        self.said_goodbye
    }

    /// Whether the socket with this id went with it: its id was drawn there. One whose session was recovered by another node has kept
    /// its id, and is there: [`fetch_sockets`](super::Io::fetch_sockets) tells.
    #[must_use]
    pub fn had(&self, socket: &str) -> bool {
        NodeTag::of_socket(socket) == Some(self.tag)
    }
}
