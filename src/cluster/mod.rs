//! Carries commands between the nodes of a cluster, knows which nodes there are, and counts what did not arrive.
//!
//! | room | what it does |
//! |---|---|
//! | `wire` | the envelope: what stands on the wire, and the MAC over it |
//! | `topics` | the names of topics |
//! | `membership` | who is there (sans-IO) |
//! | `sequences` | drops repeats, counts holes (a plain value) |
//! | `channels` | the topics of this node, and what it has published there (a plain value) |
//! | `interest` | which parts of which namespaces this node has sockets for (a plain value) |
//! | `routes` | which topics a command goes to |
//! | `link` | the sending half: numbers envelopes and offers them to the adapter |
//! | `receiver` | the receiving half: the one task that reads the inbox |
//! | `requests` | what this node has asked the others (sans-IO) |
//! | `replying` | answers what others ask this one |
//! | `said` | what stands in the log once, however often there is cause |
//! | `emitter` | emits from a process that is no node |
//! | `journal` | the logs of recoverable namespaces, and the records of their sessions |
//!
//! Knows the hub's commands and the `Adapter` trait; does not know which backend there is, transports or HTTP.

mod channels;
mod config;
mod counters;
mod emitter;
mod health;
mod interest;
mod journal;
mod keys;
mod link;
mod membership;
mod receiver;
mod replying;
mod requests;
mod routes;
mod said;
mod sequences;
mod tasks;
mod topics;
mod wire;

#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::{Arc, OnceLock, Weak},
    time::{Duration, Instant},
};

use fanfare_adapters::Adapter;
use tokio::sync::watch;
use tokio_util::sync::DropGuard;

pub use config::{Config, StartError};
pub use counters::Counters;
pub use emitter::{Emission, Emitter, EmitterError};
pub use health::Health;
pub use journal::Store;
pub use keys::Secret;
pub(crate) use keys::{Keys, Purpose};
pub use membership::Member;
pub use topics::NameError;

use self::{
    health::Standing,
    journal::{Confirming, Journal},
    link::Link,
    receiver::Receiver,
    tasks::Tasks,
    topics::Topics,
};
use crate::{
    engine::id::NodeTag,
    hub::{Command, Dispatch, Hub, NotDispatched, Observer as _, Query, Replies, Room, Scope, Target, recovery::Later},
};

/// Which start of which node something comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    /// The node's tag.
    pub tag: NodeTag,
    /// When it started, in milliseconds since 1970, times 65 536; one more each time that it was held for gone and came back.
    pub epoch: u64,
}

/// The bits of an epoch that count how often a node came back.
const RETURNS: u32 = 16;

impl Origin {
    /// A node that starts now, in milliseconds since 1970.
    fn started(tag: NodeTag, now: u64) -> Self {
        let epoch = now.min(u64::MAX >> RETURNS) << RETURNS;
        Self { tag, epoch }
    }

    /// The same start of the same node, after it was held for gone. It goes on counting what it publishes: who was away meanwhile learns from
    /// the next number what it has missed.
    fn returned(self) -> Self {
        let epoch = self.epoch.saturating_add(1);
        Self { epoch, ..self }
    }

    /// When it began to count from 1 what it publishes.
    fn counting_since(self) -> u64 {
        self.epoch >> RETURNS
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.tag, self.counting_since())?;
        match self.epoch % (1 << RETURNS) {
            0 => Ok(()),
            returns => write!(f, "+{returns}"),
        }
    }
}

/// One node's part in its cluster: carries commands out here, then offers them to the other nodes; and the other way round.
///
/// Dropping it ends its task without a goodbye; [`Cluster::close`] is the polite way.
#[derive(Debug)]
pub struct Cluster {
    hub: Arc<Hub>,
    link: Arc<Link>,
    adapter: Arc<dyn Adapter>,
    journal: OnceLock<Arc<Journal>>,
    standing: watch::Receiver<Standing>,
    tasks: Tasks,
    _cancel: DropGuard,
}

