//! An application of bare Engine.IO sessions: each message comes back as it is.

use std::{sync::Arc, time::Instant};

use fanfare::engine::{Application, CloseReason, Connection, Flow, Handle, Handshake, Incoming, Outgoing};

#[derive(Debug)]
pub(crate) struct Echo;

#[derive(Debug)]
struct Session(Handle);

impl Application for Echo {
    fn opened(&self, session: &Handle, _: &Arc<Handshake>) -> Box<dyn Connection> {
        Box::new(Session(session.clone()))
    }
}

impl Connection for Session {
    fn message(&mut self, message: Incoming<'_>) -> Flow {
        let echo = match message {
            Incoming::Text(text) => Outgoing::new(&[text], &[]),
            Incoming::Binary(bytes) => Outgoing::binary(&bytes),
        };
        // A session that has ended, or takes no more, wants no echo.
        let _ = self.0.push(&echo);
        Flow::Continue
    }

    fn timeout(&mut self) -> Flow {
        Flow::Continue
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn closed(&mut self, _: CloseReason) {}
}
