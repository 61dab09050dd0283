//! Waiting for the answers of clients to an event: of one, or of many.

use std::{
    future::IntoFuture,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::{Stream, StreamExt};
use serde::de::DeserializeOwned;

use super::{AckError, BroadcastAckError, EmitError, EmitFlags, Missing, Replies, Reply, shared::now, socket};
use crate::protocol::socketio::{ArgumentError, Payload};

/// An event that was emitted with the request to answer it; awaited, it gives the answer.
///
/// The event is on its way already. The answer is decoded by the rule of [`protocol::socketio::value`](crate::protocol::socketio::value): a
/// tuple takes as many arguments as it has elements, anything else the first. Dropping the request, or the future made of it, is safe at
/// any time: the answer is then ignored.
#[derive(Debug)]
#[must_use = "the answer is dropped unless this is awaited"]
pub struct AckRequest<T> {
    replies: Result<Replies, AckError>,
    timeout: Duration,
    answer: PhantomData<fn() -> T>,
}

impl<T> AckRequest<T> {
    /// Emits the event.
    pub(super) fn new(socket: &Arc<socket::Core>, event: Result<Payload, EmitError>, flags: EmitFlags) -> Self {
        let asked = event.map_err(AckError::from).and_then(|payload| socket.ask(&payload, flags));
        Self::of(asked, socket.shared().config.ack_timeout)
    }

    /// Of an event that was emitted to one socket, wherever it is.
    pub(super) const fn of(replies: Result<Replies, AckError>, timeout: Duration) -> Self {
        Self {
            replies,
            timeout,
            answer: PhantomData,
        }
    }

    /// How long to wait for the answer, counted from the await; otherwise
    /// [`Config::ack_timeout`](super::Config::ack_timeout).
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

impl<T: DeserializeOwned + 'static> IntoFuture for AckRequest<T> {
    type Output = Result<T, AckError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { replies, timeout, .. } = self;
        Box::pin(async move {
            let mut replies = replies?;
            replies.until(now() + timeout);
            match replies.next().await {
                Some(Reply::Answer(payload)) => Ok(payload.arguments().decode()?),
                _ if replies.missing().is_none() => Err(AckError::Disconnected),
                _ => Err(AckError::Timeout),
            }
        })
    }
}

/// An event that was emitted to many clients with the request to answer it; awaited, it gives all answers, in no order.
///
/// The event is on its way already, and so is the deadline. Of each answer the first argument is decoded. A client that goes without
/// answering is not waited for. Dropping the request is safe at any time.
///
/// ```no_run
/// # use std::time::Duration;
/// # use fanfare::hub::{BroadcastAckError, Io};
/// async fn vote(io: &Io) -> Vec<bool> {
///     let votes = io.to("jury").timeout(Duration::from_secs(2)).emit_with_ack("guilty?", &());
///     match votes.await {
///         Ok(votes) => votes,
///         Err(BroadcastAckError::Partial { answers, .. }) => answers,
///         Err(_) => Vec::new(),
///     }
/// }
/// ```
#[derive(Debug)]
#[must_use = "the answers are dropped unless this is awaited"]
pub struct BroadcastAckRequest<T> {
    answers: Result<Answers<T>, EmitError>,
}

impl<T: DeserializeOwned> BroadcastAckRequest<T> {
    pub(super) fn new(replies: Result<Replies, EmitError>) -> Self {
        let answers = |replies| Answers {
            replies,
            answer: PhantomData,
        };
        Self {
            answers: replies.map(answers),
        }
    }

    /// The answers one by one, as they come.
    ///
    /// # Errors
    /// [`EmitError`]: the event was not emitted.
    pub fn stream(self) -> Result<Answers<T>, EmitError> {
        self.answers
    }
}

impl<T: DeserializeOwned + Send + 'static> IntoFuture for BroadcastAckRequest<T> {
    type Output = Result<Vec<T>, BroadcastAckError<T>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let mut stream = self.answers?;
            let (mut answers, mut unreadable) = (Vec::new(), 0);
            while let Some(answer) = stream.next().await {
                match answer {
                    Ok(answer) => answers.push(answer),
                    Err(_) => unreadable += 1,
                }
            }
            let missing = stream.missing();
            if missing.is_none() && unreadable == 0 {
                return Ok(answers);
            }
            Err(BroadcastAckError::Partial {
                answers,
                missing,
                unreadable,
            })
        })
    }
}

/// The answers of many clients: a stream that ends when nobody is left to answer, or at the deadline.
#[derive(Debug)]
#[must_use = "a stream does nothing unless it is polled"]
pub struct Answers<T> {
    replies: Replies,
    answer: PhantomData<fn() -> T>,
}

impl<T> Answers<T> {
    /// Who has not answered so far; after the stream's end, who never will.
    #[must_use]
    pub fn missing(&self) -> Missing {
        self.replies.missing()
    }
}

impl<T: DeserializeOwned> Stream for Answers<T> {
    type Item = Result<T, ArgumentError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match ready!(self.replies.poll_next_unpin(cx)) {
                Some(Reply::Answer(payload)) => return Poll::Ready(Some(payload.arguments().get(0))),
                Some(_) => {}
                None => return Poll::Ready(None),
            }
        }
    }
}
