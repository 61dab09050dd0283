//! Operators: they choose sockets and build commands, and do nothing else.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures_util::StreamExt;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    BroadcastAckRequest, Command, Dispatch, EmitError, EmitFlags, FetchError, Io, Joined, NotDispatched, Partial, Query, RemoteSocket,
    Replies, Reply, Room, Scope, Target, parents::Parent, shared::now,
};
use crate::protocol::socketio::{Encoding, Payload};

/// The operators that say how an event is sent, of whatever has flags.
macro_rules! flags {
    ($who:ty) => {
        impl $who {
            /// Drops, and counts, the event for sockets that cannot be written to now.
            pub const fn volatile(mut self) -> Self {
                self.flags.volatile = true;
                self
            }

            /// Whether the event may be compressed where the transport compresses; it may unless this says no. Worth a no for what is
            /// compressed already, such as pictures.
            pub const fn compress(mut self, compress: bool) -> Self {
                self.flags.compress = compress;
                self
            }
        }
    };
}
pub(crate) use flags;

/// Some sockets of a namespace, chosen by operators, and what to do to them. Each operator gives a new one; nothing happens before the
/// last word, and what has been chosen may be kept, cloned and used again.
///
/// ```no_run
/// # use fanfare::hub::{EmitError, Io};
/// # fn tell(io: &Io) -> Result<(), EmitError> {
/// io.to(["lobby", "bar"]).except("admins").volatile().emit("news", &"a new guest")
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "operators do nothing by themselves"]
pub struct BroadcastOperator {
    dispatch: Arc<dyn Dispatch>,
    target: Target,
    scope: Scope,
    flags: EmitFlags,
    encoding: Encoding,
    timeouts: Timeouts,
    /// Stands for the namespaces of a parent, in the place of the target's.
    family: Option<Arc<Parent>>,
}

/// How long is waited: for clients, and for other nodes.
#[derive(Debug, Clone, Copy)]
struct Timeouts {
    acks: Duration,
    requests: Duration,
}

impl BroadcastOperator {
    pub(super) fn new(io: &Io, target: Target) -> Self {
        let config = io.hub().config();
        Self {
            dispatch: Arc::clone(io.dispatch()),
            target,
            scope: Scope::Cluster,
            flags: EmitFlags::default(),
            encoding: config.parser.encoding(),
            timeouts: Timeouts {
                acks: config.ack_timeout,
                requests: config.request_timeout,
            },
            family: None,
        }
    }

    /// Means the sockets of all namespaces of a parent.
    pub(super) fn of_children(mut self, parent: Arc<Parent>) -> Self {
        self.family = Some(parent);
        self
    }

    /// Hands over one command for each namespace that is meant; the first that is not taken is the last.
    fn dispatch<T: Clone>(&self, what: T, command: impl Fn(Target, T) -> Command) -> Result<(), NotDispatched> {
        if self.family.is_none() {
            return self.dispatch.dispatch(command(self.target.clone(), what), self.scope);
        }
        let mut targets = self.targets().into_iter();
        targets.try_for_each(|target| self.dispatch.dispatch(command(target, what.clone()), self.scope))
    }

    /// The target in each namespace that is meant.
    fn targets(&self) -> Vec<Target> {
        let Some(family) = &self.family else {
            return vec![self.target.clone()];
        };
        let children = family.children().into_iter();
        let target = |namespace| Target {
            namespace,
            ..self.target.clone()
        };
        children.map(target).collect()
    }

    /// Chooses the sockets of these rooms, beside those of rooms chosen before; each socket once.
    pub fn to(mut self, rooms: impl Rooms) -> Self {
        self.target.rooms.extend(rooms.into_rooms());
        self
    }

    /// The same as [`BroadcastOperator::to`] (`in` in JavaScript).
    pub fn in_(self, rooms: impl Rooms) -> Self {
        self.to(rooms)
    }

    /// Leaves out the sockets of these rooms.
    pub fn except(mut self, rooms: impl Rooms) -> Self {
        self.target.except.extend(rooms.into_rooms());
        self
    }

    /// Means the sockets of this node only.
    pub const fn local(mut self) -> Self {
        self.scope = Scope::Local;
        self
    }

