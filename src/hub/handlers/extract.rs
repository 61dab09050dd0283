//! What a handler may take as arguments.

use std::{any::type_name, fmt, ops::Deref, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};

use super::{Answer, Call, EventMut, OnAny, OnConnect, OnDisconnect, OnError, OnEvent, OnMiddleware, OnPacket, States};
use crate::{
    hub::{DisconnectReason, EmitError, EventError, Io, RegisterError, Socket},
    protocol::socketio::{Arguments, Attachments, Payload},
};

/// An argument of handlers of the kind `K`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of a handler for {K}",
    note = "`Socket`, `Io`, `State<S>` and `Extension<T>` can everywhere; `Data<T>`, `Args<T>`, `Raw` and `Ack` for events, `EventMut` in packet middlewares; `Data<T>` (the auth) on connect and in middlewares; `DisconnectReason` on disconnect; `EventError` on errors",
    note = "for a value that the client sends, use `Data<{Self}>`"
)]
pub trait Extract<K>: Sized + Send {
    /// Whether [`Extract::extract`] will find what is not part of the call; asked when a handler is registered.
    ///
    /// # Errors
    /// [`RegisterError::MissingState`].
    fn check(states: &States) -> Result<(), RegisterError> {
        let _ = states;
        Ok(())
    }

    /// Reads it from a call.
    ///
    /// # Errors
    /// [`Rejection`], with which the call ends.
    fn extract(call: &mut Call) -> Result<Self, Rejection>;
}

/// Why an argument of a handler could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Rejection(String);

impl Rejection {
    /// A rejection with a text for the log.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    fn of(error: &dyn std::error::Error) -> Self {
        Self(error.to_string())
    }
}

/// The first argument of an event, or the auth of a CONNECT packet (`{}` if it had none), decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Data<T>(pub T);

/// All arguments of an event, decoded: a tuple has one element for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Args<T>(pub T);

/// A value of the application, given to [`Io::provide`] before the handler was registered.
#[derive(Debug)]
pub struct State<S>(pub Arc<S>);

/// A value of this socket, given to [`Socket::extend`]; the handler is not called where there is none.
#[derive(Debug)]
pub struct Extension<T>(pub Arc<T>);

/// An event as it came, not decoded: to be forwarded as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raw(Payload);

/// The way to answer an event. Dropped, it answers nothing.
///
/// ```no_run
/// use fanfare::hub::{Ack, Data, EmitError};
///
/// async fn double(Data(number): Data<u32>, ack: Ack) -> Result<(), EmitError> {
///     ack.send(&(number * 2))
/// }
/// ```
#[derive(Debug)]
pub struct Ack {
    socket: Socket,
    answer: Option<Answer>,
}

impl Ack {
    /// Whether the client asked for an answer that was not given yet: not by a catch-all or a packet middleware either.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.answer.as_ref().is_some_and(Answer::is_due)
    }

    /// Answers: a tuple gives as many arguments as it has elements, anything else one. Nothing is sent to a client that did not ask, that
    /// has been answered, or that is gone.
    ///
    /// # Errors
    /// [`EmitError`]: the answer cannot be encoded.
    pub fn send<T: Serialize + ?Sized>(self, args: &T) -> Result<(), EmitError> {
        if self.is_wanted() {
            let payload = self.socket.encoding().ack(args)?;
            self.send_payload(&payload);
        }
        Ok(())
    }

    /// Answers with arguments that are encoded already, for example [`Raw::arguments`].
    pub fn send_payload(self, args: &Payload) {
        if let Some(id) = self.answer.and_then(Answer::give) {
            self.socket.answer(id, args);
        }
    }
}

impl Raw {
    pub(in crate::hub) const fn new(payload: Payload) -> Self {
        Self(payload)
    }

    /// The event's name.
    #[must_use]
    pub fn event(&self) -> String {
        self.0.as_event().map(|(name, _)| name.into_owned()).unwrap_or_default()
    }

    /// The event with its arguments, for [`BroadcastOperator::emit_payload`](crate::hub::BroadcastOperator::emit_payload).
    #[must_use]
    pub const fn payload(&self) -> &Payload {
        &self.0
    }

    /// The `index`th argument, counted from 0, decoded.
    ///
    /// # Errors
    /// [`Rejection`]: there is no such argument, or it is of another type.
    pub fn arg<T: DeserializeOwned>(&self, index: usize) -> Result<T, Rejection> {
        self.0.arg(index).map_err(|error| Rejection::of(&error))
    }

    /// All arguments, decoded: a tuple has one element for each.
    ///
    /// # Errors
    /// [`Rejection`]: one is missing, or is of another type.
    pub fn args<T: DeserializeOwned>(&self) -> Result<T, Rejection> {
        self.0.args().map_err(|error| Rejection::of(&error))
    }

