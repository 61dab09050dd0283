//! What the sockets of one connection share.

use std::sync::{Arc, Mutex, Weak};

use smallvec::SmallVec;

use super::{Room, intake::Intake, shared::lock, socket};
use crate::engine::{CloseReason, Handle, Handshake, Revision};

/// The client at the other end of a connection, as its sockets see it.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) handle: Handle,
    pub(super) handshake: Arc<Handshake>,
    pub(super) intake: Intake,
    /// The connection's sockets, for whoever disconnects them all; the connection owns them.
    sockets: Mutex<SmallVec<[Weak<socket::Core>; 1]>>,
}

impl Peer {
    pub(super) fn new(handle: Handle, handshake: Arc<Handshake>, intake: Intake) -> Self {
        Self {
            handle,
            handshake,
            intake,
            sockets: Mutex::default(),
        }
    }

    /// Whether the client speaks protocol 4 of Socket.IO, as do all that come over Engine.IO 3.
    pub(super) fn is_legacy(&self) -> bool {
        self.handshake.revision == Revision::V3
    }

    /// The id of the socket of a client of protocol 4, which computes it by itself.
    pub(super) fn legacy_id(&self, namespace: &str) -> Option<Room> {
        let session = self.handle.id();
        self.is_legacy().then(|| match namespace {
            "/" => session.into(),
            _ => format!("{namespace}#{session}").into(),
        })
    }

    /// Takes in a new socket. Those that are gone are forgotten, so that there are never more than namespaces.
    pub(super) fn add(&self, socket: &Arc<socket::Core>) {
        let mut sockets = lock(&self.sockets);
        sockets.retain(|known| known.strong_count() > 0);
        sockets.push(Arc::downgrade(socket));
    }

    /// Disconnects every socket, then closes the connection.
    pub(super) fn disconnect(&self) {
        let sockets = std::mem::take(&mut *lock(&self.sockets));
        for socket in sockets.iter().filter_map(Weak::upgrade) {
            socket.disconnect();
        }
        self.handle.close(CloseReason::ForcedServerClose);
    }
}
