//! Nodes behind relays, which broadcast numbers to each other's clients, and keep account of what a client missed.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use fanfare::node::{Config, Node, RunningNode};
use fanfare_adapters::{
    Adapter,
    nats::{self, NatsAdapter},
    redis::{self, RedisAdapter},
};
use serde_json::Value;
use tokio::{task::JoinHandle, time::sleep};

use crate::dsl::{Backend, Relay, Way, WebSocket, loopback, metric, request, within};

pub(super) const NODES: usize = 3;
/// An adapter takes five seconds to give up a frozen connection: by then a node is deaf, unready and removed.
pub(super) const HEARTBEAT: Duration = Duration::from_millis(200);
const SUSPECT_AFTER: Duration = Duration::from_secs(1);
pub(super) const REMOVE_AFTER: Duration = Duration::from_millis(2500);
pub(super) const GRACE: Duration = Duration::from_secs(2);

/// How long it may take until all is counted: a few heartbeats.
const PATIENCE: Duration = Duration::from_secs(20);

/// Between two broadcasts of a node.
pub(super) const PAUSE: Duration = Duration::from_millis(10);
/// Clients of a node have what is emitted there within this time, whatever the backend does; the waits of an adapter are longer.
pub(super) const AT_ONCE: Duration = Duration::from_secs(2);

/// Every client is in it.
const ROOM: &str = "everybody";

#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Redis,
    Nats,
}

/// What the probe of readiness answered, each time that it was another answer: the status, and whether it said `degraded`.
pub(super) type Answers = Vec<(u16, bool)>;

pub(super) const READY: (u16, bool) = (200, false);
pub(super) const DEGRADED: (u16, bool) = (200, true);
pub(super) const UNREADY: (u16, bool) = (503, false);

/// Nodes with a client each; every node broadcasts numbers.
pub(super) struct Stage {
    pub(super) places: Vec<Place>,
    pub(super) server: Backend,
}

pub(super) struct Place {
    pub(super) relay: Relay,
    pub(super) node: RunningNode,
    /// When each number was emitted.
    emitted: Arc<Mutex<Vec<Instant>>>,
    heard: Arc<Mutex<Heard>>,
    answers: Arc<Mutex<Answers>>,
    /// Until it is to be silent.
    calling: Option<JoinHandle<()>>,
    listening: JoinHandle<()>,
    probing: JoinHandle<()>,
}

/// What a client was sent.
#[derive(Debug, Default)]
struct Heard {
    numbers: [BTreeSet<usize>; NODES],
    /// The longest that something of its own node was under way.
    slowest: Duration,
}

impl Stage {
    pub(super) async fn open(kind: Kind) -> Self {
        Self::open_with(kind, 0).await
    }

    /// The same with broadcasts of so many bytes more.
    pub(super) async fn open_with(kind: Kind, bytes: usize) -> Self {
        let server = match kind {
            Kind::Redis => Backend::redis().await,
            Kind::Nats => Backend::nats().await,
        };
        let mut started = Vec::new();
        for number in 0..NODES {
            let relay = Relay::start(server.port()).await;
            let node = Node::start(config(number), adapter(kind, relay.port())).await.unwrap();
            started.push((relay, node));
        }
        for (_, node) in &started {
            until(node, "fanfare_cluster_peers", NODES as u64 - 1).await;
        }
        let mut clients = Vec::new();
        for (relay, node) in started {
            let client = WebSocket::connect(node.public_addr()).await;
            clients.push((relay, node, client));
        }
        within("the clients to be in the room", clients[0].1.io().sockets_join(ROOM).into_future()).await;
        // All clients are there before the first broadcast, so that whatever a client has not heard is missed.
        let places = clients
            .into_iter()
            .enumerate()
            .map(|(number, place)| Place::open(number, place, bytes))
            .collect();
        let mut stage = Self { places, server };
        stage.whole().await;
        for place in &mut stage.places {
            place.forget_answers();
        }
        stage
    }

    pub(super) fn node(&self, number: usize) -> &RunningNode {
        &self.places[number].node
    }

