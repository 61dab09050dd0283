//! The end of a session: who is told, and what of its connection is still to be done.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tokio::time::Sleep;

use super::{
    super::{Outgoing, Transport, mailbox::Mailbox, scratch, session::End},
    Driver, Peer, UNITS, now,
};

impl Driver {
    /// Cuts the session off from the world: what waits of others is answered, what cannot be sent any more is dropped.
    pub(super) fn leave(&mut self, end: End) {
        let (poll, dropped) = self.mailbox.end(end.late_poll);
        self.release(poll, end.poll);
        drop(dropped);
        self.probe = None;
        self.post = None;
        if self.session.transport() == Transport::WebSocket && !end.reset {
            match self.peer {
                Peer::Listening => Mailbox::push_last(&self.mailbox, Outgoing::close(end.code)),
                Peer::Closing(code) => Mailbox::push_last(&self.mailbox, Outgoing::close(code)),
                Peer::Gone => {}
            }
        }
    }

    /// Writes the last bytes of a WebSocket and waits for the peer to end its side; says whether that came to its end in time.
    pub(super) fn poll_farewell(&mut self, cx: &mut Context<'_>, sleep: Pin<&mut Sleep>) -> Poll<bool> {
        let mail = self.mailbox.collect(cx.waker());
        if mail.is_some_and(|mail| mail.kill.is_some() || mail.broken) || sleep.poll(cx).is_ready() {
            return Poll::Ready(false);
        }
        self.write(cx, now());
        let Some(wire) = &mut self.wire else { return Poll::Ready(true) };
        if !self.mailbox.waiting().0 && wire.poll_flush(cx).is_ready() {
            match wire.poll_shutdown(cx) {
                Poll::Ready(Ok(())) if self.peer == Peer::Listening => {}
                Poll::Ready(_) => return Poll::Ready(true),
                Poll::Pending => {}
            }
        }
        // What the peer still sends is read and dropped: unread bytes would turn the close into a reset, and lose our last ones.
        for _ in 0..UNITS {
            match scratch::for_read(|buffer| wire.poll_read(cx, buffer)) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(length)) if length > 0 => {}
                Poll::Ready(_) => {
                    self.peer = Peer::Gone;
                    return if self.mailbox.waiting().0 {
                        Poll::Pending
                    } else {
                        Poll::Ready(true)
                    };
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
