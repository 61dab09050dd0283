//! What one node asks, all answer; and nobody waits for who cannot.

use std::{collections::BTreeSet, time::Duration};

use fanfare_adapters::memory::MemoryBus;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::time::Instant;

use super::bench::{Client, Fate, Node, heartbeats, settle};
use crate::{
    cluster::Config,
    hub::{BroadcastAckError, FetchError, Partial, ServerEvent, Socket},
};

async fn three(bus: &MemoryBus) -> [Node; 3] {
    let named = |name: &str| Config {
        node: name.to_owned(),
        ..Config::default()
    };
    [
        Node::start(bus, named("one")).await,
        Node::start(bus, named("two")).await,
        Node::start(bus, named("three")).await,
    ]
}

async fn clients(nodes: &[Node]) -> Vec<Client> {
    let mut clients = Vec::new();
    for node in nodes {
        clients.push(node.client("/").await);
    }
    clients
}

/// Answers the last event that asks for it, which was the `ack`th.
fn answer(client: &mut Client, ack: u64, with: &str) {
    client.say(&format!("3{ack}[{with}]"));
}

#[tokio::test(start_paused = true)]
async fn sockets_rooms_and_counts_are_those_of_all_nodes() {
    let bus = MemoryBus::new();
    let nodes = three(&bus).await;
    for (number, node) in nodes.iter().enumerate() {
        node.io
            .sockets()
            .on_connect(move |socket: Socket| async move {
                socket.set_data(&number).unwrap();
                socket.join(format!("room {number}")).unwrap();
                socket.join("all").unwrap();
            })
            .unwrap();
    }
    let _clients = (clients(&nodes).await, clients(&nodes).await);

    let found = nodes[0].io.fetch_sockets().await.unwrap();
    let of = |number: usize| found.iter().filter(move |socket| socket.data::<usize>().unwrap() == number);
    for number in 0..3 {
        assert_eq!(of(number).count(), 2);
        for socket in of(number) {
            let rooms = [socket.id().clone(), format!("room {number}").into(), "all".into()];
            assert_eq!(socket.rooms(), rooms);
            assert_eq!(&*socket.handshake().url, "/socket.io/");
        }
    }
    assert_eq!(nodes[1].io.to(["room 0", "room 2"]).all_sockets().await.unwrap().len(), 4);
    assert_eq!(nodes[2].io.local().fetch_sockets().await.unwrap().len(), 2);
    assert_eq!(nodes[1].io.except("room 2").count_sockets().await, Ok(4));
    let rooms = nodes[2].io.fetch_rooms().await.unwrap();
    let expected = [("all", 6), ("room 0", 2), ("room 1", 2), ("room 2", 2)];
    assert_eq!(rooms.iter().map(|(room, count)| (&**room, *count)).collect::<Vec<_>>(), expected);
    let rooms = nodes[2].io.to("room 1").fetch_rooms().await.unwrap();
    assert_eq!(rooms.into_iter().collect::<Vec<_>>(), [("all".into(), 2), ("room 1".into(), 2)]);
    // A namespace that the others do not have is nobody's.
    assert_eq!(nodes[0].io.of("/only-here").count_sockets().await, Ok(0));

    let far = of(2).next().unwrap();
    far.join("new");
    assert_eq!(nodes[0].io.to("new").all_sockets().await.unwrap(), [far.id().clone()].into());
    far.disconnect(false);
    assert_eq!(nodes[0].io.count_sockets().await, Ok(5));
}

#[tokio::test(start_paused = true)]
async fn what_was_done_before_is_seen_in_the_answer() {
    let bus = MemoryBus::new();
    let nodes = three(&bus).await;
    let _clients = clients(&nodes).await;
    for round in 0..20 {
        let room = format!("round {round}");
        nodes[round % 3].io.sockets_join(&room);
        assert_eq!(nodes[round % 3].io.to(&room).count_sockets().await, Ok(3));
    }
}