impl Cluster {
    /// Joins the cluster: subscribes the topics of the hub's namespaces, those to come too, and starts the heartbeat. Returns at once;
    /// the backend may be away. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(config: Config, hub: Arc<Hub>, adapter: Arc<dyn Adapter>) -> Result<Arc<Self>, StartError> {
        config.check()?;
        let topics = Topics::new(&config.name)?;
        let inbox = adapter.inbox().ok_or(StartError::AdapterInUse)?;
        let tag = hub.tag();
        let origin = Origin::started(tag, receiver::clock());
        let link = Arc::new(Link::new(config, topics, adapter.clone(), origin));
        let (stand, standing) = watch::channel(Standing::new(receiver::now()));
        for channel in [&link.control, &link.requests] {
            link.subscribe(channel);
        }
        link.hear_replies(tag);
        let observer: Weak<Link> = Arc::downgrade(&link);
        if !hub.observe(observer) {
            return Err(StartError::HubInUse);
        }
        for namespace in hub.namespaces() {
            link.namespace_created(&namespace);
        }
        let tasks = Tasks::default();
        tasks.spawn(Receiver::new(link.clone(), hub.clone(), inbox, stand, tasks.clone()).run());
        tasks.spawn(link.clone().confirm_joins(standing.clone()));
        Ok(Arc::new(Self {
            hub,
            link,
            adapter,
            journal: OnceLock::new(),
            standing,
            _cancel: tasks.cancel_on_drop(),
            tasks,
        }))
    }

    /// Keeps the logs of the hub's recoverable namespaces, and the records of their sessions, in this store from now on. Returns at once;
    /// the backend may be away.
    ///
    /// # Errors
    /// [`StartError::HubInUse`]: the hub has a journal already.
    pub fn keep(&self, store: Store) -> Result<(), StartError> {
        let journal = Journal::new(Arc::clone(&self.hub), Arc::clone(&self.link), store, self.tasks.clone());
        let weak = Arc::downgrade(&journal);
        if !self.hub.use_journal(Weak::clone(&weak) as _) || self.journal.set(Arc::clone(&journal)).is_err() {
            return Err(StartError::HubInUse);
        }
        self.link.tell_of_namespaces(weak);
        for namespace in self.hub.namespaces() {
            journal.namespace_created(&namespace);
        }
        Ok(())
    }

    /// The store given to [`Cluster::keep`].
    #[must_use]
    pub fn store(&self) -> Option<&Store> {
        self.journal.get().map(|journal| journal.store())
    }

    /// How many logs this node follows: one for each recoverable namespace that is here.
    #[must_use]
    pub fn logs_followed(&self) -> usize {
        self.journal.get().map_or(0, |journal| journal.logs())
    }

    /// How this node hears its cluster, now.
    #[must_use]
    pub fn health(&self) -> Health {
        self.standing.borrow().health(receiver::now(), self.link.config.suspect_after)
    }

    /// The other living nodes, in no order.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        self.standing.borrow().members.clone()
    }

    /// The other living node of this tag.
    #[must_use]
    pub fn member(&self, tag: NodeTag) -> Option<Member> {
        let standing = self.standing.borrow();
        standing.members.iter().find(|member| member.origin.tag == tag).cloned()
    }

    /// This node's tag and present epoch.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.link.origin()
    }

    /// How this node takes part.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.link.config
    }

    /// What was counted so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.link.counters
    }

    /// Says goodbye, sends what is queued within `grace`, and ends the adapter and this node's task. What is dispatched afterwards stays
    /// on this node. Idempotent.
    pub async fn close(&self, grace: Duration) {
        if !self.tasks.are_cancelled() {
            self.link.goodbye();
        }
        self.adapter.close(grace).await;
        self.tasks.end().await;
        if let Some(journal) = self.journal.get() {
            journal.close();
        }
    }

    /// Hands a command to its log if it goes to one; answers whether it is dealt with.
    fn append(&self, command: &Command, scope: Scope, confirm: bool) -> Result<Option<Option<Confirming>>, NotDispatched> {
        let Some(journal) = self.journal.get().filter(|_| self.hub.is_logged(command, scope)) else {
            return Ok(None);
        };
        let confirming = journal.append(command, confirm)?;
        if !journal.is_shared() {
            // Each node's own log keeps it, for clients that are away, too.
            self.link.publish_widely(command);
        }
        Ok(Some(confirming))
    }
}

impl Dispatch for Cluster {
    fn dispatch(&self, command: Command, scope: Scope) -> Result<(), NotDispatched> {
        if let Command::Join { target, rooms } = command {
            drop(self.dispatch_join(target, rooms, scope));
            return Ok(());
        }
        if self.append(&command, scope, false)?.is_none() {
            self.hub.apply(&command);
            if scope == Scope::Cluster {
                self.link.publish(&command);
            }
        }
        Ok(())
    }

    fn dispatch_logged(&self, command: Command, scope: Scope) -> Result<Later<Result<(), NotDispatched>>, NotDispatched> {
        let confirming = self.append(&command, scope, true)?;
        if confirming.is_none() {
            self.dispatch(command, scope)?;
        }
        Ok(Box::pin(async move {
            match confirming.flatten() {
                Some(confirming) => confirming.await.map_err(|_| NotDispatched::Busy),
                None => Ok(()),
            }
        }))
    }

    fn dispatch_join(&self, target: Target, rooms: Vec<Room>, scope: Scope) -> Later<()> {
        let command = Command::Join { target, rooms };
        self.hub.apply(&command);
        let (here, closed) = (self.link.settled(), self.tasks.cancelled());
        let Command::Join { rooms, .. } = &command else { return here };
        if scope == Scope::Local || rooms.is_empty() {
            return here;
        }
        self.link.publish(&command);
        let joined = self.link.young.begin(&command.target().namespace, rooms);
        Box::pin(async move {
            let everywhere = async { tokio::join!(here, joined) };
            tokio::select! {
                _ = everywhere => {}
                () = closed => {}
            }
        })
    }

    fn request(&self, query: Query, scope: Scope, deadline: Instant) -> Replies {
        if scope == Scope::Local {
            return self.hub.request(query, scope, deadline);
        }
        let replies = self.hub.request(query.clone(), Scope::Local, deadline);
        replies.and(self.link.ask(query, &self.standing, self.hub.config().ack_bytes, deadline))
    }
}
