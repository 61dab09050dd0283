//! Waiting for a client's answer to an event.

use std::{future::IntoFuture, marker::PhantomData, pin::Pin, sync::Arc, time::Duration};

use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use super::{AckError, EmitError, EmitFlags, socket};
use crate::protocol::socketio::Payload;

/// An event that was emitted with the request to answer it; awaited, it gives the answer.
///
/// The event is on its way already. The answer is decoded by the rule of [`protocol::socketio::value`](crate::protocol::socketio::value): a
/// tuple takes as many arguments as it has elements, anything else the first. Dropping the request, or the future made of it, is safe at
/// any time: the answer is then ignored.
#[derive(Debug)]
#[must_use = "the answer is dropped unless this is awaited"]
pub struct AckRequest<T> {
    pending: Result<Pending, AckError>,
    timeout: Duration,
    answer: PhantomData<fn() -> T>,
}

/// An ack that is waited for; no longer when dropped.
#[derive(Debug)]
struct Pending {
    socket: Arc<socket::Core>,
    id: u64,
    answer: oneshot::Receiver<Payload>,
}

impl<T> AckRequest<T> {
    /// Emits the event.
    pub(super) fn new(socket: &Arc<socket::Core>, event: Result<Payload, EmitError>, flags: EmitFlags) -> Self {
        let pending = event.map_err(AckError::from).and_then(|payload| {
            let (id, answer) = socket.ask(&payload, flags)?;
            Ok(Pending {
                socket: Arc::clone(socket),
                id,
                answer,
            })
        });
        Self {
            pending,
            timeout: socket.shared().config.ack_timeout,
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
        let Self { pending, timeout, .. } = self;
        Box::pin(async move {
            let payload = pending?.wait(timeout).await?;
            Ok(payload.arguments().decode()?)
        })
    }
}

impl Pending {
    async fn wait(mut self, timeout: Duration) -> Result<Payload, AckError> {
        match tokio::time::timeout(timeout, &mut self.answer).await {
            Ok(answer) => answer.map_err(|_| AckError::Disconnected),
            Err(_) => {
                self.socket.shared().counters.acks_timed_out.increment();
                Err(AckError::Timeout)
            }
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.socket.forget(self.id);
    }
}
