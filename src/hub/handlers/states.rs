//! The application's own values, which handlers take as arguments.

use std::{
    any::{Any, TypeId},
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

/// One value of each type.
#[derive(Debug, Default)]
pub struct States(RwLock<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>);

impl States {
    /// Adds a value, in place of the one of the same type, which is the caller's to drop.
    pub(in crate::hub) fn insert<S: Send + Sync + 'static>(&self, state: Arc<S>) -> Option<Arc<dyn Any + Send + Sync>> {
        let mut states = self.0.write().unwrap_or_else(PoisonError::into_inner);
        states.insert(TypeId::of::<S>(), state)
    }

    /// The value of a type, if there is one.
    #[must_use]
    pub fn get<S: Send + Sync + 'static>(&self) -> Option<Arc<S>> {
        let states = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(states.get(&TypeId::of::<S>())?).downcast().ok()
    }

    pub(in crate::hub) fn clear(&self) {
        let states = std::mem::take(&mut *self.0.write().unwrap_or_else(PoisonError::into_inner));
        drop(states);
    }
}
