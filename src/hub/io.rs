//! The server as applications see it.

use std::{fmt, sync::Arc};

use super::{BroadcastOperator, Dispatch, Hub, Namespace, Target, handlers::States, operators::operators};

/// The server: its namespaces, and the sockets of all nodes. Cheap to clone.
///
/// What `to`, `emit` and so on mean is the namespace `/`; [`Io::of`] gives the others.
///
/// ```
/// use fanfare::{
///     engine::id::NodeTag,
///     hub::{Ack, Args, Config, Data, EmitError, Hub, Io, RegisterError, Socket},
/// };
///
/// async fn chat(socket: Socket, Data(text): Data<String>) -> Result<(), EmitError> {
///     socket.broadcast().emit("chat", &text)
/// }
///
/// async fn add(Args((a, b)): Args<(i64, i64)>, ack: Ack) -> Result<(), EmitError> {
///     ack.send(&(a + b))
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hub = Hub::new(Config::default(), NodeTag::random());
/// let io = Io::new(hub.clone(), hub);
/// io.sockets().on("chat", chat)?.on("add", add)?;
/// io.emit("news", &"hello")?;
/// assert!(io.emit("connect", &()).is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Io {
    hub: Arc<Hub>,
    dispatch: Arc<dyn Dispatch>,
}

impl Io {
    /// A server out of the hub of this node and what carries commands out: the hub itself, or the cluster around it.
    #[must_use]
    pub const fn new(hub: Arc<Hub>, dispatch: Arc<dyn Dispatch>) -> Self {
        Self { hub, dispatch }
    }

    /// A namespace, which is made if there is none of this name. A leading `/` is added if missing; a comma in the name, which the
    /// protocol cannot carry, makes a namespace that no client can join.
    #[must_use]
    pub fn of(&self, name: &str) -> Namespace {
        Namespace::new(self.hub.namespace(name), self.clone())
    }

    /// The namespace `/`.
    #[must_use]
    pub fn sockets(&self) -> Namespace {
        self.of("/")
    }

    /// Gives a value to handlers that are registered from now on, as [`State`](super::State). There is one of each type.
    pub fn provide<S: Send + Sync + 'static>(&self, state: S) -> &Self {
        drop(self.states().insert(Arc::new(state)));
        self
    }

    /// All sockets of the namespace `/`.
    pub fn all(&self) -> BroadcastOperator {
        BroadcastOperator::new(self, Target::namespace("/".into()))
    }

    /// The hub of this node.
    #[must_use]
    pub const fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    pub(super) const fn dispatch(&self) -> &Arc<dyn Dispatch> {
        &self.dispatch
    }

    pub(super) fn states(&self) -> &States {
        self.hub.states()
    }
}

operators!(Io);

impl fmt::Debug for Io {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Io")
    }
}
