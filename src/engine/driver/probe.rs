//! The WebSocket that wants to take a session over from polling (Engine.IO protocol v4, Upgrade).

use std::task::{Context, Poll};

use crate::protocol::{
    engineio::decode_text,
    websocket::{Message, Opcode},
};

use super::{
    super::{Outgoing, dialect::Dialect, mailbox::Mailbox, scratch, session::Probed, websocket::Wire},
    Driver, PROBE_PONG,
};

/// A WebSocket that probes.
pub(super) struct Probe {
    wire: Wire,
    /// How it wants its packets encoded.
    dialect: Dialect,
    /// Frames on their way out. A client that probes and does not read gets no further ones.
    out: Vec<u8>,
    /// A close frame is among them, and the last.
    closing: bool,
}

impl Probe {
    pub(super) const fn new(wire: Wire, dialect: Dialect) -> Self {
        Self {
            wire,
            dialect,
            out: Vec::new(),
            closing: false,
        }
    }

    /// Closes a WebSocket that came when the session could take none. A close frame that does not go out at once is not waited for.
    pub(super) fn decline(mut self, cx: &mut Context<'_>) {
        self.close();
        drop(self.wire.poll_write_probe(cx, &mut self.out));
    }

    fn close(&mut self) {
        self.out.extend_from_slice(Outgoing::close(None).frames());
        self.closing = true;
    }
}

impl Driver {
    /// Reads the WebSocket that probes. Anything that is not part of the upgrade closes it, and nothing else.
    pub(super) fn read_probe(&mut self, cx: &mut Context<'_>, budget: &mut usize) -> bool {
        let mut progress = false;
        while *budget > 0
            && let Some(mut probe) = self.probe.take()
        {
            *budget -= 1;
            match self.poll_probe(&mut probe, cx) {
                Poll::Pending => {
                    self.probe = Some(probe);
                    break;
                }
                Poll::Ready(None) => {
                    progress = true;
                    self.session.probe_closed();
                }
                Poll::Ready(Some(Probed::Switch)) => {
                    progress = true;
                    self.switch(probe.wire, probe.dialect);
                }
                Poll::Ready(Some(_)) => {
                    progress = true;
                    self.probe = Some(probe);
                }
            }
        }
        progress
    }

    /// Goes on with what probes: writes what it was answered, reads its next packet. Nothing means that it is to be closed.
    fn poll_probe(&mut self, probe: &mut Probe, cx: &mut Context<'_>) -> Poll<Option<Probed>> {
        match probe.wire.poll_write_probe(cx, &mut probe.out) {
            // A close frame that does not go out at once is not waited for.
            _ if probe.closing => return Poll::Ready(None),
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(_)) => return Poll::Ready(None),
            Poll::Ready(Ok(())) => {}
        }
        let (mut bytes, mut used) = match probe.wire.take_unread() {
            Some(unread) => unread,
            None => {
                let read = scratch::for_read(|buffer| {
                    probe
                        .wire
                        .poll_read(cx, buffer)
                        .map_ok(|length| buffer.get(..length).unwrap_or_default().to_vec())
                });
                match read {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(bytes)) if !bytes.is_empty() => (bytes, 0),
                    Poll::Ready(_) => return Poll::Ready(None),
                }
            }
        };
        let mut outcome = Some(Probed::Pong);
        while let Some(rest) = bytes.get_mut(used..).filter(|rest| !rest.is_empty()) {
            let Ok((length, message)) = probe.wire.decoder.decode(rest) else {
                return Poll::Ready(None);
            };
            used += length;
            match message {
                None if length == 0 => break,
                None | Some(Message::Pong(_)) => continue,
                Some(Message::Text(text)) => match self.session.probe_received(&decode_text(text, probe.dialect.revision)) {
                    Probed::Pong => probe.out.extend_from_slice(PROBE_PONG.frames()),
                    Probed::Switch => outcome = Some(Probed::Switch),
                    Probed::Close => probe.close(),
                },
                Some(Message::Ping(payload)) => probe.out.extend_from_slice(Outgoing::control(Opcode::Pong, payload).frames()),
                Some(Message::Binary(_) | Message::Close(..)) => probe.close(),
            }
            break;
        }
        if !probe.closing {
            probe.wire.keep_unread(bytes, used);
        }
        Poll::Ready(outcome)
    }

    /// The WebSocket that probed becomes the transport. What waits goes out on it; a poll that still waits is refused.
    fn switch(&mut self, wire: Wire, dialect: Dialect) {
        let poll = Mailbox::switch(&self.mailbox, wire.tcp().cloned(), dialect);
        // The client had no poll when it finished its upgrade: this one came after that, whichever connection was read first.
        drop(poll);
        self.wire = Some(Box::new(wire));
        self.stalled = None;
        self.mailbox.shared.counters.upgraded.increment();
    }
}