#[tokio::test(start_paused = true)]
async fn clients_of_all_nodes_answer() {
    let bus = MemoryBus::new();
    let nodes = three(&bus).await;
    let mut clients = clients(&nodes).await;
    let votes = nodes[0].io.timeout(Duration::from_secs(60)).emit_with_ack::<u32>("vote", &());
    for client in &clients {
        assert_eq!(client.events().await, [r#"["vote"]"#]);
    }
    let mut votes = votes.stream().unwrap();
    answer(&mut clients[2], 0, "2");
    assert_eq!(votes.next().await.unwrap().unwrap(), 2, "as they come, from whatever node");
    answer(&mut clients[0], 0, "0");
    assert_eq!(votes.next().await.unwrap().unwrap(), 0);
    assert!(votes.next().now_or_never().is_none());
    answer(&mut clients[1], 0, "1");
    assert_eq!(votes.next().await.unwrap().unwrap(), 1);
    assert!(votes.next().await.is_none() && votes.missing().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_another_node_is_not_waited_for_and_a_silent_one_is_named() {
    let bus = MemoryBus::new();
    let nodes = three(&bus).await;
    let mut clients = clients(&nodes).await;
    let start = Instant::now();
    let votes = nodes[0].io.timeout(Duration::from_secs(60)).emit_with_ack::<u32>("vote", &());
    settle().await;
    answer(&mut clients[0], 0, "0");
    answer(&mut clients[1], 0, "1");
    clients[2].say("1");
    let mut answers = votes.await.unwrap();
    answers.sort_unstable();
    assert_eq!(answers, [0, 1]);
    assert!(start.elapsed() < Duration::from_secs(1));

    let votes = nodes[0].io.timeout(Duration::from_secs(60)).emit_with_ack::<u32>("vote", &());
    settle().await;
    answer(&mut clients[0], 1, "0");
    let Err(BroadcastAckError::Partial { answers, missing, .. }) = votes.await else {
        panic!("one is silent")
    };
    assert_eq!((answers, missing.sockets, missing.nodes), (vec![0], 1, vec![]));
    assert!(start.elapsed() >= Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_falls_silent_is_named_as_soon_as_it_is_suspected() {
    let bus = MemoryBus::new();
    let nodes = three(&bus).await;
    let _clients = clients(&nodes).await;
    nodes[2].adapter.all(|_| Fate::Lost);
    let start = Instant::now();
    let Err(Partial { known, missing }) = nodes[0].io.count_sockets().await else {
        panic!("one is silent")
    };
    assert_eq!((known, missing.nodes), (2, vec!["three".into()]));
    assert!(start.elapsed() <= Duration::from_millis(2500), "{:?}", start.elapsed());

    // From now on nobody waits at all.
    for removed in [false, true] {
        let start = Instant::now();
        let replied = nodes[0].io.fetch_sockets().await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        match replied {
            Ok(sockets) => assert_eq!((sockets.len(), removed), (2, true), "it is no part of the cluster any more"),
            Err(FetchError::Partial { sockets, missing }) => {
                assert_eq!((sockets.len(), missing.nodes, removed), (2, vec!["three".into()], false));
            }
            Err(error) => panic!("{error}"),
        }
        heartbeats(10).await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_not_waited_for_is_asked_all_the_same() {
    let bus = MemoryBus::new();
    let nodes = three(&bus).await;
    let clients = clients(&nodes).await;
    for node in &nodes[1..] {
        node.adapter.all(|_| Fate::Lost);
    }
    tokio::time::sleep(Duration::from_secs(4)).await;
    let votes = nodes[0].io.timeout(Duration::from_secs(1)).emit_with_ack::<u32>("vote", &());
    for client in &clients {
        assert_eq!(client.events().await, [r#"["vote"]"#]);
    }
    assert!(matches!(votes.await, Err(BroadcastAckError::Partial { missing, .. }) if missing.nodes.len() == 2));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_goes_while_it_is_waited_for_ends_the_wait() {
    let bus = MemoryBus::new();
    let nodes = three(&bus).await;
    let mut clients = clients(&nodes).await;
    let votes = nodes[0].io.timeout(Duration::from_secs(600)).emit_with_ack::<u32>("vote", &());
    settle().await;
    answer(&mut clients[0], 0, "0");
    answer(&mut clients[1], 0, "1");
    settle().await;
    let start = Instant::now();
    let waiting = tokio::spawn(votes.into_future());
    nodes[2].cluster.close(Duration::ZERO).await;
    let Err(BroadcastAckError::Partial { mut answers, missing, .. }) = waiting.await.unwrap() else {
        panic!("one is gone")
    };
    answers.sort_unstable();
    assert_eq!((answers, missing.sockets, missing.nodes), (vec![0, 1], 1, vec!["three".into()]));
    assert!(start.elapsed() < Duration::from_secs(1), "it said goodbye");
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_is_lost_is_counted_and_named() {
    let bus = MemoryBus::new();
    let nodes = three(&bus).await;
    let _clients = clients(&nodes).await;
    let mut replies = 0;
    nodes[1].adapter.all(move |topic| {
        replies += u32::from(topic.as_str().contains(":node."));
        if replies == 2 && topic.as_str().contains(":node.") {
            Fate::Lost
        } else {
            Fate::Sent
        }
    });
    assert_eq!(nodes[0].io.count_sockets().await, Ok(3));
    let start = Instant::now();
    let Err(Partial { known, missing }) = nodes[0].io.timeout(Duration::from_secs(2)).count_sockets().await else {
        panic!("a reply is lost")
    };
    assert_eq!((known, missing.nodes), (2, vec!["two".into()]));
    assert!(start.elapsed() >= Duration::from_secs(2));
    assert_eq!(nodes[0].io.count_sockets().await, Ok(3));
    heartbeats(2).await;
    assert_eq!((nodes[0].count("requests_missed"), nodes[0].count("holes")), (1, 0));
    assert_eq!(
        nodes.iter().map(|node| node.count("unwanted")).sum::<u64>(),
        0,
        "replies go to who asks"
    );
}

#[tokio::test(start_paused = true)]
async fn many_sockets_come_in_many_replies() {
    let bus = MemoryBus::new();
    let nodes = three(&bus).await;
    let mut clients = Vec::new();
    nodes[2]
        .io
        .sockets()
        .on_connect(async |socket: Socket| socket.set_data(&"x".repeat(1000)))
        .unwrap();
    for _ in 0..400 {
        clients.push(nodes[2].client("/").await);
    }
    let ids: BTreeSet<_> = nodes[0].io.all_sockets().await.unwrap().into_iter().collect();
    assert_eq!(ids.len(), 400);
    let twice = Fate::SentTwice;
    let mut twice = Some(twice);
    nodes[2].adapter.all(move |topic| match topic.as_str().contains(":node.") {
        true => twice.take().unwrap_or(Fate::Sent),
        false => Fate::Sent,
    });
    assert_eq!(nodes[0].io.fetch_sockets().await.unwrap().len(), 400, "a copy counts once");
    nodes[2].adapter.all(|topic| match topic.as_str().contains(":node.") {
        true => Fate::Refused(fanfare_adapters::PublishError::TooLarge { size: 2, limit: 1 }),
        false => Fate::Sent,
    });
    let refused = nodes[0].io.timeout(Duration::from_secs(2)).fetch_sockets().await;
    assert!(matches!(refused, Err(FetchError::Partial { sockets, missing }) if sockets.is_empty() && *missing.nodes == ["three".into()]));
}

#[tokio::test(start_paused = true)]
async fn applications_talk_across_nodes() {
    let bus = MemoryBus::new();
    let nodes = three(&bus).await;
    let (heard, mut hears) = tokio::sync::mpsc::channel(16);
    for (number, node) in nodes.iter().enumerate() {
        let heard = heard.clone();
        let sockets = node.io.sockets();
        sockets
            .on_server_event("sum", move |event: ServerEvent| {
                let sum = event.arg::<usize>(0).unwrap() + event.arg::<usize>(1).unwrap();
                heard.try_send((number, sum, event.is_asked())).unwrap();
                async move {
                    match number {
                        1 => event.answer(&(sum + 100)).unwrap(),
                        _ => drop(event),
                    }
                }
            })
            .unwrap();
        sockets.on_server_event("bad", async |_| panic!("on purpose")).unwrap();
        assert!(sockets.on_server_event("connect", async |_| {}).is_err());
    }
    nodes[0].io.server_side_emit("sum", &(1, 2)).unwrap();
    settle().await;
    let mut told = vec![hears.try_recv().unwrap(), hears.try_recv().unwrap()];
    told.sort_unstable();
    assert_eq!(told, [(1, 3, false), (2, 3, false)], "all but the sender");

    let start = Instant::now();
    assert_eq!(nodes[0].io.server_side_emit_with_ack::<usize>("sum", &(3, 4)).await.unwrap(), [107]);
    assert!(nodes[0].io.server_side_emit_with_ack::<usize>("bad", &()).await.unwrap().is_empty());
    assert!(
        nodes[0]
            .io
            .server_side_emit_with_ack::<usize>("unknown", &())
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(start.elapsed(), Duration::ZERO, "nobody waits for who will not answer");
    assert!(nodes[0].io.server_side_emit("connect", &()).is_err());

    nodes[1].io.sockets().off_server_event("sum");
    assert!(
        nodes[0]
            .io
            .server_side_emit_with_ack::<usize>("sum", &(3, 4))
            .await
            .unwrap()
            .is_empty()
    );
}