    /// How long answers of clients, and replies of other nodes, are waited for; otherwise
    /// [`Config::ack_timeout`](super::Config::ack_timeout) and [`Config::request_timeout`](super::Config::request_timeout).
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeouts = Timeouts {
            acks: timeout,
            requests: timeout,
        };
        self
    }

    pub(super) const fn flags(mut self, flags: EmitFlags) -> Self {
        self.flags = flags;
        self
    }

    /// Sends an event. A tuple gives as many arguments as it has elements, anything else one. It is with the sockets' sessions on this
    /// node when this returns, and queued for other nodes; it never waits. In a [recoverable](super::recovery) namespace it goes to the
    /// log, and comes from there.
    ///
    /// # Errors
    /// [`EmitError`].
    pub fn emit<T: Serialize + ?Sized>(self, event: &str, args: &T) -> Result<(), EmitError> {
        let payload = self.encoding.event(event, args)?;
        self.emit_payload(payload)
    }

    /// Sends an event that is encoded already, for example [`Raw::payload`](super::Raw::payload).
    ///
    /// # Errors
    /// [`EmitError::Log`].
    pub fn emit_payload(self, payload: Payload) -> Result<(), EmitError> {
        let flags = self.flags;
        Ok(self.dispatch(payload, |target, payload| Command::Emit { target, payload, flags })?)
    }

    /// Sends an event as [`BroadcastOperator::emit`] does; in a [recoverable](super::recovery) namespace, what this gives resolves when the
    /// log of the namespace has confirmed the event: from then on it outlives this node. Elsewhere it resolves at once. It may be
    /// dropped: the event is on its way already.
    ///
    /// ```no_run
    /// # use fanfare::hub::{EmitError, Io};
    /// # async fn tell(io: Io) -> Result<(), EmitError> {
    /// io.to("ledger").emit_logged("booked", &42)?.await
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`BroadcastOperator::emit`]; the future's: [`EmitError::Log`].
    pub fn emit_logged<T: Serialize + ?Sized>(
        self,
        event: &str,
        args: &T,
    ) -> Result<impl Future<Output = Result<(), EmitError>> + Send + use<T>, EmitError> {
        let payload = self.encoding.event(event, args)?;
        let flags = self.flags;
        let mut logged = Vec::new();
        for target in self.targets() {
            let payload = payload.clone();
            logged.push(
                self.dispatch
                    .dispatch_logged(Command::Emit { target, payload, flags }, self.scope)?,
            );
        }
        Ok(async move {
            for logged in logged {
                logged.await?;
            }
            Ok(())
        })
    }

    /// Sends an event and asks each client to answer it, with one argument; the answers are awaited, or taken one by one. They are waited
    /// for as [`BroadcastOperator::timeout`] says, from now on.
    pub fn emit_with_ack<A: DeserializeOwned>(self, event: &str, args: &(impl Serialize + ?Sized)) -> BroadcastAckRequest<A> {
        BroadcastAckRequest::new(self.ask(event, args).0)
    }

    /// Sends an event that asks for answers. Gives them, and how long is waited.
    pub(super) fn ask(self, event: &str, args: &(impl Serialize + ?Sized)) -> (Result<Replies, EmitError>, Duration) {
        let (flags, timeout) = (self.flags, self.timeouts.acks);
        let replies = self.encoding.event(event, args).map_err(EmitError::from).map(|payload| {
            self.request(timeout, |target| {
                let payload = payload.clone();
                Query::Ask { target, payload, flags }
            })
        });
        (replies, timeout)
    }

    /// Tells the applications of the other nodes an event.
    pub(super) fn tell(self, event: &str, args: &(impl Serialize + ?Sized), answer: bool) -> Result<Replies, EmitError> {
        let payload = self.encoding.event(event, args)?;
        Ok(self.request(self.timeouts.requests, |target| {
            let payload = payload.clone();
            Query::Tell { target, payload, answer }
        }))
    }

    /// Asks one question in each namespace that is meant.
    fn request(&self, timeout: Duration, query: impl Fn(Target) -> Query) -> Replies {
        let deadline = now() + timeout;
        let targets = self.targets().into_iter();
        let asked = targets.map(|target| self.dispatch.request(query(target), self.scope, deadline));
        asked.reduce(Replies::and).unwrap_or_else(|| Replies::of([], deadline))
    }

    /// How many sockets there are now, on this node and the others.
    ///
    /// # Errors
    /// [`Partial`]: a node did not reply.
    pub async fn count_sockets(self) -> Result<usize, Partial<usize>> {
        let replies = self.request(self.timeouts.requests, |target| Query::Count { target });
        gathered(replies, |sum, reply| {
            if let Reply::Count(count) = reply {
                *sum += count;
            }
        })
        .await
    }

    /// The rooms that the sockets are in now, on this node and the others, and how many of them are in each; a socket's own is not among
    /// them.
    ///
    /// # Errors
    /// [`Partial`]: a node did not reply.
    pub async fn fetch_rooms(self) -> Result<BTreeMap<Room, usize>, Partial<BTreeMap<Room, usize>>> {
        let replies = self.request(self.timeouts.requests, |target| Query::Rooms { target });
        gathered(replies, |all: &mut BTreeMap<Room, usize>, reply| {
            if let Reply::Rooms(rooms) = reply {
                for (room, count) in rooms {
                    *all.entry(room).or_default() += count;
                }
            }
        })
        .await
    }

    /// The sockets as they are now, on this node and the others.
    ///
    /// # Errors
    /// [`FetchError::Partial`]: a node did not reply. `local()` asks no others. [`FetchError::Parent`]: a parent has no sockets.
    pub async fn fetch_sockets(self) -> Result<Vec<RemoteSocket>, FetchError> {
        if self.family.is_some() {
            return Err(FetchError::Parent);
        }
        let whole = Self {
            target: Target::namespace(Arc::clone(&self.target.namespace)),
            ..self.clone()
        };
        let replies = self.request(self.timeouts.requests, |target| Query::Sockets { target });
        let found = gathered(replies, |sockets: &mut Vec<_>, reply| {
            if let Reply::Socket(record) = reply {
                sockets.push(RemoteSocket::new(record, &whole));
            }
        });
        found
            .await
            .map_err(|Partial { known, missing }| FetchError::Partial { sockets: known, missing })
    }

    /// The ids of the sockets: see [`BroadcastOperator::fetch_sockets`].
    ///
    /// # Errors
    /// As [`BroadcastOperator::fetch_sockets`].
    pub async fn all_sockets(self) -> Result<HashSet<Room>, FetchError> {
        let sockets = self.fetch_sockets().await?;
        Ok(sockets.iter().map(|socket| Arc::clone(socket.id())).collect())
    }

    /// Sends the event `message`.
    ///
    /// # Errors
    /// As [`BroadcastOperator::emit`].
    pub fn send<T: Serialize + ?Sized>(self, args: &T) -> Result<(), EmitError> {
        self.emit("message", args)
    }

    /// The same as [`BroadcastOperator::send`].
    ///
    /// # Errors
    /// As [`BroadcastOperator::emit`].
    pub fn write<T: Serialize + ?Sized>(self, args: &T) -> Result<(), EmitError> {
        self.send(args)
    }

    /// Makes the sockets join rooms: at once, as far as later emits of this caller are concerned. [`Joined`] may be awaited: then what
    /// any node emits to the rooms reaches them.
    pub fn sockets_join(self, rooms: impl Rooms) -> Joined {
        let rooms: Vec<Room> = rooms.into_rooms().collect();
        let targets = self.targets().into_iter();
        let settled: Vec<_> = targets
            .map(|target| self.dispatch.dispatch_join(target, rooms.clone(), self.scope))
            .collect();
        Joined::everywhere(Box::pin(async move {
            for settled in settled {
                settled.await;
            }
        }))
    }

    /// Makes the sockets leave rooms.
    pub fn sockets_leave(self, rooms: impl Rooms) {
        let rooms: Vec<Room> = rooms.into_rooms().collect();
        self.dispatch(rooms, |target, rooms| Command::Leave { target, rooms }).ok();
    }

    /// Disconnects the sockets, as [`Socket::disconnect`](super::Socket::disconnect) does.
    pub fn disconnect_sockets(self, close: bool) {
        self.dispatch(close, |target, close| Command::Disconnect { target, close }).ok();
    }
}

