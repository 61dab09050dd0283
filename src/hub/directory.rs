//! The namespaces of one node by name, and who may make more of them: a plain value, its owner locks it.

use std::{collections::HashMap, sync::Arc};

use super::{
    namespace::{Core, Kin},
    parents::Parent,
};

/// A name has at most one namespace, live or asked for, so that whoever found it by name has the one that everybody has.
#[derive(Debug, Default)]
pub(super) struct Directory {
    live: HashMap<Arc<str>, Arc<Core>>,
    /// Namespaces that clients have asked for, while parents decide whether they may exist. Each has a guest who waits.
    asked: HashMap<Arc<str>, Arc<Core>>,
    parents: Vec<Arc<Parent>>,
    /// Live namespaces that are children.
    children: usize,
}

/// What became of a namespace that a parent allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Adopted {
    /// It is live from now on.
    Born,
    /// It was live already.
    Known,
    /// There are as many children as there may be.
    Full,
}

impl Directory {
    pub(super) fn find(&self, name: &str) -> Option<&Arc<Core>> {
        self.live.get(name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.live.keys()
    }

    pub(super) fn live(&self) -> impl Iterator<Item = &Arc<Core>> {
        self.live.values()
    }

    pub(super) fn parents(&self) -> &[Arc<Parent>] {
        &self.parents
    }

    /// The namespace that the application names, made if there is none; says whether it is newly live.
    pub(super) fn open(&mut self, name: &Arc<str>, make: impl FnOnce() -> Arc<Core>) -> (Arc<Core>, bool) {
        if let Some(known) = self.live.get(name) {
            return (Arc::clone(known), false);
        }
        let core = self.asked.remove(name).unwrap_or_else(make);
        core.settle(Kin::Own);
        self.live.insert(Arc::clone(name), Arc::clone(&core));
        (core, true)
    }

    /// A client comes: the live namespace of this name, or one that parents may allow. Counts the guest of any but the application's own.
    pub(super) fn enter(&mut self, name: &str, make: impl FnOnce() -> Arc<Core>) -> Option<Arc<Core>> {
        if let Some(known) = self.visit(name) {
            return Some(known);
        }
        if self.parents.is_empty() {
            return None;
        }
        let core = match self.asked.get(name) {
            Some(known) => Arc::clone(known),
            None => {
                let core = make();
                self.asked.insert(Arc::clone(&core.name), Arc::clone(&core));
                core
            }
        };
        core.guests.enter();
        Some(core)
    }

    /// The same for a live namespace only. Shared access is enough: no guest leaves for good without the exclusive one.
    pub(super) fn visit(&self, name: &str) -> Option<Arc<Core>> {
        let known = self.live.get(name)?;
        if known.parent().is_some() {
            known.guests.enter();
        }
        Some(Arc::clone(known))
    }

    /// One more parent is asked, after the others.
    pub(super) fn add_parent(&mut self, make: impl FnOnce(usize) -> Arc<Parent>) -> Arc<Parent> {
        let parent = make(self.parents.len());
        self.parents.push(Arc::clone(&parent));
        parent
    }

    /// A parent allows a namespace that was asked for.
    pub(super) fn adopt(&mut self, core: &Arc<Core>, parent: &Arc<Parent>, most: usize) -> Adopted {
        if self.live.contains_key(&core.name) {
            return Adopted::Known;
        }
        if self.children >= most {
            return Adopted::Full;
        }
        self.asked.remove(&core.name);
        core.settle(Kin::Child(Arc::clone(parent)));
        self.live.insert(Arc::clone(&core.name), Arc::clone(core));
        self.children += 1;
        parent.gain(&core.name);
        Adopted::Born
    }

    /// The last guest of a namespace has left, unless another one has come meanwhile. Says whether it was live and is no more; a child
    /// is kept if `keep`.
    pub(super) fn vacate(&mut self, core: &Arc<Core>, keep: bool) -> bool {
        let same = |known: Option<&Arc<Core>>| known.is_some_and(|known| Arc::ptr_eq(known, core));
        if !core.guests.is_empty() {
            return false;
        }
        if same(self.asked.get(&core.name)) {
            self.asked.remove(&core.name);
            return false;
        }
        let Some(parent) = core.parent().filter(|_| !keep && same(self.live.get(&core.name))) else {
            return false;
        };
        self.live.remove(&core.name);
        self.children -= 1;
        parent.lose(&core.name);
        true
    }
}
