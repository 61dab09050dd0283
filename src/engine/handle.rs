//! A session as everybody but its driver has it.

use std::{fmt, sync::Arc};

use bytes::Bytes;

use super::{
    CloseReason, Config, Outgoing, Transport,
    dialect::Dialect,
    flusher::Shared,
    id::{NodeTag, new_id},
    mailbox::{Line, Mailbox, Phase},
};

/// A session, to everybody but its driver. A clone is a reference count; a handle of a session that has ended does nothing.
#[derive(Clone)]
pub struct Handle(pub(super) Arc<Mailbox>);

/// What became of a message that was pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It waits, and will be written unless the session ends before.
    Queued,
    /// It was volatile, and the transport was not writable at this moment.
    Dropped,
    /// More waits than the outbox takes: the session was closed with `transport error`.
    Overflow,
    /// The session has ended, or is closing.
    Closed,
}

impl Handle {
    /// The id of the session: 20 characters, a secret between server and client.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// Queues a message, behind all that were queued before. Never blocks and calls no code of the application.
    pub fn push(&self, message: &Outgoing) -> Pushed {
        Mailbox::push(&self.0, message.clone(), false)
    }

    /// Queues a message if the transport is writable now and nothing waits; drops and counts it otherwise.
    pub fn push_volatile(&self, message: &Outgoing) -> Pushed {
        Mailbox::push(&self.0, message.clone(), true)
    }

    /// Whether long messages are compressed for this session: it is on a WebSocket on which that was agreed.
    #[must_use]
    pub fn deflates(&self) -> bool {
        let offered = self.0.shared.config.per_message_deflate.is_some();
        offered && self.0.lock().outbox.dialect().deflate_from.is_some()
    }

    /// Compresses a message as it would be when it is pushed to this session, unless that was done before: for who holds locks while he
    /// pushes, and wants a long message to be compressed before.
    pub fn deflate(&self, message: &Outgoing) {
        let wanted = self.0.lock().outbox.deflates(message);
        if let Some(dialect) = wanted {
            self.0.deflate(message, dialect);
        }
    }

    /// Sends what waits, then closes the session. Pushes from now on are answered [`Pushed::Closed`]. The first reason given counts.
    pub fn close(&self, reason: CloseReason) {
        self.0.close(reason, None);
    }

    /// Ends the session now, without a word to the client. Pushes from now on do nothing.
    pub fn cut(&self, reason: CloseReason) {
        self.0.kill(reason);
    }

    /// Bytes that wait to be sent, as WebSocket frames; 0 once the session has ended.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.lock().outbox.bytes()
    }

    /// Ends a pause that the application asked for with [`Flow::Pause`](super::Flow::Pause). Without one it does nothing.
    pub fn resume(&self) {
        self.0.post(|mail| mail.resume = true);
    }

    /// Answers the poll that waits, if one does, with a noop: the client polls again, and may do so elsewhere.
    pub fn release_poll(&self) {
        self.0.release_poll();
    }

    /// The transport of this moment.
    #[must_use]
    pub fn transport(&self) -> Transport {
        match self.0.lock().line {
            Line::Polling => Transport::Polling,
            Line::Tcp(_) | Line::Boxed | Line::Tap => Transport::WebSocket,
        }
    }

    /// Whether the transport takes a message at this moment, with none waiting before it: a WebSocket that is not behind, a parked poll.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.0.lock().is_writable()
    }

    /// Whether the session has ended or is closing.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.lock().phase != Phase::Open
    }

    /// A session without a transport, for tests of the layers above: what is pushed stays until the [`Tap`] takes it.
    #[must_use]
    pub fn detached() -> (Handle, Tap) {
        let shared = Arc::new(Shared::new(Config::default(), 1));
        let id = new_id(NodeTag::random());
        let mailbox = Mailbox::new(id.into_boxed_str(), shared, 0, Line::Tap, Dialect::PLAIN, None);
        (Handle(mailbox.clone()), Tap(mailbox))
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An id is a capability: logs show its head, which names the node and little more.
        write!(f, "Handle({}..)", self.0.id.get(..6).unwrap_or_default())
    }
}

/// The far end of a [detached](Handle::detached) session.
#[derive(Debug)]
pub struct Tap(Arc<Mailbox>);

impl Tap {
    /// Takes what waits: of each message the text and the attachments.
    #[must_use]
    pub fn frames(&self) -> Vec<(String, Vec<Bytes>)> {
        let batch = self.0.lock().outbox.take(usize::MAX);
        batch
            .entries
            .iter()
            .map(|message| (message.text().to_owned(), message.attachments().collect()))
            .collect()
    }

    /// Why the session was closed, if it was.
    #[must_use]
    pub fn closed(&self) -> Option<CloseReason> {
        let state = self.0.lock();
        let mail = state.mail.as_ref()?;
        mail.kill.or(mail.close.map(|(reason, _)| reason))
    }

    /// Whether [`Handle::resume`] was called since the last time this was asked.
    #[must_use]
    pub fn resumed(&self) -> bool {
        self.0.lock().mail.as_mut().is_some_and(|mail| std::mem::take(&mut mail.resume))
    }
}
