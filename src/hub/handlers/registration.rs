//! The methods by which handlers are registered, for all sockets of a namespace as well as for one.

/// Gives `$who`, which has an `io`, a `register` and `listeners`, the methods; `$whose` are the sockets that it concerns.
macro_rules! registrations {
    ($who:ident, $whose:literal) => {
        impl $who {
            #[doc = concat!("Runs a handler for each event of that name of ", $whose, ". The events of a socket are handled in order, each when")]
            /// the one before is finished. There is one handler for each name, a later one takes the place of an earlier one; a socket's own
            /// is called in the place of the namespace's.
            ///
            /// A handler begins in the moment in which its event is read, and is a task of its own from when it first waits. Until then
            /// nothing else is read from its client, no ack either: what takes long belongs into `tokio::task::spawn_blocking`, and never is
            /// an answer of the same client to be waited for without `await`.
            ///
            /// # Errors
            /// [`RegisterError`](crate::hub::RegisterError).
            pub fn on<A: 'static>(
                &self,
                event: &str,
                handler: impl $crate::hub::handlers::Handler<$crate::hub::handlers::OnEvent, A>,
            ) -> Result<&Self, $crate::hub::RegisterError> {
                $crate::hub::handlers::check_name(event)?;
                self.add(handler, |listeners, handler| listeners.set(event, handler, false))?;
                Ok(self)
            }

            #[doc = concat!("Runs a handler for the next event of that name of ", $whose, ", in place of a handler given to `on`, and then no")]
            /// more: once in all, also where several sockets send it at the same time. (A namespace that comes of a parent begins with a once
            /// of its own.)
            ///
            /// # Errors
            /// [`RegisterError`](crate::hub::RegisterError).
            pub fn once<A: 'static>(
                &self,
                event: &str,
                handler: impl $crate::hub::handlers::Handler<$crate::hub::handlers::OnEvent, A>,
            ) -> Result<&Self, $crate::hub::RegisterError> {
                $crate::hub::handlers::check_name(event)?;
                self.add(handler, |listeners, handler| listeners.set(event, handler, true))?;
                Ok(self)
            }

            /// Removes the handler of an event, given to `on` or `once`.
            pub fn off(&self, event: &str) -> &Self {
                self.register(|listeners| listeners.events.remove(event));
                self
            }

            #[doc = concat!("Runs a handler for the events of ", $whose, " that no other handler is for. There is one, as with `on`.")]
            ///
            /// # Errors
            /// [`RegisterError::MissingState`](crate::hub::RegisterError::MissingState).
            pub fn fallback<A: 'static>(
                &self,
                handler: impl $crate::hub::handlers::Handler<$crate::hub::handlers::OnEvent, A>,
            ) -> Result<&Self, $crate::hub::RegisterError> {
                self.add(handler, |listeners, handler| listeners.fallback.replace(handler))?;
                Ok(self)
            }

            #[doc = concat!("Runs a handler for each event of ", $whose, ", before the event's own and before packet middlewares; behind those added")]
            /// before, and behind the namespace's. The event's handler runs when it has finished. What it gives is for `off_any`.
            ///
            /// # Errors
            /// [`RegisterError::MissingState`](crate::hub::RegisterError::MissingState).
            pub fn on_any<A: 'static>(
                &self,
                handler: impl $crate::hub::handlers::Handler<$crate::hub::handlers::OnAny, A>,
            ) -> Result<$crate::hub::ListenerId, $crate::hub::RegisterError> {
                self.add(handler, |listeners, handler| listeners.any.append(handler))
            }

            /// The same as `on_any`, in front of those added before.
            ///
            /// # Errors
            /// As `on_any`.
            pub fn prepend_any<A: 'static>(
                &self,
                handler: impl $crate::hub::handlers::Handler<$crate::hub::handlers::OnAny, A>,
            ) -> Result<$crate::hub::ListenerId, $crate::hub::RegisterError> {
                self.add(handler, |listeners, handler| listeners.any.prepend(handler))
            }

            /// Removes one handler added by `on_any` or `prepend_any`, if it is there.
            pub fn off_any(&self, id: &$crate::hub::ListenerId) -> &Self {
                self.register(|listeners| listeners.any.remove(id));
                self
            }

            /// Removes all handlers added by `on_any` and `prepend_any`.
            pub fn off_any_all(&self) -> &Self {
                self.register(|listeners| std::mem::take(&mut listeners.any));
                self
            }

            /// The handlers added by `on_any` and `prepend_any`, in the order in which they are called.
            #[must_use]
            pub fn listeners_any(&self) -> Vec<$crate::hub::ListenerId> {
                self.listeners(|listeners| listeners.any.ids())
            }

            #[doc = concat!("Tells a function of each event that is sent to ", $whose, ": of a broadcast once for each socket on this node that is")]
            /// meant, of answers not. It is called in the thread that emits, before `emit` returns, and holds that up; what it emits itself is
            /// told as well. What it gives is for `off_any_outgoing`.
            pub fn on_any_outgoing(
                &self,
                watch: impl Fn(&$crate::hub::Socket, &$crate::hub::Raw) + Send + Sync + 'static,
            ) -> $crate::hub::ListenerId {
                self.keep($crate::hub::handlers::Watcher::new(&self.io, watch), |listeners, watcher| {
                    listeners.outgoing.append(watcher)
                })
            }

            /// The same as `on_any_outgoing`, in front of those added before.
            pub fn prepend_any_outgoing(
                &self,
                watch: impl Fn(&$crate::hub::Socket, &$crate::hub::Raw) + Send + Sync + 'static,
            ) -> $crate::hub::ListenerId {
                self.keep($crate::hub::handlers::Watcher::new(&self.io, watch), |listeners, watcher| {
                    listeners.outgoing.prepend(watcher)
                })
            }

            /// Removes one function added by `on_any_outgoing` or `prepend_any_outgoing`, if it is there.
            pub fn off_any_outgoing(&self, id: &$crate::hub::ListenerId) -> &Self {
                self.register(|listeners| listeners.outgoing.remove(id));
                self
            }

            /// Removes all functions added by `on_any_outgoing` and `prepend_any_outgoing`.
            pub fn off_any_outgoing_all(&self) -> &Self {
                self.register(|listeners| std::mem::take(&mut listeners.outgoing));
                self
            }

            /// The functions added by `on_any_outgoing` and `prepend_any_outgoing`, in the order in which they are called.
            #[must_use]
            pub fn listeners_any_outgoing(&self) -> Vec<$crate::hub::ListenerId> {
                self.listeners(|listeners| listeners.outgoing.ids())
            }

            #[doc = concat!("Adds a packet middleware (`socket.use` of the reference): it is asked of each event of ", $whose, " whether it may be")]
            /// handled, behind those added before, and behind the namespace's. It may change the event
            /// ([`EventMut`](crate::hub::EventMut)), and answer it. Where it returns an error, or panics, the event is dropped: the client is
            /// told nothing, `on_error` handlers are.
            ///
            /// # Errors
            /// [`RegisterError::MissingState`](crate::hub::RegisterError::MissingState).
            pub fn with_packet<A: 'static>(
                &self,
                middleware: impl $crate::hub::handlers::Handler<$crate::hub::handlers::OnPacket, A>,
            ) -> Result<&Self, $crate::hub::RegisterError> {
                self.add(middleware, |listeners, middleware| listeners.packets.append(middleware))?;
                Ok(self)
            }

            #[doc = concat!("Runs a handler at the end of ", $whose, ", while [`Socket::rooms`](crate::hub::Socket::rooms) still gives the rooms that are left;")]
            /// nothing that is sent to them reaches the socket any more. It runs after the socket's events and before `on_disconnect`. There is
            /// one for the namespace and one for the socket, which both run, the namespace's first.
            ///
            /// # Errors
            /// [`RegisterError::MissingState`](crate::hub::RegisterError::MissingState).
            pub fn on_disconnecting<A: 'static>(
                &self,
                handler: impl $crate::hub::handlers::Handler<$crate::hub::handlers::OnDisconnect, A>,
            ) -> Result<&Self, $crate::hub::RegisterError> {
                self.add(handler, |listeners, handler| listeners.disconnecting.replace(handler))?;
                Ok(self)
            }

            #[doc = concat!("Runs a handler when ", $whose, " have ended and left their rooms, after their events. There is one for the namespace and one")]
            /// for the socket, which both run, the namespace's first.
            ///
            /// # Errors
            /// [`RegisterError::MissingState`](crate::hub::RegisterError::MissingState).
            pub fn on_disconnect<A: 'static>(
                &self,
                handler: impl $crate::hub::handlers::Handler<$crate::hub::handlers::OnDisconnect, A>,
            ) -> Result<&Self, $crate::hub::RegisterError> {
                self.add(handler, |listeners, handler| listeners.disconnect.replace(handler))?;
                Ok(self)
            }

            #[doc = concat!("Runs a handler for each event of ", $whose, " that was not handled, because a packet middleware refused it or its handler")]
            /// could not read its arguments, failed or panicked; and for other handlers that failed. There is one: a socket's own is called in
            /// the place of the namespace's. Its own errors are counted and logged only.
            ///
            /// # Errors
            /// [`RegisterError::MissingState`](crate::hub::RegisterError::MissingState).
            pub fn on_error<A: 'static>(
                &self,
                handler: impl $crate::hub::handlers::Handler<$crate::hub::handlers::OnError, A>,
            ) -> Result<&Self, $crate::hub::RegisterError> {
                self.add(handler, |listeners, handler| listeners.error.replace(handler))?;
                Ok(self)
            }

            /// Keeps a handler, if it can be called, where `place` puts it.
            fn add<K: 'static, A: 'static, T>(
                &self,
                handler: impl $crate::hub::handlers::Handler<K, A>,
                place: impl FnOnce(&mut $crate::hub::handlers::Listeners, std::sync::Arc<$crate::hub::handlers::Bound<K>>) -> T,
            ) -> Result<$crate::hub::ListenerId, $crate::hub::RegisterError> {
                Ok(self.keep($crate::hub::handlers::bind(&self.io, handler)?, place))
            }

            fn keep<L: Send + Sync + 'static, T>(
                &self,
                listener: std::sync::Arc<L>,
                place: impl FnOnce(&mut $crate::hub::handlers::Listeners, std::sync::Arc<L>) -> T,
            ) -> $crate::hub::ListenerId {
                let id = $crate::hub::ListenerId::of(&listener);
                self.register(|listeners| place(listeners, listener));
                id
            }
        }
    };
}
pub(in crate::hub) use registrations;

use crate::{hub::RegisterError, protocol::socketio::is_reserved};

/// Whether clients can send an event of this name.
pub(in crate::hub) fn check_name(event: &str) -> Result<(), RegisterError> {
    if is_reserved(event) {
        return Err(RegisterError::Reserved(event.into()));
    }
    Ok(())
}
