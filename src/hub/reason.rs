//! Why a socket ended.

use std::fmt;

use crate::engine::CloseReason;

/// Why a socket ended, with the reference's words for it. A disconnect handler takes it as an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// The client left the namespace.
    ClientNamespaceDisconnect,
    /// The server disconnected the socket.
    ServerNamespaceDisconnect,
    /// The connection below ended.
    Connection(CloseReason),
}

impl DisconnectReason {
    /// The reference's text, for example `client namespace disconnect` or `ping timeout`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientNamespaceDisconnect => "client namespace disconnect",
            Self::ServerNamespaceDisconnect => "server namespace disconnect",
            Self::Connection(reason) => reason.as_str(),
        }
    }

    /// Whether a session that ended so waits for its client: when neither side wanted it to end.
    pub(super) fn is_recoverable(self) -> bool {
        match self {
            Self::ClientNamespaceDisconnect | Self::ServerNamespaceDisconnect => false,
            Self::Connection(reason) => reason != CloseReason::ParseError,
        }
    }
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
