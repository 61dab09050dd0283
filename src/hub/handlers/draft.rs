//! An event that packet middlewares may change.

use std::sync::{Arc, Mutex};

use serde::{Serialize, de::DeserializeOwned};

use super::{Raw, Rejection};
use crate::{
    hub::{EmitError, shared::lock},
    protocol::socketio::{Encoding, Payload},
};

/// An event on its way to its handler, which a packet middleware may change: the array that the reference hands to `socket.use`. The
/// middlewares behind it, the handler and error handlers see what it was made. A later change, by a task that outlives the middlewares,
/// changes nothing.
///
/// ```no_run
/// use fanfare::hub::{EventMut, Io, RegisterError};
///
/// async fn trim(event: EventMut) -> Result<(), Box<dyn std::error::Error>> {
///     if event.name() == "say" {
///         let text: String = event.arg(0)?;
///         event.set_arg(0, text.trim())?;
///     }
///     Ok(())
/// }
///
/// # fn serve(io: &Io) -> Result<(), RegisterError> {
/// io.sockets().with_packet(trim)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct EventMut {
    draft: Draft,
    encoding: Encoding,
}

/// The event as it is now.
pub(in crate::hub) type Draft = Arc<Mutex<Payload>>;

impl EventMut {
    pub(super) const fn new(draft: Draft, encoding: Encoding) -> Self {
        Self { draft, encoding }
    }

    /// The event as it is now, undecoded.
    #[must_use]
    pub fn raw(&self) -> Raw {
        Raw::new(lock(&self.draft).clone())
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> String {
        self.raw().event()
    }

    /// The `index`th argument, counted from 0, decoded.
    ///
    /// # Errors
    /// [`Rejection`]: there is no such argument, or it is of another type.
    pub fn arg<T: DeserializeOwned>(&self, index: usize) -> Result<T, Rejection> {
        self.raw().arg(index)
    }

    /// All arguments, decoded: a tuple has one element for each.
    ///
    /// # Errors
    /// [`Rejection`]: one is missing, or is of another type.
    pub fn args<T: DeserializeOwned>(&self) -> Result<T, Rejection> {
        self.raw().args()
    }

    /// Gives it another name, and so another handler.
    ///
    /// # Errors
    /// [`EmitError`]: the name is reserved.
    pub fn set_name(&self, name: &str) -> Result<(), EmitError> {
        self.change(|event| event.renamed(name).map_err(EmitError::from))
    }

    /// Puts a value in the place of the `index`th argument, counted from 0; arguments that are missing before it are null.
    ///
    /// # Errors
    /// [`EmitError`]: it has no JSON form.
    pub fn set_arg<T: Serialize + ?Sized>(&self, index: usize, value: &T) -> Result<(), EmitError> {
        self.change(|event| self.encoding.with_arg(event, index, value).map_err(EmitError::from))
    }

    /// Puts others in the place of all arguments: of a tuple each element, anything else is one.
    ///
    /// # Errors
    /// [`EmitError`]: they have no JSON form.
    pub fn set_args<T: Serialize + ?Sized>(&self, args: &T) -> Result<(), EmitError> {
        let others = self.encoding.event(&self.name(), args)?;
        self.change(|_| Ok(others))
    }

    fn change(&self, change: impl FnOnce(&Payload) -> Result<Payload, EmitError>) -> Result<(), EmitError> {
        // Not under the lock: a value of the application serializes itself.
        let changed = change(self.raw().payload())?;
        *lock(&self.draft) = changed;
        Ok(())
    }
}
