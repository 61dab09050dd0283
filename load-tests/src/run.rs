//! Why a run could not be made.

use crate::{client::ClientError, connect::ConnectError, cpu::CpuError};

/// A run could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// A connection that the run begins with was not made.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A publisher lost its connection: what it published since is unknown, and it publishes no more.
    #[error("a publisher lost its connection: {0}")]
    Publisher(ClientError),
    /// A server's process cannot be read.
    #[error(transparent)]
    Cpu(#[from] CpuError),
}
