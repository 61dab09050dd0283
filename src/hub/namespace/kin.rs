//! Where a namespace comes from, and who is in it that may not be connected.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicUsize, Ordering},
};

use super::Core;
use crate::hub::{Hub, parents::Parent};

/// Where a live namespace comes from.
#[derive(Debug)]
pub(in crate::hub) enum Kin {
    /// The application named it.
    Own,
    /// A parent allowed it.
    Child(Arc<Parent>),
}

/// How many sockets hold a namespace, from their CONNECT packet until their last handler has run, and sessions that wait there.
#[derive(Debug, Default)]
pub(in crate::hub) struct Guests(AtomicUsize);

impl Guests {
    pub(in crate::hub) fn enter(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(in crate::hub) fn is_empty(&self) -> bool {
        self.0.load(Ordering::Acquire) == 0
    }

    /// Says whether it was the last one.
    fn leave(&self) -> bool {
        self.0.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

/// One that was counted as a guest; no more when dropped, which must happen without any lock held.
#[derive(Debug)]
pub(in crate::hub) struct Guest {
    hub: Weak<Hub>,
    namespace: Arc<Core>,
}

impl Guest {
    pub(in crate::hub) const fn new(hub: Weak<Hub>, namespace: Arc<Core>) -> Self {
        Self { hub, namespace }
    }
}

/// One more guest, who comes while this one is there.
impl Clone for Guest {
    fn clone(&self) -> Self {
        self.namespace.guests.enter();
        Self {
            hub: Weak::clone(&self.hub),
            namespace: Arc::clone(&self.namespace),
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if self.namespace.guests.leave()
            && let Some(hub) = self.hub.upgrade()
        {
            hub.vacate(&self.namespace);
        }
    }
}
