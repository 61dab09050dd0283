//! Which sessions are open, by id.

use std::{
    borrow::Borrow,
    collections::{HashSet, hash_map::RandomState},
    hash::{BuildHasher, Hash, Hasher},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use super::{Handle, NotAdmitted};

const SHARDS: usize = 32;

/// The open sessions. Bounded by `max`; what does not fit is refused.
pub(super) struct Registry {
    shards: [Mutex<HashSet<Entry>>; SHARDS],
    hasher: RandomState,
    open: AtomicUsize,
    max: usize,
    /// Takes no session any more. Looked at under the lock of a shard, so that a session is either refused or found by `close`.
    closed: AtomicBool,
}

/// A handle that is found by its id.
struct Entry(Handle);

impl Registry {
    pub(super) fn new(max: usize) -> Self {
        let shards = std::array::from_fn(|_| Mutex::default());
        Self {
            shards,
            hasher: RandomState::new(),
            open: AtomicUsize::new(0),
            max,
            closed: AtomicBool::new(false),
        }
    }

    /// Takes a session, unless there is no room, or the registry is closed.
    pub(super) fn insert(&self, handle: Handle) -> Result<(), NotAdmitted> {
        let Some(mut shard) = self.shard(handle.id()) else {
            return Err(NotAdmitted::Full);
        };
        if self.is_closed() {
            return Err(NotAdmitted::Closing);
        }
        if self.open.fetch_add(1, Ordering::Relaxed) >= self.max {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return Err(NotAdmitted::Full);
        }
        shard.insert(Entry(handle));
        Ok(())
    }

    pub(super) fn get(&self, id: &str) -> Option<Handle> {
        self.shard(id)?.get(id).map(|entry| entry.0.clone())
    }

    pub(super) fn remove(&self, id: &str) {
        let removed = self.shard(id).and_then(|mut shard| shard.take(id));
        if removed.is_some() {
            self.open.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Takes no more sessions.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    /// Whether a session would be taken now.
    pub(super) fn check_room(&self) -> Result<(), NotAdmitted> {
        if self.is_closed() {
            Err(NotAdmitted::Closing)
        } else if self.open.load(Ordering::Relaxed) >= self.max {
            Err(NotAdmitted::Full)
        } else {
            Ok(())
        }
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Calls `visit` for each open session, without a lock held.
    pub(super) fn for_each(&self, mut visit: impl FnMut(&Handle)) {
        for shard in &self.shards {
            let handles: Vec<Handle> = lock(shard).iter().map(|entry| entry.0.clone()).collect();
            handles.iter().for_each(&mut visit);
        }
    }

    fn shard(&self, id: &str) -> Option<MutexGuard<'_, HashSet<Entry>>> {
        let hash = self.hasher.hash_one(id);
        self.shards.get(usize::try_from(hash % SHARDS as u64).unwrap_or_default()).map(lock)
    }
}

fn lock(shard: &Mutex<HashSet<Entry>>) -> MutexGuard<'_, HashSet<Entry>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Borrow<str> for Entry {
    fn borrow(&self) -> &str {
        self.0.id()
    }
}

impl Hash for Entry {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.id().hash(state);
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.0.id() == other.0.id()
    }
}

impl Eq for Entry {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_bounded_and_forgets() {
        let registry = Registry::new(2);
        let handles: Vec<Handle> = (0..3).map(|_| Handle::detached().0).collect();
        let taken: Vec<_> = handles.iter().map(|handle| registry.insert(handle.clone())).collect();
        assert_eq!(taken, [Ok(()), Ok(()), Err(NotAdmitted::Full)]);
        assert!(registry.get(handles[0].id()).is_some() && registry.get(handles[2].id()).is_none());
        registry.remove(handles[0].id());
        registry.remove(handles[0].id());
        assert!(registry.get(handles[0].id()).is_none());
        assert_eq!(registry.check_room(), Ok(()));
        assert_eq!(registry.insert(handles[2].clone()), Ok(()));
        assert_eq!(registry.check_room(), Err(NotAdmitted::Full));
    }

    #[test]
    fn a_closed_registry_takes_nothing() {
        let registry = Registry::new(2);
        let handle = Handle::detached().0;
        registry.close();
        assert_eq!(registry.insert(handle.clone()), Err(NotAdmitted::Closing));
        assert!(registry.get(handle.id()).is_none());
        assert_eq!(registry.check_room(), Err(NotAdmitted::Closing));
    }
}
