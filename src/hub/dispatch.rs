//! The seam to the layer above: where operators hand their commands to.

use std::{fmt::Debug, sync::Arc, time::Instant};

use super::{Command, Query, Replies, Scope};

/// Carries commands out. The hub alone does it for the sockets of its node; a cluster wraps the hub and does it for all nodes.
///
/// Fires and forgets: the local half is done when `dispatch` returns, so that what one caller dispatches reaches each socket in that
/// order; a remote half is queued at most. An implementation never blocks, and what it cannot deliver it counts.
pub trait Dispatch: Send + Sync + Debug + 'static {
    /// Does the local half of a command, then offers it to other nodes if `scope` says so.
    fn dispatch(&self, command: Command, scope: Scope);

    /// Asks the sockets of this node, and of other nodes if `scope` says so. The stream of replies ends when all have come, or at the
    /// deadline; it names the nodes whose replies it is without, so that nobody takes a part for the whole. The local half of a
    /// [`Query::Ask`] is with the sockets' sessions when this returns, in order with what the caller dispatches.
    fn request(&self, query: Query, scope: Scope, deadline: Instant) -> Replies;
}

/// Told which namespaces a hub has. Called once at a time, in the thread that made a change, with what is so at that moment: of two
/// changes made at once the last call tells the outcome, and the same may be told twice. It must not change namespaces itself.
pub trait Observer: Send + Sync + Debug {
    /// A namespace exists. One that is created while [`Hub::observe`](super::Hub::observe) runs may be both reported here and listed by
    /// [`Hub::namespaces`](super::Hub::namespaces).
    fn namespace_created(&self, name: &Arc<str>);

    /// A namespace that clients had brought about does not exist any more: all of them have left it.
    fn namespace_removed(&self, name: &Arc<str>);
}
