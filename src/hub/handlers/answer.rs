//! The right to answer an event.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// The right to answer an event, once. Those who may share it: the first to answer takes it from the others.
#[derive(Debug, Clone)]
pub(in crate::hub) struct Answer {
    id: u64,
    /// Whether somebody has answered, where several may.
    given: Option<Arc<AtomicBool>>,
}

impl Answer {
    /// The answer that a client awaits under `id`. An event with one handler allocates nothing for it.
    pub(in crate::hub) fn new(id: u64, is_shared: bool) -> Self {
        Self {
            id,
            given: is_shared.then(Arc::default),
        }
    }

    /// Whether nobody has answered.
    pub(super) fn is_due(&self) -> bool {
        !self.given.as_ref().is_some_and(|given| given.load(Ordering::Relaxed))
    }

    /// Takes the right, if nobody has; gives the id of the answer.
    pub(super) fn give(self) -> Option<u64> {
        let given = self.given.is_some_and(|given| given.swap(true, Ordering::Relaxed));
        (!given).then_some(self.id)
    }
}
