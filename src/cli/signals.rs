//! The signals that end a node.

use std::{io, process::ExitCode};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM and SIGINT, from the moment this is made.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes the signals over from their default, which is to end the process.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// The next signal. Cancel safe.
    pub(super) async fn next(&mut self) -> Ended {
        tokio::select! {
            _ = self.terminate.recv() => Ended { name: "SIGTERM", number: 15 },
            _ = self.interrupt.recv() => Ended { name: "SIGINT", number: 2 },
        }
    }
}

/// A signal that asked for the end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended {
    pub(super) name: &'static str,
    number: u8,
}

impl Ended {
    /// The exit code of a process that a signal ended.
    pub(super) fn code(self) -> ExitCode {
        (128 + self.number).into()
    }
}
