//! The seam to the layer above: who keeps the logs of the namespaces, and the records of the sessions.

use std::{fmt::Debug, pin::Pin, sync::Arc, time::Duration};

use super::{Offset, Pid, Record};
use crate::hub::Command;

/// Keeps one log for each recoverable namespace, and the records of its sessions. Implemented by the layer above, which also appends
/// what is dispatched and hands each entry back to [`Hub::deliver`](crate::hub::Hub::deliver).
///
/// No method blocks; the futures may be dropped at any time.
pub trait Journal: Send + Sync + Debug + 'static {
    /// The entries after a position, at most as many as are good to have in memory at once, but one if there is one.
    fn read(&self, namespace: &Arc<str>, after: u64) -> Later<Result<Page, Unread>>;

    /// Where the log of a namespace ends now.
    fn end(&self, namespace: &Arc<str>) -> Later<Result<Offset, Away>>;

    /// A session's record, with its revision.
    fn record(&self, namespace: &Arc<str>, pid: &Pid) -> Later<Result<Option<(Record, u64)>, Away>>;

    /// Keeps a session's record for a time, in place of the one of this revision; without a revision only if there is none. Answers the
    /// new revision.
    fn keep(&self, pid: &Pid, record: &Record, revision: Option<u64>, expires_in: Duration) -> Later<Result<u64, NotKept>>;

    /// Forgets a session's record if it has this revision. Answers whether it did.
    fn forget(&self, namespace: &Arc<str>, pid: &Pid, revision: u64) -> Later<Result<bool, Away>>;
}

/// What comes later, or at once.
pub type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A part of a log.
#[derive(Debug, Clone)]
pub struct Page {
    /// Its entries, in order and without a hole.
    pub entries: Vec<Arc<Logged>>,
    /// Where the log ended, as far as was known when it was read.
    pub end: Offset,
}

/// An entry of a log.
#[derive(Debug, Clone)]
pub struct Logged {
    /// Its position.
    pub position: u64,
    /// What is to be done: an emit. Nothing where the entry cannot be read.
    pub command: Option<Command>,
}

/// Log and records cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the log is away")]
pub struct Away;

/// Why a log could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// It cannot be reached.
    #[error("the log is away")]
    Away,
    /// It does not have these entries, any more or yet.
    #[error("the log does not have these entries")]
    Gone,
}

/// Why a record was not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotKept {
    /// The records cannot be reached, or there is no room for more.
    #[error("the records are away or full")]
    Away,
    /// Somebody else has changed it.
    #[error("the session was taken over")]
    TakenOver,
}
