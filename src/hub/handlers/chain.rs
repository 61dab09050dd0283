//! Handlers that are called one after the other, and how one of them is named.

use std::{
    any::Any,
    fmt,
    sync::{Arc, Weak},
};

/// One handler among several of its kind: what [`Socket::on_any`](crate::hub::Socket::on_any) and its like give. It says nothing to sockets
/// and namespaces that do not have the handler.
///
/// ```no_run
/// # use fanfare::hub::{Io, Raw, RegisterError, Socket};
/// # fn serve(io: &Io) -> Result<(), RegisterError> {
/// let chat = io.of("/chat");
/// let id = chat.on_any(async |socket: Socket, event: Raw| println!("{}: {}", socket.id(), event.event()))?;
/// assert_eq!(chat.listeners_any(), [id.clone()]);
/// chat.off_any(&id);
/// assert!(chat.listeners_any().is_empty());
/// # Ok(())
/// # }
/// ```
// Keeps the place in memory of what it names, so that nothing else comes to stand there.
#[derive(Clone)]
pub struct ListenerId(Weak<dyn Any + Send + Sync>);

impl ListenerId {
    pub(in crate::hub) fn of<T: Send + Sync + 'static>(link: &Arc<T>) -> Self {
        let link = Arc::downgrade(link);
        Self(link)
    }

    fn is_of<T>(&self, link: &Arc<T>) -> bool {
        std::ptr::addr_eq(self.0.as_ptr(), Arc::as_ptr(link))
    }
}

impl PartialEq for ListenerId {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::addr_eq(self.0.as_ptr(), other.0.as_ptr())
    }
}

impl Eq for ListenerId {}

impl fmt::Debug for ListenerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ListenerId({:p})", self.0.as_ptr())
    }
}

/// Things that are called one after the other. Nothing at all is allocated, or counted, for none.
#[derive(Debug)]
pub(in crate::hub) struct Chain<T>(Option<Arc<[Arc<T>]>>);

impl<T: Send + Sync + 'static> Chain<T> {
    pub(in crate::hub) fn iter(&self) -> std::slice::Iter<'_, Arc<T>> {
        self.0.as_deref().unwrap_or_default().iter()
    }

    pub(in crate::hub) const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The links, in order.
    pub(in crate::hub) fn ids(&self) -> Vec<ListenerId> {
        self.iter().map(ListenerId::of).collect()
    }

    /// This chain, and a link behind it. The old chain is the caller's to drop.
    pub(in crate::hub) fn append(&mut self, link: Arc<T>) -> Self {
        let links = self.iter().cloned().chain([link]).collect();
        Self(self.0.replace(links))
    }

    /// This chain, and a link in front of it. The old chain is the caller's to drop.
    pub(in crate::hub) fn prepend(&mut self, link: Arc<T>) -> Self {
        let links = [link].into_iter().chain(self.iter().cloned()).collect();
        Self(self.0.replace(links))
    }

    /// This chain without a link. The old chain is the caller's to drop.
    pub(in crate::hub) fn remove(&mut self, id: &ListenerId) -> Self {
        let links: Vec<_> = self.iter().filter(|link| !id.is_of(link)).cloned().collect();
        let links = (!links.is_empty()).then(|| links.into());
        Self(std::mem::replace(&mut self.0, links))
    }
}

impl<T> Default for Chain<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Clone for Chain<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}
