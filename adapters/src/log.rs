//! The trait of a log: what is appended has one order for everybody, and can be read again for a while.

use std::{fmt, future::Future, pin::Pin};

use bytes::Bytes;

use crate::{Follower, Topic};

/// Logs of entries, each log named by a topic and made by the first append to it.
///
/// An entry has a position: 1 for the first of a log, one more for each further entry, so that a hole shows in the positions. A log
/// keeps its entries for a bounded time and in a bounded number of bytes; what was trimmed is said by [`ReadError::Trimmed`] and never
/// passed over. A log that has lost what it had acknowledged begins a new epoch, and its positions mean nothing to those of the old one.
///
/// No method blocks. What is asked of a backend that cannot be reached is answered with `Away`, not waited for: whoever asks holds it and
/// asks again. Futures may be dropped: an append may have been done all the same.
pub trait Log: Send + Sync + fmt::Debug + 'static {
    /// Appends an entry, once: an origin (at most [`MAX_ORIGIN`] bytes) numbers its entries of a log from any number on without holes,
    /// and what is appended again under the same number is not appended again. What one handle appends is taken in the order of
    /// the calls.
    fn append(&self, log: &Topic, origin: &str, sequence: u64, entry: Bytes) -> Appending;

    /// Reads the entries after a position, at most as many as `bound` says, but one if there is one.
    fn read(&self, log: &Topic, after: u64, bound: Bound) -> Reading;

    /// Where the log ends now. Of a log to which nothing was appended: position 0.
    fn end(&self, log: &Topic) -> Ending;

    /// Follows the log: every entry that is appended from now on, in order.
    fn follow(&self, log: &Topic) -> Following;

    /// What happened so far, and what is held.
    fn counters(&self) -> LogCounters;
}

/// The longest name of an origin, in bytes.
pub const MAX_ORIGIN: usize = 64;

/// Resolves when the backend has confirmed an append, or cannot.
pub type Appending = Pin<Box<dyn Future<Output = Result<Appended, AppendError>> + Send>>;

/// Resolves to a part of a log.
pub type Reading = Pin<Box<dyn Future<Output = Result<Page, ReadError>> + Send>>;

/// Resolves to the end of a log.
pub type Ending = Pin<Box<dyn Future<Output = Result<Place, Away>> + Send>>;

/// Resolves to what follows a log, and the place after which it does so.
pub type Following = Pin<Box<dyn Future<Output = Result<(Follower, Place), Away>> + Send>>;

/// A place in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    /// Which life of the log; a number drawn at random.
    pub epoch: u64,
    /// The position of an entry; 0 is before the first.
    pub position: u64,
}

/// An entry as it stands in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its position.
    pub position: u64,
    /// What was appended, unchanged.
    pub entry: Bytes,
}

/// How much is read at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// Entries.
    pub entries: usize,
    /// Bytes of entries.
    pub bytes: usize,
}

/// A part of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Its entries, without a hole, beginning right after the position that was asked for.
    pub entries: Vec<Entry>,
    /// Where the log ended when it was read.
    pub end: Place,
}

/// What became of an append that was confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// It stands at this position.
    At(u64),
    /// It had been appended before.
    Before,
}

/// The backend cannot be reached, or has not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the backend is away")]
pub struct Away;

/// Why an append was not confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The backend is away: the entry may have been appended, or not. To be tried again under the same number.
    #[error("the backend is away")]
    Away,
    /// An entry before this one is missing: nothing was appended.
    #[error("entry {expected} of this origin is to be appended before")]
    OutOfOrder {
        /// The number that is the next of this origin.
        expected: u64,
    },
    /// The backend does not take entries of this size.
    #[error("the entry has {size} bytes, a log takes at most {limit}")]
    TooLarge {
        /// Bytes of the entry.
        size: usize,
        /// What the backend takes.
        limit: usize,
    },
}

/// Why a log could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The backend is away.
    #[error("the backend is away")]
    Away,
    /// Entries after the position that was asked for have been trimmed.
    #[error("the entries before {first} have been trimmed")]
    Trimmed {
        /// The first position that is kept; one after the end if nothing is.
        first: u64,
    },
    /// The position that was asked for lies behind the end.
    #[error("the log ends at {end}")]
    Ahead {
        /// The last position.
        end: u64,
    },
}

/// What a log counted since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogCounters {
    /// Entries appended by this handle; repeated ones are not counted.
    pub appended: u64,
    /// Entries that are kept now, of all logs. Of a backend outside of the process: 0, it tells itself.
    pub entries: u64,
    /// Bytes of these entries.
    pub bytes: u64,
    /// Entries trimmed so far.
    pub trimmed: u64,
}
