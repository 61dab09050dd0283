//! WebSockets that are carried.

use std::time::Duration;

use tokio::{io::AsyncWriteExt as _, net::TcpStream, task::JoinSet, time::timeout};

use super::{CLIENTS, Pair, client::upgrade};
use crate::dsl::{frame, within};

/// What one message of a client has, in bytes.
const MESSAGE: usize = 60_000;

async fn upgraded(pair: &Pair) -> Vec<TcpStream> {
    let mut upgrading = JoinSet::new();
    for session in pair.sessions(CLIENTS).await {
        let edge = pair.edge.public;
        upgrading.spawn(async move { upgrade(&session, edge).await });
    }
    let upgraded = within("all to be upgraded", upgrading.join_all()).await;
    pair.until_edge("fanfare_forwarded_upgrades", |carried| carried == CLIENTS as u64)
        .await;
    upgraded
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_read_costs_little() {
    let pair = Pair::start().await;
    let bystander = pair.bystander().await;
    pair.measure(async || {
        let mut clients = upgraded(&pair).await;
        for client in &mut clients {
            client.write_all(&frame(0x81, br#"42["flood",2]"#)).await.unwrap();
        }
        bystander.is_served().await;
        clients
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_writes_more_than_a_stopped_owner_takes_costs_little_and_leaves_nothing_behind() {
    let pair = Pair::start().await;
    let event = [&br#"42["nothing",""#[..], &b"x".repeat(MESSAGE), br#""]"#].concat();
    let message = frame(0x81, &event);
    pair.measure(async || {
        let mut clients = upgraded(&pair).await;
        pair.owner.freeze();
        let mut writing = JoinSet::new();
        for mut client in clients.drain(..) {
            let message = message.clone();
            writing.spawn(async move {
                // Until nothing is taken any more; what ends it meanwhile is that the owner was found to be mute.
                while let Ok(Ok(())) = timeout(Duration::from_secs(2), client.write_all(&message)).await {}
                client
            });
        }
        let clients = within("all buffers to be full", writing.join_all()).await;
        drop(clients);
        // While it is still stopped.
        pair.until_edge_is_empty().await;
        pair.owner.signal("CONT");
    })
    .await;
}