flags!(BroadcastOperator);

/// All replies, gathered in one value; an error if some are missing.
async fn gathered<T: Default>(mut replies: Replies, mut gather: impl FnMut(&mut T, Reply)) -> Result<T, Partial<T>> {
    let mut known = T::default();
    while let Some(reply) = replies.next().await {
        gather(&mut known, reply);
    }
    let missing = replies.missing();
    if missing.is_none() {
        Ok(known)
    } else {
        Err(Partial { known, missing })
    }
}

/// The operators as methods of whatever has an `all()`: they begin with all its sockets.
macro_rules! operators {
    ($who:ident) => {
        $crate::hub::operators::choosers!($who, all, "The sockets");

        impl $who {
            /// All sockets, for events that may be dropped: see [`BroadcastOperator::volatile`](crate::hub::BroadcastOperator::volatile).
            pub fn volatile(&self) -> $crate::hub::BroadcastOperator {
                self.all().volatile()
            }

            /// All sockets, for events that may or may not be compressed: see
            /// [`BroadcastOperator::compress`](crate::hub::BroadcastOperator::compress).
            pub fn compress(&self, compress: bool) -> $crate::hub::BroadcastOperator {
                self.all().compress(compress)
            }

            /// All sockets, whose answers are waited for so long: see
            /// [`BroadcastOperator::timeout`](crate::hub::BroadcastOperator::timeout).
            pub fn timeout(&self, timeout: std::time::Duration) -> $crate::hub::BroadcastOperator {
                self.all().timeout(timeout)
            }

            /// Sends an event to all sockets: see [`BroadcastOperator::emit`](crate::hub::BroadcastOperator::emit).
            ///
            /// # Errors
            /// [`EmitError`](crate::hub::EmitError): the name is reserved, or the arguments cannot be encoded.
            pub fn emit<T: serde::Serialize + ?Sized>(&self, event: &str, args: &T) -> Result<(), $crate::hub::EmitError> {
                self.all().emit(event, args)
            }

            /// Sends the event `message` to all sockets.
            ///
            /// # Errors
            /// As `emit`.
            pub fn send<T: serde::Serialize + ?Sized>(&self, args: &T) -> Result<(), $crate::hub::EmitError> {
                self.all().send(args)
            }

            /// The same as `send`.
            ///
            /// # Errors
            /// As `emit`.
            pub fn write<T: serde::Serialize + ?Sized>(&self, args: &T) -> Result<(), $crate::hub::EmitError> {
                self.all().send(args)
            }

            /// Sends an event to all sockets and asks each to answer it: see
            /// [`BroadcastOperator::emit_with_ack`](crate::hub::BroadcastOperator::emit_with_ack).
            pub fn emit_with_ack<A: serde::de::DeserializeOwned>(
                &self,
                event: &str,
                args: &(impl serde::Serialize + ?Sized),
            ) -> $crate::hub::BroadcastAckRequest<A> {
                self.all().emit_with_ack(event, args)
            }

            /// All sockets as they are now: see [`BroadcastOperator::fetch_sockets`](crate::hub::BroadcastOperator::fetch_sockets).
            ///
            /// # Errors
            /// [`FetchError`](crate::hub::FetchError).
            pub async fn fetch_sockets(&self) -> Result<Vec<$crate::hub::RemoteSocket>, $crate::hub::FetchError> {
                self.all().fetch_sockets().await
            }

            /// The ids of all sockets: see [`BroadcastOperator::all_sockets`](crate::hub::BroadcastOperator::all_sockets).
            ///
            /// # Errors
            /// [`FetchError`](crate::hub::FetchError).
            pub async fn all_sockets(&self) -> Result<std::collections::HashSet<$crate::hub::Room>, $crate::hub::FetchError> {
                self.all().all_sockets().await
            }

            /// How many sockets there are now: see [`BroadcastOperator::count_sockets`](crate::hub::BroadcastOperator::count_sockets).
            ///
            /// # Errors
            /// [`Partial`](crate::hub::Partial).
            pub async fn count_sockets(&self) -> Result<usize, $crate::hub::Partial<usize>> {
                self.all().count_sockets().await
            }

            /// The rooms of all sockets: see [`BroadcastOperator::fetch_rooms`](crate::hub::BroadcastOperator::fetch_rooms).
            ///
            /// # Errors
            /// [`Partial`](crate::hub::Partial).
            pub async fn fetch_rooms(
                &self,
            ) -> Result<
                std::collections::BTreeMap<$crate::hub::Room, usize>,
                $crate::hub::Partial<std::collections::BTreeMap<$crate::hub::Room, usize>>,
            > {
                self.all().fetch_rooms().await
            }

            /// Sends an event to the applications of the other nodes, where
            /// [`on_server_event`](crate::hub::Namespace::on_server_event) handlers get it. Nobody is told whether it arrives.
            ///
            /// # Errors
            /// [`EmitError`](crate::hub::EmitError).
            pub fn server_side_emit<T: serde::Serialize + ?Sized>(&self, event: &str, args: &T) -> Result<(), $crate::hub::EmitError> {
                self.all().tell(event, args, false).map(drop)
            }

            /// The same, and asks each node for an answer. A node whose application does not answer is not waited for; one that cannot be
            /// heard is named. Awaited for [`Config::request_timeout`](crate::hub::Config::request_timeout) at most.
            pub fn server_side_emit_with_ack<A: serde::de::DeserializeOwned>(
                &self,
                event: &str,
                args: &(impl serde::Serialize + ?Sized),
            ) -> $crate::hub::BroadcastAckRequest<A> {
                $crate::hub::BroadcastAckRequest::new(self.all().tell(event, args, true))
            }

            /// Makes all sockets join rooms: see [`BroadcastOperator::sockets_join`](crate::hub::BroadcastOperator::sockets_join).
            pub fn sockets_join(&self, rooms: impl $crate::hub::Rooms) -> $crate::hub::Joined {
                self.all().sockets_join(rooms)
            }

            /// Makes all sockets leave rooms.
            pub fn sockets_leave(&self, rooms: impl $crate::hub::Rooms) {
                self.all().sockets_leave(rooms);
            }

            /// Disconnects all sockets: see [`Socket::disconnect`](crate::hub::Socket::disconnect).
            pub fn disconnect_sockets(&self, close: bool) {
                self.all().disconnect_sockets(close);
            }
        }
    };
}
pub(super) use operators;

