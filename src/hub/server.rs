//! Events between the applications of the nodes: `serverSideEmit` of the reference.

use std::{fmt, panic::AssertUnwindSafe, pin::Pin, sync::Arc};

use futures_util::FutureExt;
use serde::{Serialize, de::DeserializeOwned};

use super::{EmitError, Rejection, namespace, replies::Gathering};
use crate::protocol::socketio::Payload;

/// An event that the application of another node has sent with
/// [`server_side_emit`](super::Namespace::server_side_emit): what a handler of
/// [`Namespace::on_server_event`](super::Namespace::on_server_event) is given.
///
/// ```no_run
/// # use fanfare::hub::{Io, RegisterError, ServerEvent};
/// fn serve(io: &Io) -> Result<(), RegisterError> {
///     let sockets = io.sockets();
///     let counted = sockets.clone();
///     sockets.on_server_event("how many?", move |event: ServerEvent| {
///         let count = counted.count();
///         async move { event.answer(&count).unwrap_or_default() }
///     })?;
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct ServerEvent {
    payload: Payload,
    answering: Option<Answering>,
}

/// A handler of such events.
pub(super) struct OnServer(Box<dyn Fn(ServerEvent) -> Handling + Send + Sync>);

type Handling = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Who asks waits for this node until it has answered, or says that it never will.
#[derive(Debug)]
struct Answering(Option<Arc<Gathering>>);

impl ServerEvent {
    pub(super) fn new(payload: Payload, asks: Option<&Arc<Gathering>>) -> Self {
        let answering = asks.map(|gathering| {
            gathering.expect();
            Answering(Some(Arc::clone(gathering)))
        });
        Self { payload, answering }
    }

    /// The `index`th argument, counted from 0, decoded.
    ///
    /// # Errors
    /// [`Rejection`]: there is no such argument, or it is of another type.
    pub fn arg<T: DeserializeOwned>(&self, index: usize) -> Result<T, Rejection> {
        self.payload.arg(index).map_err(|error| Rejection::new(error.to_string()))
    }

    /// The event with its arguments, as it came.
    #[must_use]
    pub const fn payload(&self) -> &Payload {
        &self.payload
    }

    /// Whether the sender asked for an answer.
    #[must_use]
    pub const fn is_asked(&self) -> bool {
        self.answering.is_some()
    }

    /// Answers, with one argument; nothing is sent where none was asked for. An event that is dropped without an answer is not waited
    /// for either.
    ///
    /// # Errors
    /// [`EmitError`]: the answer cannot be encoded.
    pub fn answer<T: Serialize + ?Sized>(mut self, answer: &T) -> Result<(), EmitError> {
        if let Some(answering) = self.answering.take() {
            answering.give(Payload::ack(&(answer,))?);
        }
        Ok(())
    }
}

impl Answering {
    fn give(mut self, answer: Payload) {
        if let Some(gathering) = self.0.take() {
            gathering.settle(Some(answer));
        }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        if let Some(gathering) = self.0.take() {
            gathering.settle(None);
        }
    }
}

impl OnServer {
    pub(super) fn new<F: Future<Output = ()> + Send + 'static>(handler: impl Fn(ServerEvent) -> F + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self(Box::new(move |event| Box::pin(handler(event)))))
    }
}

impl fmt::Debug for OnServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnServer")
    }
}

/// Runs a handler. A panic is counted, and costs nothing but this event.
pub(super) async fn run(namespace: Arc<namespace::Core>, handler: Arc<OnServer>, event: ServerEvent) {
    let outcome = AssertUnwindSafe(async { (handler.0)(event).await }).catch_unwind().await;
    if outcome.is_err() {
        namespace.panicked("a handler of another node's events");
    }
}
