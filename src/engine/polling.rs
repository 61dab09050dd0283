//! HTTP long-polling without HTTP: polls, posts, and what they are answered (Engine.IO protocol v4, HTTP long-polling).

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll as Progress, ready},
};

use bytes::Bytes;
use tokio::sync::oneshot::{self, error::TryRecvError};

use crate::protocol::engineio::{
    handshake::Refusal,
    jsonp::{self, Callback},
    payload::{self, Form},
};

use super::{
    Carrier, Handle, NotAdmitted, Outgoing, Routed,
    carrier::{Coming, Parked},
    dialect::Dialect,
    driver::now,
    mailbox::Parking,
};

/// When a client that found the node shutting down may come back, in seconds: it finds another node, or waits for this one's successor.
const RETRY_AFTER: u16 = 1;

/// An answer to an HTTP request, byte for byte as the reference server gives it; but an answer by JSONP is declared as the script that it
/// is, which browsers insist on where `nosniff` is said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// `Content-Type`, where there is one.
    pub content_type: Option<&'static str>,
    /// Whether `Cache-Control: no-store` is to be said.
    pub no_store: bool,
    /// Whether `X-Content-Type-Options: nosniff` is to be said: what clients wrote is in the body, and a page loads it as a script.
    pub nosniff: bool,
    /// Whether it may be compressed: it is the answer to a poll, and one of its messages allows it.
    pub compress: bool,
    /// `Retry-After`, in seconds, where there is one.
    pub retry_after: Option<u16>,
    /// The body.
    pub body: Bytes,
}

/// What a poll is answered.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) body: Bytes,
    form: Form,
    /// Whether one of its messages allows compression.
    pub(super) compress: bool,
}

impl Reply {
    /// An empty answer.
    #[must_use]
    pub fn empty(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// How a request is refused: JSON with code and message.
    #[must_use]
    pub fn refused(refusal: &Refusal) -> Self {
        Self {
            status: refusal.status(),
            content_type: Some("application/json"),
            body: refusal.json().into(),
            ..Self::default()
        }
    }

    /// How a client is refused that may have a session, when there is no room: 503, so that a balancer tries another node; one whose
    /// address has too many is told so with code 4.
    #[must_use]
    pub fn not_admitted(reason: NotAdmitted) -> Self {
        match reason.refusal() {
            Some(refusal) => Self::refused(&refusal),
            None => Self {
                retry_after: (reason == NotAdmitted::Closing).then_some(RETRY_AFTER),
                ..Self::empty(503)
            },
        }
    }

    /// How an upgrade is refused: always 400, the message alone. The connection is to be closed after it.
    #[must_use]
    pub fn refused_upgrade(refusal: &Refusal) -> Self {
        Self {
            status: 400,
            content_type: Some("text/html"),
            body: Bytes::copy_from_slice(refusal.message().as_bytes()),
            ..Self::default()
        }
    }

    /// The answer to a poll; a script where there is a callback.
    pub(super) fn payload(Answer { body, form, compress }: Answer, callback: Option<&Callback>) -> Self {
        let (content_type, body) = match (callback, form) {
            (None, Form::Separated | Form::Counted) => ("text/plain; charset=UTF-8", body),
            (None, Form::Binary) => ("application/octet-stream", body),
            // Its session has everything as text.
            (Some(callback), _) => (
                "text/javascript; charset=UTF-8",
                callback.script(&String::from_utf8_lossy(&body)).into(),
            ),
        };
        Self {
            status: 200,
            content_type: Some(content_type),
            no_store: true,
            nosniff: callback.is_some(),
            compress,
            body,
            ..Self::default()
        }
    }

    /// The answer to a POST.
    fn posted(callback: Option<&Callback>) -> Self {
        Self {
            status: 200,
            content_type: Some("text/html"),
            no_store: true,
            nosniff: callback.is_some(),
            body: Bytes::from_static(b"ok"),
            ..Self::default()
        }
    }
}

impl Answer {
    /// The payload of these messages.
    pub(super) fn of(messages: &[Outgoing], dialect: Dialect) -> Self {
        let form = dialect.form(messages);
        let length = messages.iter().map(|message| message.payload(form).len() + 1).sum();
        let mut body = Vec::with_capacity(length);
        for message in messages {
            payload::append(&mut body, message.payload(form), form);
        }
        Self {
            body: body.into(),
            form,
            compress: messages.iter().any(Outgoing::may_be_compressed),
        }
    }

