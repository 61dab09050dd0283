//! The server as applications see it.

use std::{fmt, sync::Arc};

use serde_json::Value;

use super::{
    BroadcastOperator, Dispatch, Hub, Namespace, NodeLeft, ParentNamespace, Target, handlers::States, operators::operators,
    parents::matches,
};

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

    /// Namespaces that come to be when a client asks for one that does not exist, and `decide` says yes to its name and to what the
    /// client gave as `auth`. Where there are several of these, they are asked in the order of their making, and the first yes counts. A
    /// namespace that exists is joined without asking: whether a client may join is for middlewares to say.
    ///
    /// A child begins with the middlewares and handlers that its parent has at that time. Names of more than 255 bytes are refused, and so
    /// are children beyond [`Config::max_child_namespaces`](super::Config::max_child_namespaces). A child stays when its sockets have left, unless
    /// [`Config::cleanup_empty_child_namespaces`](super::Config::cleanup_empty_child_namespaces) says otherwise: then while sessions wait there; what was registered on that
    /// child alone goes with it.
    ///
    /// ```no_run
    /// # use fanfare::hub::{Io, RegisterError, Socket};
    /// # async fn is_tenant(_: &str) -> bool { true }
    /// fn serve(io: &Io) -> Result<(), RegisterError> {
    ///     let tenants = io.of_dynamic(|name, _auth| async move {
    ///         match name.strip_prefix("/tenant-") {
    ///             Some(tenant) => is_tenant(tenant).await,
    ///             None => false,
    ///         }
    ///     });
    ///     tenants.on("ping", async |socket: Socket| socket.emit("pong", socket.namespace()))?;
    ///     Ok(())
    /// }
    /// ```
    pub fn of_dynamic<F, D>(&self, decide: F) -> ParentNamespace
    where
        F: Fn(Arc<str>, Value) -> D + Send + Sync + 'static,
        D: Future<Output = bool> + Send + 'static,
    {
        let parent = self.hub.add_parent(Box::new(move |name, auth| Box::pin(decide(name, auth))));
        ParentNamespace::new(parent, self.clone())
    }

    /// The same for names that match a pattern, in which each `*` stands for any characters, also none: `/tenant-*`.
    pub fn of_pattern(&self, pattern: impl Into<String>) -> ParentNamespace {
        let pattern = pattern.into();
        self.of_dynamic(move |name, _| std::future::ready(matches(&pattern, &name)))
    }

    /// Tells a function of each namespace that comes to be from now on, before a socket is in it: event `new_namespace` of the reference.
    pub fn on_new_namespace(&self, herald: impl Fn(&Namespace) + Send + Sync + 'static) -> &Self {
        let io = self.clone();
        self.hub
            .herald(Arc::new(move |core| herald(&Namespace::new(Arc::clone(core), io.clone()))));
        self
    }

    /// Tells a function of each other node that leaves the cluster from now on, in good order or not; which sockets went with it,
    /// [`NodeLeft::had`] says. It is called in the task that hears the other nodes, and holds that up.
    ///
    /// ```no_run
    /// # use std::sync::Mutex;
    /// # use fanfare::hub::{Io, Room};
    /// # fn watch(io: &Io, present: std::sync::Arc<Mutex<Vec<Room>>>) {
    /// io.on_node_left(move |left| present.lock().unwrap().retain(|socket| !left.had(socket)));
    /// # }
    /// ```
    pub fn on_node_left(&self, mourner: impl Fn(&NodeLeft) + Send + Sync + 'static) -> &Self {
        self.hub.mourn(Arc::new(mourner));
        self
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
