//! What one caller emits on one node into one namespace reaches each socket in that order, also where each connection to the backend
//! is late by another random while.

use std::{
    collections::BTreeSet,
    ops::RangeInclusive,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use fanfare::hub::{Io, Room};
use tokio::task::JoinSet;

use super::Bus;
use crate::dsl::{Relay, WebSocket, within};

const ROUNDS: usize = 10_000;
/// Rounds by which a node may be ahead of the slowest client: so few that on a busy machine, too, none of them waits for so long to be
/// sent that the adapter drops it as stale (a second).
const AHEAD: usize = 25;
/// Events of a round that a client gets, which is in the place of the direct emit's target or not.
const EVENTS: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_memory() {
    callers_are_heard_in_order(Bus::memory().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_redis_that_is_late() {
    let (bus, _relays) = late(Bus::redis().await).await;
    callers_are_heard_in_order(bus).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_nats_that_is_late() {
    let (bus, _relays) = late(Bus::nats().await).await;
    callers_are_heard_in_order(bus).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_a_redis_cluster_that_is_late() {
    let (bus, _relays) = late(Bus::redis_cluster().await).await;
    callers_are_heard_in_order(bus).await;
}

async fn callers_are_heard_in_order(bus: Bus) {
    let nodes = bus.nodes(3, |_, _| {}).await;
    let mut clients = Vec::new();
    for node in &nodes {
        clients.push(WebSocket::connect(node.public_addr()).await);
    }
    nodes[0].io().sockets_join("all").await;
    let mut ids = Vec::new();
    for node in &nodes {
        ids.extend(node.io().local().all_sockets().await.unwrap());
    }
    if let Bus::RedisCluster(_, servers) = &bus {
        // No server has an order for all of them.
        let rounds = (0..3).flat_map(|number| (0..ROUNDS).map(move |round| room(round, number)));
        let rooms = ids.iter().map(|id| id.to_string()).chain(["all".to_owned()]).chain(rounds);
        let servers = servers[0].masters();
        let mut rooms_of = [0; 3];
        for room in rooms {
            let has = |(_, slots): &(u16, Vec<RangeInclusive<u16>>)| slots.iter().any(|slots| slots.contains(&slot(&room)));
            rooms_of[servers.iter().position(has).unwrap()] += 1;
        }
        assert!(rooms_of.iter().all(|rooms| *rooms > ROUNDS / 2), "{rooms_of:?}");
    }
    let progress: Arc<[AtomicUsize; 9]> = Arc::default();
    let mut tasks = JoinSet::new();
    for (number, client) in clients.into_iter().enumerate() {
        tasks.spawn(hear(number, client, Arc::clone(&progress)));
    }
    for (number, node) in nodes.iter().enumerate() {
        // The one that is told alone is on another node.
        let id = ids[(number + 1) % 3].clone();
        tasks.spawn(call(number, node.io().clone(), id, Arc::clone(&progress)));
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    for node in &nodes {
        node.io().disconnect_sockets(true);
    }
    for node in nodes {
        within("a node to stop", node.shutdown()).await;
    }
}

/// Emits numbered events in every way, never too far ahead.
async fn call(number: usize, io: Io, id: Room, progress: Arc<[AtomicUsize; 9]>) {
    let mut next = 0;
    let mut event = || {
        next += 1;
        [number, next - 1]
    };
    for round in 0..ROUNDS {
        within("the clients to keep up", async {
            while progress
                .iter()
                .skip(number * 3)
                .take(3)
                .any(|heard| heard.load(Relaxed) + AHEAD * EVENTS < round * EVENTS)
            {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        let room = room(round, number);
        io.emit("n", &event()).unwrap();
        io.to(id.clone()).emit("n", &event()).unwrap();
        io.to("all").emit("n", &event()).unwrap();
        io.to("all").sockets_join(&room);
        io.to(&room).emit("n", &event()).unwrap();
        io.to(&room).sockets_leave(&room);
    }
}

fn room(round: usize, number: usize) -> String {
    format!("round {round} of {number}")
}

/// On which of its 16384 slots a Redis Cluster puts a key without a hash tag: its CRC-16 of XMODEM.
fn slot(key: &str) -> u16 {
    let crc = key.bytes().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ u16::from(byte) << 8, |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 }
        })
    });
    crc % 16_384
}

#[test]
fn slots_are_those_of_cluster_keyslot() {
    assert_eq!(["a", "foo", "hello", "123456789"].map(slot), [15495, 12182, 866, 0x31c3]);
}

/// Hears every event of every node, each once and in the order of its node.
async fn hear(number: usize, mut client: WebSocket, progress: Arc<[AtomicUsize; 9]>) {
    let mut next = [0_usize; 3];
    while next.iter().any(|next| *next < ROUNDS * 4) {
        let packet = client.text().await;
        let json = packet.strip_prefix(r#"42["n","#).and_then(|rest| rest.strip_suffix(']'));
        let (from, event) = json.and_then(|json| json.split_once(',')).unwrap_or_else(|| panic!("{packet}"));
        let (from, event): (usize, usize) = (from.parse().unwrap(), event.parse().unwrap());
        let expected = skip(number, from, next[from]);
        assert_eq!(event, expected, "client {number} of node {from}");
        next[from] = skip(number, from, event + 1);
        progress[from * 3 + number].fetch_add(1, Relaxed);
    }
}

/// The event at or after this one that is for this client: every fourth, from the second on, is for one client alone.
fn skip(client: usize, from: usize, event: usize) -> usize {
    if event % 4 == 1 && client != (from + 1) % 3 {
        event + 1
    } else {
        event
    }
}

/// Puts a relay before each server that holds back whatever passes, each connection by itself.
async fn late(bus: Bus) -> (Bus, Vec<Relay>) {
    let mut relays = Vec::new();
    let bus = match bus {
        Bus::Redis(port, server) => {
            relays.push(Relay::start(port).await);
            Bus::Redis(relays[0].port(), server)
        }
        Bus::Nats(port, server) => {
            relays.push(Relay::start(port).await);
            Bus::Nats(relays[0].port(), server)
        }
        Bus::RedisCluster(_, servers) => {
            for server in &servers {
                let relay = Relay::start(server.port()).await;
                let told = server.cli(&format!("config set cluster-announce-port {}", relay.port()));
                assert_eq!(told.trim(), "OK");
                relays.push(relay);
            }
            let ports: BTreeSet<_> = relays.iter().map(Relay::port).collect();
            for server in &servers {
                within("the servers to name the relays", async {
                    while server.masters().into_iter().map(|(port, _)| port).collect::<BTreeSet<_>>() != ports {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                })
                .await;
            }
            Bus::RedisCluster(relays[0].port(), servers)
        }
        Bus::Memory(_) | Bus::Sentinel(_) | Bus::NatsCluster(..) => unreachable!("no story is told of it"),
    };
    for relay in &relays {
        relay.delay(Duration::from_millis(20));
    }
    (bus, relays)
}
