//! Why a run could not be made.

use crate::{connect::ConnectError, cpu::CpuError};

/// A run could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// A connection that the run begins with was not made.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A server's process cannot be read.
    #[error(transparent)]
    Cpu(#[from] CpuError),
}
