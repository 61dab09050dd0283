//! Why a run could not be made.

use crate::{client::ClientError, connect::ConnectError, cpu::CpuError};

/// A run could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// A connection that the run begins with was not made.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The publisher lost its connection: nothing is published any more.
    #[error("the publisher lost its connection: {0}")]
    Publisher(ClientError),
    /// A server's process cannot be read.
    #[error(transparent)]
    Cpu(#[from] CpuError),
}
