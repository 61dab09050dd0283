//! The connections to Redis that end together: a pair to one server, or to each server of a cluster that has something of this node.

use std::sync::Arc;

use futures_util::{
    StreamExt,
    future::{join_all, try_join_all},
    stream::FuturesUnordered,
};
use tokio::sync::{Mutex, OnceCell, mpsc};
use tokio_util::sync::CancellationToken;

use super::{
    Config,
    cluster::Cluster,
    layout::Layout,
    pair::{Delivery, Pair},
    sentinel::Sentinels,
    topology::{Access, Address, Plan, Topology},
};
use crate::{
    ConfigError, Topic,
    core::Core,
    driver::{Backend, Fault, Session},
    outbound::Outgoing,
};

/// Makes sessions.
#[derive(Debug)]
pub(super) struct Redis {
    origin: Origin,
    access: Access,
}

/// Who knows where messages go.
#[derive(Debug)]
enum Origin {
    Alone(Address),
    Sentinels(Sentinels),
    Cluster(Cluster),
}

/// One session.
#[derive(Debug)]
pub(super) struct Pairs {
    layout: Layout,
    delivery: Delivery,
    access: Access,
    /// One place for each master of the layout, filled when it is needed.
    pairs: Vec<OnceCell<Arc<Pair>>>,
    /// Takes each pair that is opened to the receiver; holds one of each master, so it is never full.
    opened: mpsc::Sender<Arc<Pair>>,
    to_hear: Mutex<mpsc::Receiver<Arc<Pair>>>,
    cut: CancellationToken,
}

impl Redis {
    pub(super) fn new(config: &Config) -> Result<Self, ConfigError> {
        let Plan {
            topology,
            servers: access,
            sentinels,
        } = Plan::new(config)?;
        let origin = match topology {
            Topology::Alone(address) => Origin::Alone(address),
            Topology::Sentinels(addresses, name) => Origin::Sentinels(Sentinels::new(addresses, sentinels, name)),
            Topology::Cluster(addresses) => Origin::Cluster(Cluster::new(addresses, access.clone())),
        };
        Ok(Self { origin, access })
    }
}

impl Backend for Redis {
    type Session = Pairs;
    const NAME: &'static str = "redis";

    async fn connect(&mut self, _core: &Arc<Core>) -> Result<Pairs, Fault> {
        let (layout, delivery) = match &self.origin {
            Origin::Alone(address) => (Layout::alone(address.clone()), Delivery::Plain),
            Origin::Sentinels(sentinels) => (Layout::alone(sentinels.master().await?), Delivery::Plain),
            Origin::Cluster(cluster) => (cluster.layout().await?, Delivery::Sharded),
        };
        let session = Pairs::new(layout, delivery, self.access.clone());
        if delivery == Delivery::Plain {
            let pair = session.pair(0).await?;
            if matches!(self.origin, Origin::Sentinels(_)) && !pair.is_master().await? {
                return Err(Fault::new("the server that the sentinels name is no longer a master"));
            }
        }
        Ok(session)
    }
}

impl Pairs {
    fn new(layout: Layout, delivery: Delivery, access: Access) -> Self {
        let (opened, to_hear) = mpsc::channel(layout.masters().len().max(1));
        Self {
            delivery,
            access,
            pairs: layout.masters().iter().map(|_| OnceCell::new()).collect(),
            layout,
            opened,
            to_hear: Mutex::new(to_hear),
            cut: CancellationToken::new(),
        }
    }

    /// The pair to one of the masters, opened if it was not.
    async fn pair(&self, master: usize) -> Result<&Arc<Pair>, Fault> {
        let known = self.pairs.get(master).zip(self.layout.masters().get(master));
        let (place, address) = known.ok_or_else(|| Fault::new("no such server"))?;
        let open = async {
            let opening = Pair::open(&self.access, address, self.delivery);
            let pair = tokio::select! {
                biased;
                () = self.cut.cancelled() => return Err(Fault::new("the connection has ended")),
                pair = opening => pair.map_err(|fault| Fault::new(format_args!("the server at {address}: {fault}")))?,
            };
            let pair = Arc::new(pair);
            self.opened
                .try_send(pair.clone())
                .map_err(|_| Fault::new("the connection has ended"))?;
            Ok(pair)
        };
        place.get_or_try_init(|| open).await
    }

    /// Takes `items` to the masters that have their topics, in their order.
    fn by_master<T>(&self, items: Vec<T>, topic: impl Fn(&T) -> &Topic) -> Result<Vec<(usize, Vec<T>)>, Fault> {
        let mut parts: Vec<_> = self.pairs.iter().map(|_| Vec::new()).collect();
        for item in items {
            let owner = self.layout.owner(topic(&item))?;
            if let Some(part) = parts.get_mut(owner) {
                part.push(item);
            }
        }
        Ok(parts.into_iter().enumerate().filter(|(_, part)| !part.is_empty()).collect())
    }

    fn open(&self) -> impl Iterator<Item = &Arc<Pair>> {
        self.pairs.iter().filter_map(OnceCell::get)
    }
}

impl Session for Pairs {
    async fn receive(&self, core: &Core) -> Fault {
        let mut to_hear = self.to_hear.lock().await;
        let mut hearing = FuturesUnordered::new();
        loop {
            tokio::select! {
                Some(pair) = to_hear.recv() => hearing.push(async move { pair.receive(core).await }),
                Some(fault) = hearing.next() => return fault,
            }
        }
    }

    async fn subscribe(&self, topics: &[Topic]) -> Result<(), Fault> {
        let parts = self.by_master(topics.to_vec(), |topic| topic)?;
        let parts = parts
            .into_iter()
            .map(async |(master, topics)| self.pair(master).await?.subscribe(topics).await);
        try_join_all(parts).await.map(drop)
    }

    async fn unsubscribe(&self, topics: &[Topic]) -> Result<(), Fault> {
        let parts = self.by_master(topics.to_vec(), |topic| topic)?;
        let parts = parts
            .into_iter()
            .map(async |(master, topics)| self.pair(master).await?.unsubscribe(topics).await);
        try_join_all(parts).await.map(drop)
    }

    async fn prove(&self) -> Result<(), Fault> {
        try_join_all(self.open().map(|pair| pair.prove())).await.map(drop)
    }

    async fn publish(&self, batch: Vec<Outgoing>) -> Result<u64, Fault> {
        let parts = self.by_master(batch, |message| &message.topic)?;
        let parts = parts
            .into_iter()
            .map(async |(master, batch)| self.pair(master).await?.publish(batch).await);
        // To the end, also of those that are slower than one that fails.
        join_all(parts).await.into_iter().sum()
    }

    fn abort(&self) {
        self.cut.cancel();
        self.open().for_each(|pair| pair.abort());
    }
}
