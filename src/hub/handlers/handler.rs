//! What a handler is, and how one is kept.

use std::{any::type_name, fmt, future::Future, marker::PhantomData, pin::Pin, sync::Arc};

use super::{Call, Extract, OnAny, OnConnect, OnDisconnect, OnError, OnEvent, OnMiddleware, OnPacket, Rejection, States};
use crate::hub::{ConnectError, Io, Joined, RegisterError};

/// An async function whose arguments are [`Extract`]ed from each call. `K` says where it may be registered ([`OnEvent`],
/// [`OnConnect`], [`OnMiddleware`], [`OnDisconnect`]), `A` are its arguments.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler for {K}",
    label = "not a handler here",
    note = "a handler is an async function or a closure returning a future that is `Send`, with at most 8 arguments",
    note = "each argument implements `Extract` for {K}: `Socket`, `Io`, `State<S>`, `Extension<T>` everywhere; `Data<T>`, `Args<T>`, `Raw` and `Ack` for events, `EventMut` in packet middlewares; `Data<T>` (the auth) on connect and in middlewares; `DisconnectReason` on disconnect; `EventError` on errors",
    note = "it returns `()` or `Result<(), E>` with `E: Display`; a middleware returns `Result<(), ConnectError>`"
)]
pub trait Handler<K, A>: Send + Sync + 'static {
    /// Whether every call will find what it needs beside the call itself; asked when the handler is registered.
    ///
    /// # Errors
    /// [`RegisterError::MissingState`].
    fn check(states: &States) -> Result<(), RegisterError>;

    /// Runs it.
    fn call(&self, call: Call) -> impl Future<Output = Result<(), Failure>> + Send + 'static;
}

/// Why a handler did not do its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// It was not called: an argument could not be read.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// It returned this error.
    #[error("{0}")]
    Failed(String),
    /// It is a middleware, and refused the socket.
    #[error(transparent)]
    Refused(#[from] ConnectError),
}

/// What a handler may return.
#[diagnostic::on_unimplemented(
    message = "a handler for {K} cannot return `{Self}`",
    note = "it returns `()` or `Result<(), E>` with `E: Display`; a middleware returns `Result<(), ConnectError>`"
)]
pub trait IntoOutcome<K> {
    /// The same, in one type.
    ///
    /// # Errors
    /// The handler's own error.
    fn into_outcome(self) -> Result<(), Failure>;
}

impl<K> IntoOutcome<K> for () {
    fn into_outcome(self) -> Result<(), Failure> {
        Ok(())
    }
}

impl IntoOutcome<OnMiddleware> for Result<(), ConnectError> {
    fn into_outcome(self) -> Result<(), Failure> {
        self.map_err(Failure::Refused)
    }
}

macro_rules! displayed {
    ($($kind:ty),*) => {$(
        impl<E: fmt::Display> IntoOutcome<$kind> for Result<(), E> {
            fn into_outcome(self) -> Result<(), Failure> {
                self.map_err(|error| Failure::Failed(error.to_string()))
            }
        }

        /// The last word of a handler may be to join a room.
        impl<E: fmt::Display> IntoOutcome<$kind> for Result<Joined, E> {
            fn into_outcome(self) -> Result<(), Failure> {
                IntoOutcome::<$kind>::into_outcome(self.map(drop))
            }
        }
    )*};
}
displayed!(OnEvent, OnAny, OnPacket, OnConnect, OnDisconnect, OnError);

/// The arguments of a handler, read one after the other.
trait Arguments<K>: Sized {
    fn check(states: &States) -> Result<(), RegisterError>;
    fn extract(call: &mut Call) -> Result<Self, Rejection>;
}

impl<K> Arguments<K> for () {
    fn check(_: &States) -> Result<(), RegisterError> {
        Ok(())
    }

    fn extract(_: &mut Call) -> Result<Self, Rejection> {
        Ok(())
    }
}

macro_rules! arguments {
    ($($argument:ident)*) => {
        impl<K, $($argument: Extract<K>,)*> Arguments<K> for ($($argument,)*) {
            fn check(states: &States) -> Result<(), RegisterError> {
                $($argument::check(states)?;)*
                Ok(())
            }

            fn extract(call: &mut Call) -> Result<Self, Rejection> {
                Ok(($($argument::extract(call)?,)*))
            }
        }
    };
}

macro_rules! handlers {
    ($($argument:ident $name:ident)*) => {
        impl<K, F, Fut, R, $($argument,)*> Handler<K, ($($argument,)*)> for F
        where
            F: Fn($($argument),*) -> Fut + Send + Sync + 'static,
            Fut: Future<Output = R> + Send + 'static,
            R: IntoOutcome<K>,
            $($argument: Extract<K>,)*
        {
            fn check(states: &States) -> Result<(), RegisterError> {
                <($($argument,)*) as Arguments<K>>::check(states)
            }

            fn call(&self, mut call: Call) -> impl Future<Output = Result<(), Failure>> + Send + 'static {
                let arguments = <($($argument,)*) as Arguments<K>>::extract(&mut call);
                let started = arguments.map(|($($name,)*)| self($($name),*));
                async move { started?.await.into_outcome() }
            }
        }
    };
}

handlers!();
handlers!(A a);
handlers!(A a B b);
handlers!(A a B b C c);
handlers!(A a B b C c D d);
handlers!(A a B b C c D d E e);
handlers!(A a B b C c D d E e G g);
handlers!(A a B b C c D d E e G g H h);
handlers!(A a B b C c D d E e G g H h I i);
arguments!(A);
arguments!(A B);
arguments!(A B C);
arguments!(A B C D);
arguments!(A B C D E);
arguments!(A B C D E G);
arguments!(A B C D E G H);
arguments!(A B C D E G H I);

/// A handler whose type is forgotten.
pub(in crate::hub) trait Erased<K>: Send + Sync {
    fn call(&self, call: Call) -> Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;
}

/// A handler, and the server through which it was registered: what its calls emit goes the same way.
pub(in crate::hub) struct Bound<K> {
    pub(in crate::hub) io: Io,
    pub(in crate::hub) handler: Box<dyn Erased<K>>,
    name: &'static str,
}

impl<K> fmt::Debug for Bound<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Keeps a handler, if it can be called.
pub(in crate::hub) fn bind<K: 'static, A: 'static, H: Handler<K, A>>(io: &Io, handler: H) -> Result<Arc<Bound<K>>, RegisterError> {
    H::check(io.states())?;
    Ok(Arc::new(Bound {
        io: io.clone(),
        handler: Box::new(Typed(handler, PhantomData)),
        name: type_name::<H>(),
    }))
}

struct Typed<H, A>(H, PhantomData<fn(A)>);

impl<K, A, H: Handler<K, A>> Erased<K> for Typed<H, A> {
    fn call(&self, call: Call) -> Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>> {
        Box::pin(self.0.call(call))
    }
}
