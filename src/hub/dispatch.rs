//! The seam to the layer above: where operators hand their commands to.

use std::{fmt::Debug, sync::Arc, time::Instant};

use super::{Command, NotDispatched, Query, Replies, Room, Scope, Target, recovery::Later};

/// Carries commands out. The hub alone does it for the sockets of its node; a cluster wraps the hub and does it for all nodes.
///
/// Fires and forgets: the local half is done when `dispatch` returns, so that what one caller dispatches reaches each socket in that
/// order; a remote half is queued at most. (What goes to a log comes back from it later, if that is not in memory.) An implementation never blocks, and what it cannot deliver it counts.
pub trait Dispatch: Send + Sync + Debug + 'static {
    /// Does the local half of a command, then offers it to other nodes if `scope` says so. An event for a
    /// [recoverable](super::recovery) namespace goes to its log instead, which brings it to all of them.
    ///
    /// # Errors
    /// [`NotDispatched`], of an event that would go to a log; nothing was done then.
    fn dispatch(&self, command: Command, scope: Scope) -> Result<(), NotDispatched>;

    /// The same. What it gives resolves when a log has confirmed that it keeps the event, at once for whatever goes to none; to an error
    /// when it will not. May be dropped.
    ///
    /// # Errors
    /// As [`Dispatch::dispatch`].
    fn dispatch_logged(&self, command: Command, scope: Scope) -> Result<Later<Result<(), NotDispatched>>, NotDispatched> {
        self.dispatch(command, scope)?;
        Ok(Box::pin(std::future::ready(Ok(()))))
    }

    /// Makes sockets join rooms, as [`Dispatch::dispatch`] does. What it gives resolves when the nodes of all of them hear what is meant for
    /// these rooms, from any node. May be dropped.
    fn dispatch_join(&self, target: Target, rooms: Vec<Room>, scope: Scope) -> Later<()> {
        // Only events go to logs, so only they are refused.
        self.dispatch(Command::Join { target, rooms }, scope).ok();
        Box::pin(std::future::ready(()))
    }

    /// Asks the sockets of this node, and of other nodes if `scope` says so. The stream of replies ends when all have come, or at the
    /// deadline; it names the nodes whose replies it is without, so that nobody takes a part for the whole. The local half of a
    /// [`Query::Ask`] is with the sockets' sessions when this returns, in order with what the caller dispatches.
    fn request(&self, query: Query, scope: Scope, deadline: Instant) -> Replies;
}

/// Told which namespaces a hub has, and which of their rooms have sockets here.
///
/// Of namespaces it is told once at a time, in the thread that made a change, with what is so at that moment: of two changes made at once
/// the last call tells the outcome, and the same may be told twice. It must not change namespaces itself.
pub trait Observer: Send + Sync + Debug {
    /// A namespace exists. One that is created while [`Hub::observe`](super::Hub::observe) runs may be both reported here and listed by
    /// [`Hub::namespaces`](super::Hub::namespaces).
    fn namespace_created(&self, name: &Arc<str>);

    /// A namespace that clients had brought about does not exist any more: all of them have left it.
    fn namespace_removed(&self, name: &Arc<str>);

    /// A room has got its first socket in one of a namespace's shards, under whose lock this is called: it returns at once, and calls
    /// nothing of the hub. Each such call is followed by one of [`Observer::room_unwanted`], unless the hub is closed before. The room
    /// of a socket's own id is told only where the id does not begin with this node's tag.
    fn room_wanted(&self, namespace: &Arc<str>, room: &Room);

    /// The last of these sockets has left; called in the same way.
    fn room_unwanted(&self, namespace: &Arc<str>, room: &Room);

    /// Resolves when this node hears what other nodes send to the rooms that were wanted so far.
    fn settled(&self) -> Later<()>;
}
