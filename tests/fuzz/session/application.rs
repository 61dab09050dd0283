//! The application of the session: it takes note.

use std::{
    sync::{Arc, Mutex},
    time::Instant,
};

use fanfare::engine::{Application, CloseReason, Connection, Flow, Handle, Handshake, Incoming};

use super::wire::Packet;

/// What the application has seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) session: Option<Handle>,
    pub(super) heard: Vec<Packet>,
    pub(super) closed: Vec<CloseReason>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Recorder(Arc<Mutex<Seen>>);

impl Recorder {
    pub(super) fn with<T>(&self, read: impl FnOnce(&mut Seen) -> T) -> T {
        read(&mut self.0.lock().expect("nobody panics with it"))
    }
}

impl Application for Recorder {
    fn opened(&self, session: &Handle, _: &Arc<Handshake>) -> Box<dyn Connection> {
        let before = self.with(|seen| seen.session.replace(session.clone()));
        assert!(before.is_none(), "a session was opened twice");
        Box::new(self.clone())
    }
}

impl Connection for Recorder {
    fn message(&mut self, message: Incoming<'_>) -> Flow {
        self.with(|seen| {
            assert!(seen.closed.is_empty(), "a message after the end");
            let (packet, flow) = match message {
                Incoming::Text(text) if text.starts_with('p') => (Packet::Text(format!("4{text}")), Flow::Pause),
                Incoming::Text(text) => (Packet::Text(format!("4{text}")), Flow::Continue),
                Incoming::Binary(data) => (Packet::Binary(data.to_vec()), Flow::Continue),
            };
            seen.heard.push(packet);
            flow
        })
    }

    fn timeout(&mut self) -> Flow {
        Flow::Continue
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn closed(&mut self, reason: CloseReason) {
        self.with(|seen| seen.closed.push(reason));
    }
}
