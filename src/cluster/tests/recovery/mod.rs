//! Connection state recovery over the memory bus: nodes with logs, and clients that remember what the stock one remembers.

mod children;
mod outage;
mod pace;
mod reads;
mod schedules;
mod stories;
mod takeover;

use std::{net::IpAddr, sync::Arc, time::Duration};

use fanfare_adapters::{
    Log,
    memory::{self, MemoryBus, MemoryStore},
};
use serde_json::Value;

use super::bench::settle;
use crate::{
    cluster::{Cluster, Config, Store},
    engine::{
        Application as _, Arrival, CloseReason, Connection, Flow, Handle, Handshake, Incoming, Revision, Tap, Transport, id::NodeTag,
    },
    hub::{self, Hub, Io, recovery::Recovery},
};

/// How long sessions wait in these tests.
const WAIT: Duration = Duration::from_secs(120);

/// One node with logs and records.
struct Node {
    hub: Arc<Hub>,
    io: Io,
    cluster: Arc<Cluster>,
    store: Arc<MemoryStore>,
}

impl Node {
    fn start(bus: &MemoryBus) -> Self {
        Self::start_with(bus, Recovery::default(), Config::default())
    }

    fn start_with(bus: &MemoryBus, recovery: Recovery, config: Config) -> Self {
        Self::start_hub(bus, recovery, config, hub::Config::default())
    }

    fn start_hub(bus: &MemoryBus, recovery: Recovery, config: Config, hub: hub::Config) -> Self {
        Self::start_over(bus, recovery, config, hub, |store| store)
    }

    /// A node that reaches its log through something.
    fn start_over<L: Log>(
        bus: &MemoryBus,
        recovery: Recovery,
        config: Config,
        hub: hub::Config,
        over: impl FnOnce(Arc<MemoryStore>) -> Arc<L>,
    ) -> Self {
        let tag = NodeTag::random();
        let hub = hub::Config {
            connection_state_recovery: Some(recovery),
            shards: 3,
            ..hub
        };
        let hub = Hub::new(hub, tag);
        let adapter = Arc::new(bus.adapter(memory::Config::default()));
        let cluster = Cluster::start(config, hub.clone(), adapter).unwrap();
        let store = Arc::new(bus.store());
        let shared = Store {
            log: over(store.clone()),
            records: store.clone(),
            shared: true,
        };
        cluster.keep(shared).unwrap();
        let io = Io::new(hub.clone(), cluster.clone());
        Self { hub, io, cluster, store }
    }

    fn counter(&self, name: &str) -> u64 {
        let snapshot = self.hub.counters().snapshot();
        snapshot.into_iter().find(|(counter, _)| *counter == name).expect(name).1
    }
}

/// A connection of a client.
struct Line {
    tap: Tap,
    handle: Handle,
    connection: Box<dyn Connection>,
}

/// A client of one namespace that remembers what the stock client remembers, over all its connections.
#[derive(Default)]
struct Client {
    line: Option<Line>,
    pid: Option<String>,
    offset: Option<String>,
    sid: String,
    /// Whether the last CONNECT answer recovered the session.
    recovered: bool,
    connected: bool,
    /// The namespace; empty for `/`.
    namespace: &'static str,
    /// Its address, and the path and query with which it comes.
    from: Option<(IpAddr, &'static str)>,
    /// Events that came before the CONNECT answer: handlers see them after it.
    early: Vec<Vec<Value>>,
    /// What handlers saw since they were asked last: name and first argument.
    seen: Vec<String>,
}

impl Client {
    /// A client that is connected.
    async fn joined(node: &Node) -> Self {
        let mut client = Self::default();
        client.connect(node).await;
        client.read();
        assert!(client.connected && client.pid.is_some() && !client.recovered);
        client
    }

    /// Connects with what is remembered, and reads nothing yet.
    async fn connect(&mut self, node: &Node) {
        self.connect_saying(node, self.pid.clone(), self.offset.clone().map(Value::from))
            .await;
    }

