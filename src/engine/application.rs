//! The seam to the layer above: what an application of Engine.IO sessions implements.

use std::{fmt::Debug, sync::Arc};

use bytes::Bytes;

use super::{CloseReason, Handle, Handshake};

/// What runs on top of Engine.IO sessions: the hub, or a test's echo.
pub trait Application: Send + Sync + Debug + 'static {
    /// A session has opened. What it returns is owned by the session's driver and called by nobody else.
    fn opened(&self, session: &Handle, handshake: &Arc<Handshake>) -> Box<dyn Connection>;
}

/// The application's end of one session, owned by the session's driver. No method may block; each is called without any lock held.
pub trait Connection: Send + Debug + 'static {
    /// The peer sent a message. Messages come in the order in which the peer sent them.
    fn message(&mut self, message: Incoming<'_>) -> Flow;

    /// The instant given by [`Connection::deadline`] has come, perhaps a little late. Called while paused, too.
    fn timeout(&mut self) -> Flow;

    /// When [`Connection::timeout`] is to be called at the latest; asked after every call of a method of this trait.
    fn deadline(&self) -> Option<std::time::Instant>;

    /// The client is about to be asked for a sign of life, behind all that was pushed before. Not called where the client asks.
    fn asked(&mut self) {}

    /// The client has given the sign of life it was asked for: what was pushed before has arrived.
    fn answered(&mut self) {}

    /// The session has ended; nothing is called any more.
    fn closed(&mut self, reason: CloseReason);
}

/// A message of the peer, of Engine.IO packet type `message`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(Bytes),
}

/// What the driver does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Goes on reading.
    Continue,
    /// Reads nothing more from the transport until [`Handle::resume`] is called; heartbeats are not counted against the peer meanwhile.
    /// A resume that comes before the pause (from another thread, while the message was handled) ends it at once. A pause of more
    /// than `pause_timeout` ends the session.
    Pause,
    /// Sends what waits, then closes the session with this reason.
    Close(CloseReason),
}
