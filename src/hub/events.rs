//! What a socket's handlers are called for: one event on its way to its handler, and one handler.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex},
};

use futures_util::FutureExt;

use super::{
    EventError, Socket,
    handlers::{Answer, Bound, Call, Draft, Failure, Found, Listener, OnError},
    lane::Event,
    shared::lock,
    socket,
};
use crate::protocol::socketio::Payload;

/// Handles an event: the catch-alls, then the packet middlewares, then its handler; the namespace's before the socket's own.
pub(super) async fn handle(socket: &Arc<socket::Core>, Event { payload, ack, .. }: Event) {
    let (mut of_all, mut own) = socket.find(&payload);
    let answer = ack.map(|id| Answer::new(id, of_all.is_screened() || own.is_screened()));
    for catch_all in of_all.any.iter().chain(own.any.iter()) {
        let outcome = call(socket, catch_all, |socket| Call::event(socket, payload.clone(), answer.clone())).await;
        report(socket, own.error.as_ref().or(of_all.error.as_ref()), Some(&payload), outcome).await;
    }
    let mut payload = payload;
    if !(of_all.packets.is_empty() && own.packets.is_empty()) {
        let Some(passed) = screen(socket, (&of_all, &own), payload, &answer).await else {
            return socket.shared().counters.events_refused.increment();
        };
        // It may have got another name.
        (of_all, own) = socket.find(&passed);
        payload = passed;
    }
    let errors = own.error.as_ref().or(of_all.error.as_ref());
    let claim = |listener: &Listener| socket.claim(&payload, listener);
    let listener = own.listener.filter(claim).or_else(|| of_all.listener.filter(claim));
    let Some(handler) = listener.map(|listener| listener.handler).or(own.fallback).or(of_all.fallback) else {
        return socket.shared().counters.events_unhandled.increment();
    };
    let kept = errors.map(|_| payload.clone());
    let outcome = call(socket, &handler, |socket| Call::event(socket, payload, answer)).await;
    report(socket, errors, kept.as_ref(), outcome).await;
}

/// Asks the packet middlewares. Gives the event as they leave it; nothing if one has refused it, of which the error handler is told.
async fn screen(socket: &Arc<socket::Core>, (of_all, own): (&Found, &Found), payload: Payload, answer: &Option<Answer>) -> Option<Payload> {
    let draft: Draft = Arc::new(Mutex::new(payload));
    for middleware in of_all.packets.iter().chain(own.packets.iter()) {
        let outcome = call(socket, middleware, |socket| Call::packet(socket, &draft, answer.clone())).await;
        if let Err(error) = outcome {
            let refused = Err(match error {
                EventError::Failed(message) => EventError::Refused(message),
                error => error,
            });
            let payload = lock(&draft).clone();
            report(socket, own.error.as_ref().or(of_all.error.as_ref()), Some(&payload), refused).await;
            return None;
        }
    }
    let payload = lock(&draft).clone();
    Some(payload)
}

/// Runs one handler that is not an event's.
pub(super) async fn run<K: 'static>(socket: &Arc<socket::Core>, handler: &Bound<K>, make: impl FnOnce(Socket) -> Call) {
    let outcome = call(socket, handler, make).await;
    if outcome.is_err() {
        report(socket, socket.error_handler().as_ref(), None, outcome).await;
    }
}

/// Tells the error handler, if there is one, what went wrong, if anything did.
async fn report(
    socket: &Arc<socket::Core>,
    handler: Option<&Arc<Bound<OnError>>>,
    payload: Option<&Payload>,
    outcome: Result<(), EventError>,
) {
    if let (Err(error), Some(handler)) = (outcome, handler) {
        let again = call(socket, handler, |socket| Call::error(socket, payload.cloned(), error)).await;
        // Counted and logged; who would be told?
        drop(again);
    }
}

/// Runs a handler. A panic is counted and costs nothing but this call.
async fn call<K: 'static>(socket: &Arc<socket::Core>, handler: &Bound<K>, make: impl FnOnce(Socket) -> Call) -> Result<(), EventError> {
    let call = make(Socket::new(Arc::clone(socket), handler.io.clone()));
    let outcome = AssertUnwindSafe(async { handler.handler.call(call).await }).catch_unwind().await;
    match outcome {
        Ok(Ok(())) => Ok(()),
        Ok(Err(Failure::Rejected(rejection))) => {
            socket.shared().counters.events_rejected.increment();
            tracing::debug!(namespace = %socket.namespace.name, %rejection, "a handler's arguments cannot be read");
            Err(EventError::Rejected(rejection))
        }
        Ok(Err(failure @ (Failure::Failed(_) | Failure::Refused(_)))) => {
            socket.namespace.failed(handler, &failure);
            Err(EventError::Failed(failure.to_string()))
        }
        Err(_) => {
            socket.panicked("a handler");
            Err(EventError::Panicked)
        }
    }
}