    async fn connect_saying(&mut self, node: &Node, pid: Option<String>, offset: Option<Value>) {
        self.open(node, Revision::V4);
        let mut auth = serde_json::Map::new();
        auth.extend(pid.map(|pid| ("pid".to_owned(), Value::from(pid))));
        auth.extend(offset.map(|offset| ("offset".to_owned(), offset)));
        let auth = Value::from(auth);
        match self.namespace {
            "" => self.send(&format!("0{auth}")),
            namespace => self.send(&format!("0{namespace},{auth}")),
        };
        settle().await;
    }

    fn open(&mut self, node: &Node, revision: Revision) {
        let (handle, tap) = Handle::detached();
        let (address, url) = self.from.unzip();
        let arrival = Arrival::new(address, false, url.unwrap_or("/socket.io/"), []);
        let handshake = Handshake::new(handle.id(), Transport::WebSocket, revision, arrival);
        let connection = node.hub.opened(&handle, &Arc::new(handshake));
        self.connected = false;
        self.line = Some(Line { tap, handle, connection });
    }

    fn line(&mut self) -> &mut Line {
        self.line.as_mut().expect("a connection")
    }

    fn send(&mut self, text: &str) -> Flow {
        self.line().connection.message(Incoming::Text(text))
    }

    /// Reads all that was sent.
    fn read(&mut self) {
        self.read_some(usize::MAX);
    }

    /// Reads so many packets; the others are lost, as those that a broken connection took with it. Answers how many there were.
    fn read_some(&mut self, most: usize) -> usize {
        let frames = self.line().tap.frames();
        for (text, _) in frames.iter().take(most) {
            self.packet(text);
        }
        frames.len()
    }

    fn packet(&mut self, text: &str) {
        let (kind, rest) = text.split_at(1);
        let json = rest
            .strip_prefix(self.namespace)
            .map_or(rest, |rest| rest.strip_prefix(',').unwrap_or(rest));
        match (kind, json) {
            ("0", json) => {
                let answer: Value = serde_json::from_str(json).unwrap();
                let pid = answer["pid"].as_str().map(str::to_owned);
                answer["sid"].as_str().unwrap().clone_into(&mut self.sid);
                self.recovered = pid.is_some() && pid == self.pid;
                self.pid = pid;
                self.connected = true;
                for args in std::mem::take(&mut self.early) {
                    self.event(&args);
                }
            }
            ("2", json) => {
                let args: Vec<Value> = serde_json::from_str(json).unwrap();
                if self.connected {
                    self.event(&args);
                } else {
                    self.early.push(args);
                }
            }
            ("1", _) => self.connected = false,
            other => panic!("unexpected {other:?}"),
        }
    }

    /// As `emitEvent` of the stock client.
    fn event(&mut self, args: &[Value]) {
        let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let said = args.iter().take(2).map(word).collect::<Vec<_>>().join(" ");
        self.seen.push(said);
        if self.pid.is_some()
            && let Some(Value::String(last)) = args.last()
        {
            self.offset = Some(last.clone());
        }
    }

    /// What handlers saw since this was asked last.
    fn saw(&mut self) -> Vec<String> {
        std::mem::take(&mut self.seen)
    }

    /// The connection breaks; what was not read is lost.
    fn cut(&mut self) {
        self.cut_by(CloseReason::TransportClose);
    }

    fn cut_by(&mut self, reason: CloseReason) {
        if let Some(mut line) = self.line.take() {
            line.connection.closed(reason);
        }
    }

    /// The connection breaks, and the server does not know it. Gives what the server still has of it.
    fn lose_touch(&mut self) -> Line {
        self.line.take().expect("a connection")
    }

    /// Reads what was sent, then answers the ping behind it.
    fn answer_ping(&mut self) {
        self.line().connection.asked();
        self.read();
        self.line().connection.answered();
    }
}

/// `name 1`, `name 2` and so on.
fn said(name: &str, numbers: impl IntoIterator<Item = u64>) -> Vec<String> {
    numbers.into_iter().map(|number| format!("{name} {number}")).collect()
}

/// Long enough for records to be written.
async fn written() {
    tokio::time::sleep(Duration::from_millis(60)).await;
}