    /// The arguments without the name, for [`Ack::send_payload`].
    #[must_use]
    pub fn arguments(&self) -> Payload {
        let arguments = self.0.as_event().map(|(_, arguments)| arguments);
        let text = arguments.as_ref().map_or("", Arguments::text);
        let json = format!("[{text}]");
        let attachments: Attachments = self.0.attachments().iter().cloned().collect();
        Payload::from_parts(json.into(), attachments).unwrap_or_else(|_| self.0.clone())
    }
}

impl<S> Deref for State<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.0
    }
}

impl<S> Clone for State<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for Extension<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Clone for Extension<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: fmt::Display> fmt::Display for Data<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<K> Extract<K> for Socket {
    fn extract(call: &mut Call) -> Result<Self, Rejection> {
        Ok(call.socket.clone())
    }
}

impl<K> Extract<K> for Io {
    fn extract(call: &mut Call) -> Result<Self, Rejection> {
        Ok(call.socket.io().clone())
    }
}

impl<K, S: Send + Sync + 'static> Extract<K> for State<S> {
    fn check(states: &States) -> Result<(), RegisterError> {
        states
            .get::<S>()
            .map(|_| ())
            .ok_or_else(|| RegisterError::MissingState(type_name::<S>()))
    }

    fn extract(call: &mut Call) -> Result<Self, Rejection> {
        let state = call.socket.io().states().get::<S>();
        state.map(State).ok_or_else(|| Rejection::new("the hub is closed"))
    }
}

impl<K, T: Send + Sync + 'static> Extract<K> for Extension<T> {
    fn extract(call: &mut Call) -> Result<Self, Rejection> {
        let extension = call.socket.extension::<T>();
        let missing = || Rejection::new(format!("the socket has no {}", type_name::<T>()));
        extension.map(Self).ok_or_else(missing)
    }
}

impl<K, E: Extract<K>> Extract<K> for Result<E, Rejection> {
    fn check(states: &States) -> Result<(), RegisterError> {
        E::check(states)
    }

    fn extract(call: &mut Call) -> Result<Self, Rejection> {
        Ok(E::extract(call))
    }
}

impl<T: DeserializeOwned + Send> Extract<OnConnect> for Data<T> {
    fn extract(call: &mut Call) -> Result<Self, Rejection> {
        call.socket.auth().map(Self)
    }
}

impl<T: DeserializeOwned + Send> Extract<OnMiddleware> for Data<T> {
    fn extract(call: &mut Call) -> Result<Self, Rejection> {
        call.socket.auth().map(Self)
    }
}

/// What is read from an event, wherever one is at hand.
macro_rules! of_events {
    ($($kind:ty),*) => {$(
        impl<T: DeserializeOwned + Send> Extract<$kind> for Data<T> {
            fn extract(call: &mut Call) -> Result<Self, Rejection> {
                payload(call)?.arg(0).map(Self).map_err(|error| Rejection::of(&error))
            }
        }

        impl<T: DeserializeOwned + Send> Extract<$kind> for Args<T> {
            fn extract(call: &mut Call) -> Result<Self, Rejection> {
                payload(call)?.args().map(Self).map_err(|error| Rejection::of(&error))
            }
        }

        impl Extract<$kind> for Raw {
            fn extract(call: &mut Call) -> Result<Self, Rejection> {
                payload(call).cloned().map(Self)
            }
        }
    )*};
}
of_events!(OnEvent, OnAny, OnPacket, OnError);

macro_rules! answered {
    ($($kind:ty),*) => {$(
        impl Extract<$kind> for Ack {
            fn extract(call: &mut Call) -> Result<Self, Rejection> {
                Ok(Self {
                    socket: call.socket.clone(),
                    answer: call.answer.take(),
                })
            }
        }
    )*};
}
answered!(OnEvent, OnAny, OnPacket);

impl Extract<OnPacket> for EventMut {
    fn extract(call: &mut Call) -> Result<Self, Rejection> {
        let draft = call.draft.clone().ok_or_else(|| Rejection::new("there is no event"))?;
        Ok(Self::new(draft, call.socket.encoding()))
    }
}

impl Extract<OnDisconnect> for DisconnectReason {
    fn extract(call: &mut Call) -> Result<Self, Rejection> {
        call.reason.ok_or_else(|| Rejection::new("the socket has not ended"))
    }
}

impl Extract<OnError> for EventError {
    fn extract(call: &mut Call) -> Result<Self, Rejection> {
        call.error.clone().ok_or_else(|| Rejection::new("nothing went wrong"))
    }
}

fn payload(call: &Call) -> Result<&Payload, Rejection> {
    call.payload().ok_or_else(|| Rejection::new("there is no event"))
}
