//! The trait of records: small values with a revision, that expire.

use std::{fmt, future::Future, pin::Pin, time::Duration};

use bytes::Bytes;

use crate::{Away, Topic};

/// Values by key, changed by compare-and-set only, so that of several who change one exactly one succeeds.
///
/// No method blocks; a backend that cannot be reached is `Away`. Futures may be dropped: a change may have been made all the same.
pub trait Records: Send + Sync + fmt::Debug + 'static {
    /// The value of a key that has not expired, with its revision.
    fn get(&self, key: &Topic) -> Getting;

    /// Sets a value for a time. With a revision only if the present value has it; without one only if there is no value. Answers the new
    /// revision, which no value of this key had before, be it deleted or expired meanwhile.
    fn put(&self, key: &Topic, value: Bytes, revision: Option<u64>, expires_in: Duration) -> Putting;

    /// Deletes a value if it has this revision. Answers whether it did.
    fn delete(&self, key: &Topic, revision: u64) -> Deleting;

    /// What is held.
    fn counters(&self) -> RecordCounters;
}

/// Resolves to a value, if there is one.
pub type Getting = Pin<Box<dyn Future<Output = Result<Option<Kept>, Away>> + Send>>;

/// Resolves to the new revision.
pub type Putting = Pin<Box<dyn Future<Output = Result<u64, PutError>> + Send>>;

/// Resolves to whether there was such a value.
pub type Deleting = Pin<Box<dyn Future<Output = Result<bool, Away>> + Send>>;

/// A value as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// What was put, unchanged.
    pub value: Bytes,
    /// Which put it was.
    pub revision: u64,
}

/// Why a value was not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PutError {
    /// The backend is away: the value may have been set, or not.
    #[error("the backend is away")]
    Away,
    /// The present value has another revision, is there where none was expected, or is not there where one was.
    #[error("the record was changed by somebody else")]
    Conflict,
    /// There is no room for it.
    #[error("there is no room for more records")]
    Full,
}

/// What records there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RecordCounters {
    /// Records that have not expired. Of a backend outside of the process: 0, it tells itself.
    pub records: u64,
    /// Bytes of their values.
    pub bytes: u64,
}
