//! Rooms that come and go cost the backend little.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::Instant,
};

use fanfare::hub::{Data, Socket};

use super::Bus;
use crate::dsl::{WebSocket, within};

const CLIENTS: usize = 100;
/// Of each client.
const ROOMS: usize = 100;
const TIME: Duration = Duration::from_secs(10);
/// Topics of a namespace, and a few more: its own, the node's, control and requests.
const TOPICS: u64 = 4096 + 8;

/// 10 000 rooms are joined and left in ten seconds. Redis is asked a tenth as often, and whatever is sent after a join was awaited
/// arrives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_rooms_cost_a_thousand_commands() {
    let bus = Bus::redis().await;
    let Bus::Redis(port, _) = bus else { unreachable!() };
    let nodes = bus.nodes(2, |_, _| {}).await;
    nodes[0]
        .io()
        .sockets()
        .on("move", async |socket: Socket, Data((from, to)): Data<(String, String)>| {
            socket.leave(from);
            socket.join(to.as_str()).unwrap().await;
            socket.emit("moved", &to)
        })
        .unwrap();
    let before = subscribe_commands(port).await;
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let (address, far) = (nodes[0].public_addr(), nodes[1].io().clone());
        clients.spawn(async move {
            let mut client = WebSocket::connect(address).await;
            let start = Instant::now();
            for turn in 0..ROOMS {
                tokio::time::sleep_until(start + TIME * u32::try_from(turn).unwrap() / u32::try_from(ROOMS).unwrap()).await;
                let (from, to) = (format!("{number}/{}", turn.wrapping_sub(1)), format!("{number}/{turn}"));
                client.send(&format!(r#"42["move",["{from}","{to}"]]"#)).await;
                assert_eq!(client.text().await, format!(r#"42["moved","{to}"]"#));
                far.to(&to).emit("found", &turn).unwrap();
                assert_eq!(client.text().await, format!(r#"42["found",{turn}]"#), "in {to}");
            }
        });
    }
    let mut most = 0;
    while !clients.is_empty() {
        if let Ok(ended) = tokio::time::timeout(Duration::from_millis(500), clients.join_next()).await {
            ended.unwrap().unwrap();
        }
        most = most.max(subscriptions(port).await);
    }
    let commands = subscribe_commands(port).await - before;
    assert!(commands <= (CLIENTS * ROOMS / 10) as u64, "{commands} commands");
    assert!(most <= 2 * TOPICS, "{most} subscriptions of two nodes");
    within("the rooms to be given up", async {
        while subscriptions(port).await > 32 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    for node in nodes {
        within("a node to stop", node.shutdown()).await;
    }
}

/// How often Redis was told to subscribe or to unsubscribe, and asked whether it has.
async fn subscribe_commands(port: u16) -> u64 {
    let stats = ask(port, "INFO commandstats").await;
    let calls = |command: &str| {
        let line = stats
            .lines()
            .find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
        line.and_then(|rest| rest.split(',').next())
            .map_or(0, |calls| calls.parse::<u64>().unwrap())
    };
    ["subscribe", "unsubscribe", "ping"].map(calls).iter().sum()
}

/// How many channels are subscribed, each once.
async fn subscriptions(port: u16) -> u64 {
    let stats = ask(port, "INFO stats").await;
    let line = stats.lines().find_map(|line| line.strip_prefix("pubsub_channels:"));
    line.unwrap().trim().parse().unwrap()
}

pub(super) async fn ask(port: u16, command: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(format!("{command}\r\nQUIT\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    within("Redis to answer", stream.read_to_string(&mut answer)).await.unwrap();
    answer
}
