//! A connection that breaks, over real sockets: whoever comes back sees what it missed, once and in order.

use std::{collections::BTreeMap, net::SocketAddr};

use fanfare::{
    hub::{Io, recovery::Recovery},
    node::RunningNode,
};
use serde_json::Value;

use crate::dsl::{Polling, WebSocket, start_with};

async fn node() -> RunningNode {
    start_with(|config| config.server.hub.connection_state_recovery = Some(Recovery::default())).await
}

/// How a client is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    WebSocket,
    Polling,
}

enum Line {
    WebSocket(Box<WebSocket>),
    /// With what has come and was not looked at.
    Polling(Polling, Vec<String>),
}

/// A client that remembers what the stock one remembers.
#[derive(Default)]
struct Client {
    pid: Option<String>,
    offset: Option<String>,
    sid: String,
    recovered: bool,
    seen: Vec<u64>,
}

impl Line {
    async fn open(over: Over, address: SocketAddr) -> Self {
        match over {
            Over::WebSocket => Self::WebSocket(Box::new(WebSocket::open(address).await.0)),
            Over::Polling => Self::Polling(Polling::open(address).await, Vec::new()),
        }
    }

    async fn send(&mut self, packet: &str) {
        match self {
            Self::WebSocket(line) => line.send(packet).await,
            Self::Polling(line, _) => line.send(packet).await,
        }
    }

    async fn packet(&mut self) -> String {
        match self {
            Self::WebSocket(line) => line.text().await,
            Self::Polling(line, come) => {
                while come.is_empty() {
                    *come = line.receive().await;
                }
                come.remove(0)
            }
        }
    }
}

impl Client {
    async fn connect(&mut self, over: Over, address: SocketAddr) -> Line {
        let mut line = Line::open(over, address).await;
        let mut auth = serde_json::Map::new();
        auth.extend(self.pid.clone().map(|pid| ("pid".to_owned(), Value::from(pid))));
        auth.extend(self.offset.clone().map(|offset| ("offset".to_owned(), Value::from(offset))));
        line.send(&format!("40{}", Value::from(auth))).await;
        line
    }

    /// Reads so many packets.
    async fn read(&mut self, line: &mut Line, packets: usize) {
        for number in 0..packets {
            let packet = line.packet().await;
            if number == 0 && packet.starts_with("40") {
                let answer: BTreeMap<String, String> = serde_json::from_str(packet.strip_prefix("40").unwrap()).unwrap();
                self.recovered = self.pid.as_ref() == answer.get("pid");
                self.pid = answer.get("pid").cloned();
                answer["sid"].clone_into(&mut self.sid);
            } else {
                let args: Vec<Value> = serde_json::from_str(packet.strip_prefix("42").unwrap()).unwrap();
                self.seen.push(args[1].as_u64().unwrap());
                self.offset = args.last().and_then(Value::as_str).map(str::to_owned);
            }
        }
    }
}

fn emit(io: &Io, numbers: impl IntoIterator<Item = u64>) {
    for number in numbers {
        io.emit("n", &number).unwrap();
    }
}

/// The connection is cut after each packet of a recovery in turn.
async fn cut_at_every_packet(over: Over, and_then: Over) {
    const MISSED: u64 = 6;
    let node = node().await;
    let address = node.public_addr();
    for boundary in 0..=usize::try_from(MISSED).unwrap() + 1 {
        let mut client = Client::default();
        let mut line = client.connect(over, address).await;
        client.read(&mut line, 1).await;
        let sid = client.sid.clone();
        emit(node.io(), [1]);
        client.read(&mut line, 1).await;
        // Dropped, and the server may not know it yet.
        drop(line);
        emit(node.io(), 2..=MISSED);
        let mut line = client.connect(over, address).await;
        client.read(&mut line, boundary.min(usize::try_from(MISSED).unwrap())).await;
        drop(line);
        emit(node.io(), [MISSED + 1]);
        let mut line = client.connect(and_then, address).await;
        let missed = usize::try_from(MISSED).unwrap() + 1 - client.seen.len();
        client.read(&mut line, 1 + missed).await;
        assert!(client.recovered, "cut after {boundary} packets");
        assert_eq!(client.sid, sid);
        assert_eq!(client.seen, (1..=MISSED + 1).collect::<Vec<_>>(), "cut after {boundary} packets");
    }
    node.shutdown().await;
}

#[tokio::test]
async fn a_websocket_is_cut_at_every_packet_of_a_recovery() {
    cut_at_every_packet(Over::WebSocket, Over::WebSocket).await;
}

#[tokio::test]
async fn a_polling_client_is_cut_at_every_packet_of_a_recovery() {
    cut_at_every_packet(Over::Polling, Over::Polling).await;
}

#[tokio::test]
async fn a_session_may_come_back_over_the_other_transport() {
    cut_at_every_packet(Over::WebSocket, Over::Polling).await;
    cut_at_every_packet(Over::Polling, Over::WebSocket).await;
}

#[tokio::test]
async fn a_node_says_how_much_it_remembers() {
    let node = node().await;
    let mut client = Client::default();
    let mut line = client.connect(Over::WebSocket, node.public_addr()).await;
    client.read(&mut line, 1).await;
    emit(node.io(), 1..=3);
    client.read(&mut line, 3).await;
    let page = crate::dsl::request(node.internal_addr(), "GET", "/metrics", &[], b"").await;
    let gauge = |name: &str| -> f64 {
        let value = page
            .text()
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
            .expect(name);
        value.parse().unwrap()
    };
    assert!((gauge("fanfare_log_entries") - 3.0).abs() < 0.1);
    assert!((gauge("fanfare_records") - 1.0).abs() < 0.1);
    assert!(gauge("fanfare_log_bytes") > 100.0 && gauge("fanfare_record_bytes") > 50.0);
    node.shutdown().await;
}