/// The operators that choose sockets, as methods of whatever has a method that gives the first choice: `$whom`.
macro_rules! choosers {
    ($who:ty, $all:ident, $whom:literal) => {
        impl $who {
            #[doc = concat!($whom, " in the rooms.")]
            pub fn to(&self, rooms: impl $crate::hub::Rooms) -> $crate::hub::BroadcastOperator {
                self.$all().to(rooms)
            }

            #[doc = concat!($whom, " in the rooms; the same as `to` (`in` in JavaScript).")]
            pub fn in_(&self, rooms: impl $crate::hub::Rooms) -> $crate::hub::BroadcastOperator {
                self.to(rooms)
            }

            #[doc = concat!($whom, " in none of the rooms.")]
            pub fn except(&self, rooms: impl $crate::hub::Rooms) -> $crate::hub::BroadcastOperator {
                self.$all().except(rooms)
            }

            #[doc = concat!($whom, " on this node.")]
            pub fn local(&self) -> $crate::hub::BroadcastOperator {
                self.$all().local()
            }
        }
    };
}
pub(super) use choosers;

/// One room, or several: a name, or an array, slice or `Vec` of names.
pub trait Rooms {
    /// The rooms' names.
    fn into_rooms(self) -> impl Iterator<Item = Room>;
}

impl Rooms for &str {
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        std::iter::once(self.into())
    }
}

impl Rooms for String {
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        std::iter::once(self.into())
    }
}

impl Rooms for &String {
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        std::iter::once(self.as_str().into())
    }
}

impl Rooms for Room {
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        std::iter::once(self)
    }
}

impl Rooms for &Room {
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        std::iter::once(Arc::clone(self))
    }
}

impl<R: Into<Room>, const N: usize> Rooms for [R; N] {
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        self.into_iter().map(Into::into)
    }
}

impl<R: Into<Room>> Rooms for Vec<R> {
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        self.into_iter().map(Into::into)
    }
}

impl<R: Clone + Into<Room>> Rooms for &[R] {
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        self.iter().cloned().map(Into::into)
    }
}