    pub(super) fn freeze(&self, number: usize, ways: &[Way]) {
        ways.iter().for_each(|way| self.places[number].relay.freeze(*way));
    }

    pub(super) fn thaw(&self, number: usize, ways: &[Way]) {
        ways.iter().for_each(|way| self.places[number].relay.thaw(*way));
    }

    /// Waits until all nodes know each other, are ready, and each client has heard what is emitted from now on anywhere.
    pub(super) async fn whole(&self) {
        for place in &self.places {
            until(&place.node, "fanfare_cluster_peers", NODES as u64 - 1).await;
            until(&place.node, "fanfare_cluster_suspected", 0).await;
            until(&place.node, "fanfare_degraded", 0).await;
            until(&place.node, "fanfare_adapter_connected", 1).await;
            within("the node to be ready", async {
                while lock(&place.answers).last() != Some(&READY) {
                    sleep(PAUSE).await;
                }
            })
            .await;
        }
        self.up_to_date().await;
    }

    async fn up_to_date(&self) {
        for listener in 0..NODES {
            self.hears(listener, &[0, 1, 2]).await;
        }
    }

    /// Waits until the client of one node has heard what is emitted from now on at these others.
    pub(super) async fn hears(&self, listener: usize, others: &[usize]) {
        for number in others {
            let now = lock(&self.places[*number].emitted).len();
            within("broadcasts to flow", async {
                while lock(&self.places[listener].heard).numbers[*number]
                    .last()
                    .is_none_or(|last| *last < now)
                {
                    sleep(PAUSE).await;
                }
            })
            .await;
        }
    }

    /// Ends the broadcasts.
    pub(super) async fn silence(&mut self) {
        for place in &mut self.places {
            if let Some(calling) = place.calling.take() {
                calling.abort();
                assert!(calling.await.is_err_and(|ended| ended.is_cancelled()));
            }
        }
    }

    /// What each client misses of each node, when each node has counted it.
    pub(super) async fn missed(&mut self) -> [[usize; NODES]; NODES] {
        self.silence().await;
        let begun = Instant::now();
        let mut steady = 0;
        loop {
            let (missed, counted) = (self.missing(), self.counted().await);
            let exact = counted == missed.map(|missed| missed.iter().sum::<usize>());
            // And no more comes of it.
            steady = if exact { steady + 1 } else { 0 };
            if steady == 5 {
                return missed;
            }
            assert!(begun.elapsed() < PATIENCE, "{missed:?} are missing, {counted:?} were counted");
            sleep(HEARTBEAT).await;
        }
    }

    /// What each node holds for missed by its clients.
    async fn counted(&self) -> [usize; NODES] {
        let mut counted = [0; NODES];
        for (counted, place) in counted.iter_mut().zip(&self.places) {
            *counted = metric(place.node.internal_addr(), "fanfare_cluster_holes_total").await as usize;
        }
        counted
    }

    fn missing(&self) -> [[usize; NODES]; NODES] {
        let emitted: Vec<_> = self.places.iter().map(|place| lock(&place.emitted).len()).collect();
        let mut missing = [[0; NODES]; NODES];
        for (listener, missing) in self.places.iter().zip(&mut missing) {
            let heard = lock(&listener.heard);
            for (number, missing) in missing.iter_mut().enumerate() {
                *missing = emitted[number] - heard.numbers[number].len();
            }
        }
        missing
    }

    pub(super) async fn close(self) {
        for place in &self.places {
            let slowest = lock(&place.heard).slowest;
            assert!(slowest < AT_ONCE, "a client heard its own node after {slowest:?}");
            assert!(!place.listening.is_finished() && !place.probing.is_finished(), "see above");
        }
        for place in self.places {
            place.listening.abort();
            place.probing.abort();
            within("a node to stop", place.node.shutdown()).await;
        }
    }
}

