//! A thousand clients whose requests go to every node in turn, and a node that dies among them: only its sessions end, and nobody else loses,
//! repeats or swaps a thing. The nodes share a process here, each on a runtime of its own, which can be torn down under it like a process;
//! through a balancer and over a backend it is told in `tests/clients`.

use std::{
    io,
    net::{Ipv6Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use fanfare::{
    cluster::Secret,
    node::{Config, RunningNode},
};
use fanfare_adapters::memory::MemoryBus;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    runtime::{Builder, Runtime},
    sync::Semaphore,
    task::JoinSet,
};

use crate::dsl::{Answer, Polling, WebSocket, acquainted, metric, start_on, within};

const NODES: usize = 3;
const CLIENTS: usize = 1000;
/// Those that connect at the same time.
const TOGETHER: usize = 50;
const EVENTS: usize = 30;
/// After so many a node dies, whatever is under way.
const UNTIL_DEATH: usize = 10;
/// So many may be under way to any client.
const AHEAD: usize = 3;
const DYING: usize = 1;

#[test]
fn a_thousand_that_poll() {
    tell(Transport::Polling, |_, _| {});
}

#[test]
fn a_thousand_that_upgrade_while_the_secret_is_changed_and_nodes_talk_over_ipv6() {
    tell(Transport::Upgrade, |number, config| {
        config.internal_listen = (Ipv6Addr::LOCALHOST, 0).into();
        let secrets = [Secret::new("that of yesterday"), Secret::new("that of tomorrow")];
        config.server.cluster.secrets = secrets.into();
        if number > 0 {
            config.server.cluster.secrets.reverse();
        }
    });
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    Polling,
    Upgrade,
}

impl Transport {
    /// Whether the client of this number ends with the node that dies.
    fn ends(self, number: usize) -> bool {
        let (owner, carrier) = (number % NODES, (number + 1) % NODES);
        owner == DYING || (self == Self::Upgrade && carrier == DYING)
    }
}

fn tell(transport: Transport, configure: impl Fn(usize, &mut Config)) {
    // A client that is carried takes six of them here.
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let bus = MemoryBus::new();
    let start = |number| {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let node = runtime.block_on(start_on(&bus, |config| {
            // A pong that is posted when a node dies is lost with it, and with it, rightly, the session.
            config.server.engine.ping_interval = Duration::from_secs(300);
            configure(number, config);
        }));
        (node.0, runtime)
    };
    let (mut nodes, mut runtimes): (Vec<RunningNode>, Vec<Runtime>) = (0..NODES).map(start).unzip();
    Runtime::new().unwrap().block_on(async {
        acquainted(&nodes).await;
        let heard = Arc::new(AtomicUsize::new(0));
        let mut clients = connect(transport, &nodes, &heard).await;
        let dying = nodes[DYING].internal_addr();
        let its = metric(dying, "fanfare_sessions").await + metric(dying, "fanfare_forwarded_total{outcome=\"upgraded\"}").await;
        let going_on = (0..CLIENTS).filter(|number| !transport.ends(*number)).count();
        assert_eq!(its as usize, CLIENTS - going_on);
        for number in 0..EVENTS {
            if number == UNTIL_DEATH {
                runtimes.remove(DYING).shutdown_background();
                // It holds connections, too.
                drop(nodes.remove(DYING));
            }
            nodes[0].io().emit("tick", &number).unwrap();
            within("the clients to keep up", async {
                while heard.load(Relaxed) + AHEAD * going_on < number * going_on {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            })
            .await;
        }
        within("all clients to have everything, or to have ended", async {
            while let Some(seen) = clients.join_next().await {
                let (number, events) = seen.unwrap();
                // Whatever it is: nothing is missing before it, nothing twice, nothing in another order.
                assert_eq!(events, (0..events.len()).collect::<Vec<_>>(), "client {number}");
                assert_eq!(
                    events.len() < EVENTS,
                    transport.ends(number),
                    "client {number} has {} events",
                    events.len()
                );
            }
        })
        .await;
    });
    // One that has died has nothing to stop.
    for runtime in runtimes {
        runtime.shutdown_background();
    }
}

/// Clients that are connected, at each node as many, and listen.
async fn connect(transport: Transport, nodes: &[RunningNode], heard: &Arc<AtomicUsize>) -> JoinSet<(usize, Vec<usize>)> {
    let addresses: Vec<SocketAddr> = nodes.iter().map(RunningNode::public_addr).collect();
    let (places, connected) = (Arc::new(Semaphore::new(TOGETHER)), Arc::new(Semaphore::new(0)));
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let (places, connected, heard) = (Arc::clone(&places), Arc::clone(&connected), Arc::clone(heard));
        let mut addresses = addresses.clone();
        // A session's own node comes first, and the one after it is where its WebSocket goes.
        addresses.rotate_left(number % NODES);
        clients.spawn(async move {
            let place = places.acquire().await.unwrap();
            let polling = Polling::connect_at(&addresses).await;
            let counted = || {
                if !transport.ends(number) {
                    heard.fetch_add(1, Relaxed);
                }
            };
            let events = match transport {
                Transport::Polling => {
                    drop(place);
                    connected.add_permits(1);
                    polled(&polling, &addresses, counted).await
                }
                Transport::Upgrade => {
                    let mut websocket = WebSocket::dial(addresses[1], &format!("&sid={}", polling.sid)).await;
                    websocket.send("2probe").await;
                    assert_eq!(websocket.text().await, "3probe");
                    websocket.send("5").await;
                    drop(place);
                    connected.add_permits(1);
                    carried(websocket, counted).await
                }
            };
            (number, events)
        });
    }
    drop(within("all to connect", connected.acquire_many(CLIENTS as u32)).await.unwrap());
    clients
}

/// Listens until it has everything, or the session has ended.
async fn carried(mut websocket: WebSocket, counted: impl Fn()) -> Vec<usize> {
    let mut events = Vec::new();
    while events.len() < EVENTS
        && let Some(frame) = websocket.next().await
        && let Ok(packet) = frame.to_text()
        && let Some(event) = number(packet)
    {
        events.push(event);
        counted();
    }
    events
}

/// Polls until it has everything, or the session has ended. What a dying node did not answer is sent again, as a balancer does it.
async fn polled(polling: &Polling, addresses: &[SocketAddr], counted: impl Fn()) -> Vec<usize> {
    let mut events = Vec::new();
    let mut places = addresses.iter().cycle();
    for mark in 0.. {
        if events.len() == EVENTS {
            break;
        }
        let mut answer = Err(io::ErrorKind::NotConnected.into());
        for address in places.by_ref().take(NODES) {
            answer = poll(*address, &format!("{}&t={mark}", polling.target())).await;
            if answer.is_ok() {
                break;
            }
        }
        let answer = answer.unwrap();
        if answer.status != 200 {
            break;
        }
        for event in answer.text().split('\u{1e}').filter_map(number) {
            events.push(event);
            counted();
        }
    }
    events
}

/// One poll on a connection of its own, which may break.
async fn poll(address: SocketAddr, target: &str) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(address).await?;
    let head = format!("GET {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    if answer.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Answer::parse(&answer))
}

/// Which event it is; nothing for what is none.
fn number(packet: &str) -> Option<usize> {
    packet.strip_prefix("42[\"tick\",")?.strip_suffix(']')?.parse().ok()
}