    /// The payload of packets of the session's own.
    pub(super) fn packets(packets: &[&str], form: Form) -> Self {
        let mut body = Vec::new();
        for packet in packets {
            payload::push_text(&mut body, packet, form);
        }
        Self {
            body: body.into(),
            form,
            compress: false,
        }
    }
}

/// A poll that waits for its answer. Cancel-safe is what it must not be: dropped before its end it ends the session with
/// `transport error`, for a client that aborts a poll has gone, and what the answer was to carry is lost. One whose [carrier](Carrier) has
/// broken was not given up by its client, which may poll again.
#[must_use]
pub struct Poll {
    handle: Handle,
    /// None once it was answered.
    answer: Option<oneshot::Receiver<Answer>>,
    carrier: Option<Carrier>,
}

impl Poll {
    /// Parks a poll. One that overlaps another ends the session.
    pub(super) fn begin(handle: &Handle, coming: Coming<'_>) -> Result<Routed, Refusal> {
        let (came, (answer, receiver)) = (now(), oneshot::channel());
        Ok(match handle.0.park(Parked::new(answer, coming), coming)? {
            Parking::Parked => Routed::Poll(Self {
                handle: handle.clone(),
                answer: Some(receiver),
                carrier: coming.carrier.cloned(),
            }),
            Parking::Early(carrier) => Routed::Early(carrier, came),
            Parking::Answered(answer) => {
                handle.0.shared.counters.polls_repeated.increment();
                Routed::Reply(Reply::payload(answer, handle.0.callback.as_ref()))
            }
            Parking::Violation => Routed::Reply(Reply::empty(400)),
        })
    }
}

impl Future for Poll {
    type Output = Reply;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Progress<Reply> {
        let Some(answer) = &mut self.answer else {
            return Progress::Ready(Reply::empty(400));
        };
        let answer = ready!(Pin::new(answer).poll(cx));
        self.answer = None;
        // Without an answer the session has ended under the poll.
        let callback = self.handle.0.callback.as_ref();
        Progress::Ready(answer.map_or_else(|_| Reply::empty(400), |answer| Reply::payload(answer, callback)))
    }
}

impl Drop for Poll {
    fn drop(&mut self) {
        // One that has lost its place, to the same poll or with the session, is nobody's to give up.
        let waits = |answer: &mut oneshot::Receiver<Answer>| !matches!(answer.try_recv(), Err(TryRecvError::Closed));
        if !self.answer.as_mut().is_some_and(waits) {
            return;
        }
        match &self.carrier {
            Some(carrier) if carrier.has_broken() => self.handle.0.withdraw_poll(carrier),
            _ => self.handle.0.post(|mail| mail.violation = true),
        }
    }
}

impl fmt::Debug for Poll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Poll").field(&self.handle).finish()
    }
}

/// A POST whose body is being read. Dropped before its end it ends the session with `transport error`: a client that aborts a POST has
/// gone, and what it carried is lost.
#[derive(Debug)]
#[must_use]
pub struct Post {
    handle: Handle,
    form: Form,
    /// Ends with the body taken, or without a value with the session.
    taken: oneshot::Receiver<()>,
    /// Nothing is owed to the session any more.
    done: bool,
}

impl Post {
    /// Begins a POST. The inner error is the answer to one that overlaps another, or is binary in revision 4, which ends the session.
    pub(super) fn begin(handle: &Handle, content_type: Option<&str>) -> Result<Result<Self, Reply>, Refusal> {
        let binary = content_type == Some("application/octet-stream");
        let (answer, taken) = oneshot::channel();
        let Some(form) = handle.0.begin_post(answer, binary)? else {
            return Ok(Err(Reply::empty(400)));
        };
        Ok(Ok(Self {
            handle: handle.clone(),
            form,
            taken,
            done: false,
        }))
    }

    /// The most bytes that a body may have. A form (JSONP) may be longer than the payload in it, which has the same bound as any.
    #[must_use]
    pub fn max_body(&self) -> usize {
        match self.callback() {
            None => self.max_payload(),
            Some(_) => jsonp::max_form(self.max_payload()),
        }
    }

    /// The answer to a body of more bytes than that. What it carried is lost, so the session ends with `transport error`. (The
    /// reference lets it go on, one message short.)
    #[must_use]
    pub fn too_large(self) -> Reply {
        Reply::empty(413)
    }

    /// Ends when the session has ended under the body that is being read; with its answer.
    pub async fn abandoned(&mut self) -> Reply {
        // Nobody sends before the body is handed in.
        drop((&mut self.taken).await);
        Reply::empty(400)
    }

    /// Hands the body to the session, and waits until all of it was taken: at once, except while the session is paused. A broken
    /// packet in it is answered `ok` like everything else, and ends the session.
    pub async fn finish(mut self, body: Bytes) -> Reply {
        if body.len() > self.max_body() {
            return self.too_large();
        }
        let payload = match self.callback().map(|_| jsonp::payload(&body)) {
            None => body,
            Some(Some(payload)) if payload.len() > self.max_payload() => return self.too_large(),
            Some(Some(payload)) => payload.into(),
            // A form without a payload is nothing to the session, as in the reference.
            Some(None) => {
                self.done = true;
                drop(self.handle.0.end_post());
                return Reply::posted(self.callback());
            }
        };
        self.done = true;
        self.handle.0.post(|mail| mail.post = Some((payload, self.form)));
        // Without an answer the session has ended before it took everything.
        match (&mut self.taken).await {
            Ok(()) => Reply::posted(self.callback()),
            Err(_) => Reply::empty(400),
        }
    }

    fn max_payload(&self) -> usize {
        self.handle.0.shared.config.max_http_buffer_size
    }

    fn callback(&self) -> Option<&Callback> {
        self.handle.0.callback.as_ref()
    }
}

impl Drop for Post {
    fn drop(&mut self) {
        if !self.done {
            self.handle.0.post(|mail| mail.violation = true);
        }
    }
}
