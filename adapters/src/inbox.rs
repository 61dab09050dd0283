//! The one way in: everything that a node hears from its backend.

use bytes::Bytes;

use crate::Topic;

/// What an [`Inbox`] yields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// A message that some node, maybe this one, published.
    Message {
        /// Where it was published.
        topic: Topic,
        /// What was published, unchanged.
        payload: Bytes,
    },
    /// Messages may be missing between the delivery before this and the one after it.
    Gap(GapCause),
    /// The backend is reachable and every recorded subscription is confirmed; after each (re)connect.
    Connected,
    /// The backend is not reachable.
    Disconnected,
}

/// Why messages may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum GapCause {
    /// The connection to the backend was down.
    Reconnected,
    /// The inbox had reached its bound in bytes; what came then was dropped.
    InboxFull,
    /// The client library dropped messages before the adapter saw them.
    Lagged,
}
