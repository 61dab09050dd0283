//! Which handlers a namespace has, and which a socket has of its own.

use std::{collections::HashMap, sync::Arc};

use super::{Bound, Chain, OnAny, OnConnect, OnDisconnect, OnError, OnEvent, OnMiddleware, OnPacket, Watcher};
use crate::hub::{recovery::OnExpired, server::OnServer};

/// The handlers of a namespace.
#[derive(Debug, Default, Clone)]
pub(in crate::hub) struct Table {
    /// In the order in which they are asked.
    pub(in crate::hub) middlewares: Vec<Arc<Bound<OnMiddleware>>>,
    pub(in crate::hub) connect: Option<Arc<Bound<OnConnect>>>,
    pub(in crate::hub) expired: Option<OnExpired>,
    /// For the events of other nodes' applications.
    pub(in crate::hub) server: HashMap<Box<str>, Arc<OnServer>>,
    pub(in crate::hub) listeners: Listeners,
}

/// What may be registered for all sockets of a namespace as well as for one. One handler for each event: a later one takes the place of
/// an earlier one.
#[derive(Debug, Default, Clone)]
pub(in crate::hub) struct Listeners {
    pub(in crate::hub) events: HashMap<Box<str>, Listener>,
    pub(in crate::hub) fallback: Option<Arc<Bound<OnEvent>>>,
    pub(in crate::hub) any: Chain<Bound<OnAny>>,
    pub(in crate::hub) packets: Chain<Bound<OnPacket>>,
    pub(in crate::hub) outgoing: Chain<Watcher>,
    pub(in crate::hub) disconnecting: Option<Arc<Bound<OnDisconnect>>>,
    pub(in crate::hub) disconnect: Option<Arc<Bound<OnDisconnect>>>,
    pub(in crate::hub) error: Option<Arc<Bound<OnError>>>,
}

/// The handler of an event.
#[derive(Debug, Clone)]
pub(in crate::hub) struct Listener {
    pub(in crate::hub) handler: Arc<Bound<OnEvent>>,
    /// Whether it is gone after its first event.
    pub(in crate::hub) once: bool,
}

/// What of the listeners concerns one event.
#[derive(Debug, Default)]
pub(in crate::hub) struct Found {
    pub(in crate::hub) any: Chain<Bound<OnAny>>,
    pub(in crate::hub) packets: Chain<Bound<OnPacket>>,
    pub(in crate::hub) listener: Option<Listener>,
    pub(in crate::hub) fallback: Option<Arc<Bound<OnEvent>>>,
    pub(in crate::hub) error: Option<Arc<Bound<OnError>>>,
}

impl Found {
    /// Whether others than the event's handler see it, who may answer, too.
    pub(in crate::hub) const fn is_screened(&self) -> bool {
        !(self.any.is_empty() && self.packets.is_empty())
    }
}

impl Listeners {
    pub(in crate::hub) fn find(&self, event: &str) -> Found {
        Found {
            any: self.any.clone(),
            packets: self.packets.clone(),
            listener: self.events.get(event).cloned(),
            fallback: self.fallback.clone(),
            error: self.error.clone(),
        }
    }

    /// Keeps the handler of an event; the one that was there is the caller's to drop.
    pub(in crate::hub) fn set(&mut self, event: &str, handler: Arc<Bound<OnEvent>>, once: bool) -> Option<Listener> {
        self.events.insert(event.into(), Listener { handler, once })
    }

    /// Whether a handler may be called now. One that is for once is taken out, unless it has been called or replaced meanwhile; it is the
    /// caller's to drop.
    pub(in crate::hub) fn claim(&mut self, event: &str, listener: &Listener) -> Option<Listener> {
        let same = |now: &Listener| Arc::ptr_eq(&now.handler, &listener.handler);
        self.events.get(event).is_some_and(same).then(|| self.events.remove(event))?
    }
}
