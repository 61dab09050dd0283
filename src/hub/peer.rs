//! What the sockets of one connection share.

use std::sync::{Arc, Mutex, Weak};

use smallvec::SmallVec;

use super::{intake::Intake, shared::lock, socket};
use crate::engine::{CloseReason, Handle, Handshake};

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
