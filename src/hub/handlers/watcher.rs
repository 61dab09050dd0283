//! Catch-alls for what is sent.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use super::Raw;
use crate::hub::{Io, Socket, socket};

/// A function that is told of each event which is sent to a socket, and the server through which it was registered.
pub(in crate::hub) struct Watcher {
    io: Io,
    watch: Box<Watch>,
}

type Watch = dyn Fn(&Socket, &Raw) + Send + Sync;

impl Watcher {
    pub(in crate::hub) fn new(io: &Io, watch: impl Fn(&Socket, &Raw) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            io: io.clone(),
            watch: Box::new(watch),
        })
    }

    /// Tells it, with no lock held. A panic is counted, and costs nothing else.
    pub(in crate::hub) fn tell(&self, socket: &Arc<socket::Core>, event: &Raw) {
        let socket = Socket::new(Arc::clone(socket), self.io.clone());
        if catch_unwind(AssertUnwindSafe(|| (self.watch)(&socket, event))).is_err() {
            socket.panicked("a catch-all for what is sent");
        }
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watcher")
    }
}