impl Place {
    fn open(number: usize, (relay, node, client): (Relay, RunningNode, WebSocket), bytes: usize) -> Self {
        let (emitted, heard, answers) = (Arc::default(), Arc::default(), Arc::default());
        Self {
            calling: Some(tokio::spawn(call(number, node.io().clone(), bytes, Arc::clone(&emitted)))),
            listening: tokio::spawn(listen(number, client, Arc::clone(&emitted), Arc::clone(&heard))),
            probing: tokio::spawn(probe(node.internal_addr(), Arc::clone(&answers))),
            relay,
            node,
            emitted,
            heard,
            answers,
        }
    }

    pub(super) fn answers(&self) -> Answers {
        lock(&self.answers).clone()
    }

    /// Forgets all answers but the last.
    pub(super) fn forget_answers(&mut self) {
        let mut answers = lock(&self.answers);
        let last = answers.len().saturating_sub(1);
        answers.drain(..last);
    }
}

fn config(number: usize) -> Config {
    let mut config = loopback();
    config.server.cluster.node = format!("node {number}");
    config.server.cluster.heartbeat = HEARTBEAT;
    config.server.cluster.suspect_after = SUSPECT_AFTER;
    config.server.cluster.remove_after = REMOVE_AFTER;
    config.server.ready.grace = GRACE;
    config.server.drain_spread = Duration::ZERO;
    // What comes at a thaw cuts no client off, however busy the machine.
    config.server.engine.outbox_bytes = 64 << 20;
    config.server.engine.outbox_entries = 1 << 20;
    config
}

fn adapter(kind: Kind, port: u16) -> Arc<dyn Adapter> {
    match kind {
        Kind::Redis => Arc::new(RedisAdapter::start(redis::Config::new(format!("redis://127.0.0.1:{port}"))).unwrap()),
        Kind::Nats => Arc::new(NatsAdapter::start(nats::Config::new(format!("nats://127.0.0.1:{port}"))).unwrap()),
    }
}

/// Emits to everybody and to a room of everybody by turns, which are two topics.
async fn call(number: usize, io: fanfare::hub::Io, bytes: usize, emitted: Arc<Mutex<Vec<Instant>>>) {
    let padding = "x".repeat(bytes);
    loop {
        let next = {
            let mut emitted = lock(&emitted);
            emitted.push(Instant::now());
            emitted.len() - 1
        };
        let event = (number, next, &padding);
        if next % 2 == 0 {
            io.emit("n", &event).unwrap();
        } else {
            io.to(ROOM).emit("n", &event).unwrap();
        }
        sleep(PAUSE).await;
    }
}

/// Hears every number at most once, and each node's in their order.
async fn listen(number: usize, mut client: WebSocket, emitted: Arc<Mutex<Vec<Instant>>>, heard: Arc<Mutex<Heard>>) {
    loop {
        let packet = client.text().await;
        let (_, from, event, _): (&str, usize, usize, &str) = serde_json::from_str(packet.strip_prefix("42").unwrap()).unwrap();
        let mut heard = lock(&heard);
        let last = heard.numbers[from].last().copied();
        assert!(
            last.is_none_or(|last| event > last),
            "client {number}: {event} after {last:?} of node {from}"
        );
        heard.numbers[from].insert(event);
        if from == number {
            heard.slowest = heard.slowest.max(lock(&emitted)[event].elapsed());
        }
    }
}

async fn probe(internal: std::net::SocketAddr, answers: Arc<Mutex<Answers>>) {
    loop {
        let answer = request(internal, "GET", "/readyz", &[], b"").await;
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        let answer = (answer.status, body["degraded"].as_bool().unwrap());
        note(&answers, answer);
        sleep(PAUSE).await;
    }
}

fn note(answers: &Mutex<Answers>, answer: (u16, bool)) {
    let mut answers = lock(answers);
    if answers.last() != Some(&answer) {
        answers.push(answer);
    }
}

pub(super) async fn until(node: &RunningNode, name: &str, value: u64) {
    within(name, async {
        while metric(node.internal_addr(), name).await != value {
            sleep(PAUSE).await;
        }
    })
    .await;
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
