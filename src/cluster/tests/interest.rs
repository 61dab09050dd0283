//! A node hears what is meant for the rooms that it has sockets in, and little else.

use std::{collections::BTreeSet, time::Duration};

use fanfare_adapters::memory::MemoryBus;
use futures_util::FutureExt as _;

use super::bench::{Client, Node, heartbeats, settle};
use crate::{
    cluster::{Config, topics::Part},
    hub::Socket,
};

/// Long enough for the backend to be asked for new rooms, several times.
async fn heard() {
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// Nodes whose sockets join the room that is named as their node is, by its number.
async fn nodes(bus: &MemoryBus, count: usize) -> Vec<Node> {
    let mut nodes = Vec::new();
    for number in 0..count {
        let node = Node::start(bus, Config::default()).await;
        node.io
            .sockets()
            .on_connect(move |socket: Socket| async move { socket.join(format!("room {number}")) })
            .unwrap();
        nodes.push(node);
    }
    nodes
}

async fn clients(nodes: &[Node]) -> Vec<Client> {
    let mut clients = Vec::new();
    for node in nodes {
        clients.push(node.client("/").await);
    }
    heard().await;
    clients
}

fn counts(nodes: &[Node], name: &str) -> Vec<u64> {
    nodes.iter().map(|node| node.count(name)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_room_is_heard_where_it_has_sockets() {
    let bus = MemoryBus::new();
    let nodes = nodes(&bus, 4).await;
    let clients = clients(&nodes).await;
    for n in 0..100 {
        nodes[0].io.to("room 2").emit("n", &n).unwrap();
    }
    assert_eq!(clients[2].events().await.len(), 100);
    assert_eq!(counts(&nodes, "applied"), [0, 0, 100, 0]);
    assert_eq!(counts(&nodes, "unwanted"), [0; 4], "who has no such room hears nothing at all");
    nodes[3].io.emit("all", &()).unwrap();
    for client in &clients {
        assert_eq!(client.events().await, [r#"["all"]"#]);
    }
}

#[tokio::test(start_paused = true)]
async fn rooms_of_several_topics_reach_each_socket_once_and_in_order() {
    let bus = MemoryBus::new();
    let nodes = nodes(&bus, 3).await;
    let clients = clients(&nodes).await;
    for node in &nodes {
        node.io.local().sockets_join("everybody").await;
    }
    let mut expected = [Vec::new(), Vec::new(), Vec::new()];
    for n in 0..200_usize {
        let rooms: Vec<&str> = match n % 4 {
            0 => vec!["everybody"],
            1 => vec!["room 1", "everybody", "room 2"],
            2 => vec!["room 1", "room 0"],
            _ => vec![],
        };
        nodes[0].io.all().to(rooms.clone()).emit("n", &n).unwrap();
        for (number, expected) in expected.iter_mut().enumerate() {
            if rooms.is_empty() || rooms.contains(&"everybody") || rooms.contains(&&*format!("room {number}")) {
                expected.push(format!(r#"["n",{n}]"#));
            }
        }
    }
    for (client, expected) in clients.iter().zip(expected) {
        assert_eq!(client.events().await, expected);
    }
    assert_eq!(counts(&nodes, "copies"), [0, 50, 50]);
    heartbeats(2).await;
    assert_eq!((counts(&nodes, "holes"), counts(&nodes, "repeats")), (vec![0; 3], vec![0; 3]));
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_on_one_topic_is_counted_once_there() {
    let bus = MemoryBus::new();
    let nodes = nodes(&bus, 2).await;
    let _clients = clients(&nodes).await;
    nodes[0].io.to("room 1").emit("n", &0).unwrap();
    heartbeats(2).await;
    let Part::Rooms(number) = Part::of_room("room 1") else {
        unreachable!()
    };
    let ending = format!(".r{number}");
    nodes[0].adapter.all(move |topic| {
        if topic.as_str().ends_with(&ending) {
            super::bench::Fate::Lost
        } else {
            super::bench::Fate::Sent
        }
    });
    for _ in 0..3 {
        nodes[0].io.to("room 1").emit("n", &1).unwrap();
        nodes[0].io.emit("all", &1).unwrap();
    }
    nodes[0].adapter.all(|_| super::bench::Fate::Sent);
    heartbeats(2).await;
    assert_eq!(counts(&nodes, "holes"), [0, 3]);
    nodes[0].io.to("room 1").emit("n", &2).unwrap();
    heartbeats(2).await;
    assert_eq!(counts(&nodes, "holes"), [0, 3]);
}

#[tokio::test(start_paused = true)]
async fn who_makes_sockets_join_may_emit_to_the_room_at_once() {
    let bus = MemoryBus::new();
    let nodes = nodes(&bus, 3).await;
    let clients = clients(&nodes).await;
    for round in 0..50 {
        let room = format!("young {round}");
        let joined = nodes[0].io.to(["room 1", "room 2"]).sockets_join(&room);
        nodes[0].io.to(&room).emit("n", &round).unwrap();
        for client in &clients[1..] {
            assert_eq!(client.events().await, [format!(r#"["n",{round}]"#)]);
        }
        joined.await;
        // From now on any node's emit reaches it, by its own topic.
        let applied = nodes[0].count("received");
        nodes[2].io.to(&room).emit("late", &round).unwrap();
        assert_eq!(clients[1].events().await, [format!(r#"["late",{round}]"#)]);
        assert_eq!(clients[2].events().await.len(), 1);
        assert_eq!(nodes[0].count("received"), applied, "nodes that are not concerned are spared");
    }
    assert!(clients[0].events().await.is_empty());
}

/// Copies for several topics would not fit into the queue of an adapter that is idle, and healthy.
#[tokio::test(start_paused = true)]
async fn a_large_event_for_several_rooms_goes_once_to_the_whole_namespace() {
    let bus = MemoryBus::new();
    let nodes = nodes(&bus, 4).await;
    let clients = clients(&nodes).await;
    let share = fanfare_adapters::Adapter::limits(&*nodes[0].adapter).queue_bytes / 4;
    for (bytes, unwanted) in [(share / 2 - 100, 0), (share / 2, 1)] {
        let text = "x".repeat(bytes);
        nodes[0].io.to(["room 1", "room 2"]).emit("big", &text).unwrap();
        for client in &clients[1..3] {
            assert_eq!(client.events().await.len(), 1);
        }
        assert_eq!(nodes[3].count("unwanted"), unwanted, "{bytes} bytes");
    }
}

#[tokio::test(start_paused = true)]
async fn a_room_stays_young_while_a_node_that_may_hear_did_not_confirm() {
    let bus = MemoryBus::new();
    let nodes = nodes(&bus, 2).await;
    let clients = clients(&nodes).await;
    // Node 1 hears, and is not heard.
    nodes[1].adapter.all(|_| super::bench::Fate::Lost);
    tokio::time::sleep(Duration::from_secs(4)).await;
    nodes[0].io.to("room 1").sockets_join("young").await;
    settle().await;
    nodes[0].io.to("young").emit("n", &1).unwrap();
    assert_eq!(clients[1].events().await, [r#"["n",1]"#]);
    nodes[1].adapter.all(|_| super::bench::Fate::Sent);
    heartbeats(3).await;
    nodes[0].io.to("young").emit("n", &2).unwrap();
    assert_eq!(clients[1].events().await, [r#"["n",2]"#]);
    let young = nodes[0].io.to("no young room").emit("n", &3);
    assert!(
        young.is_ok() && nodes[1].count("unwanted") == 0,
        "all is confirmed: only topics that are wanted are heard"
    );
}

#[tokio::test(start_paused = true)]
async fn joins_of_nothing_and_from_anywhere_are_confirmed() {
    let bus = MemoryBus::new();
    let nodes = nodes(&bus, 2).await;
    let clients = clients(&nodes).await;
    nodes[0].io.sockets_join(Vec::<String>::new()).await;
    // In no runtime.
    let io = nodes[0].io.clone();
    let joined = std::thread::spawn(move || io.to("room 1").sockets_join("new")).join().unwrap();
    joined.await;
    nodes[0].io.to("new").emit("n", &1).unwrap();
    assert_eq!(clients[1].events().await, [r#"["n",1]"#]);
    // A node that is closed keeps nobody waiting.
    nodes[0].cluster.close(Duration::ZERO).await;
    nodes[0].io.sockets_join("late").await;
}

#[tokio::test(start_paused = true)]
async fn a_join_that_was_awaited_is_true_for_other_nodes() {
    let bus = MemoryBus::new();
    let nodes = nodes(&bus, 2).await;
    let (sender, mut joined) = tokio::sync::mpsc::channel(1);
    nodes[0]
        .io
        .sockets()
        .on("enter", move |socket: Socket| {
            let sender = sender.clone();
            async move {
                socket.join("lobby").unwrap().await;
                sender.try_send(()).unwrap();
            }
        })
        .unwrap();
    let mut clients = clients(&nodes).await;
    clients[0].say(r#"2["enter"]"#);
    let start = tokio::time::Instant::now();
    joined.recv().await.unwrap();
    assert!(start.elapsed() <= Duration::from_millis(10), "{:?}", start.elapsed());
    nodes[1].io.to("lobby").emit("n", &1).unwrap();
    assert_eq!(clients[0].events().await, [r#"["n",1]"#]);
    // One that is true already needs no wait.
    assert!(nodes[0].io.local().sockets_join("lobby").into_future().now_or_never().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_room_that_is_left_is_heard_for_a_while_and_then_no_more() {
    let bus = MemoryBus::new();
    let nodes = nodes(&bus, 2).await;
    let clients = clients(&nodes).await;
    let received = |nodes: &[Node]| nodes[1].count("received");
    nodes[1].io.local().sockets_leave("room 1");
    heard().await;
    let before = received(&nodes);
    nodes[0].io.to("room 1").emit("n", &1).unwrap();
    settle().await;
    assert_eq!((received(&nodes) - before, nodes[1].count("unwanted")), (1, 1));
    tokio::time::sleep(Duration::from_millis(1250)).await;
    let before = (received(&nodes), nodes[1].count("canaries"));
    nodes[0].io.to("room 1").emit("n", &2).unwrap();
    settle().await;
    let after = (received(&nodes), nodes[1].count("canaries"));
    assert_eq!(nodes[1].count("unwanted"), 1, "{before:?} {after:?}");
    assert!(clients[1].events().await.is_empty());
    // What was missed meanwhile is no hole for who comes back.
    nodes[1].io.local().sockets_join("room 1").await;
    nodes[0].io.to("room 1").emit("n", &3).unwrap();
    heartbeats(3).await;
    assert_eq!(clients[1].events().await, [r#"["n",3]"#]);
    assert_eq!(nodes[1].count("holes"), 0);
}

#[tokio::test(start_paused = true)]
async fn an_event_for_one_socket_goes_to_its_node() {
    let bus = MemoryBus::new();
    let nodes = nodes(&bus, 4).await;
    let clients = clients(&nodes).await;
    let ids = nodes[2].io.local().all_sockets().await.unwrap();
    let id = ids.into_iter().next().unwrap();
    let before = counts(&nodes, "received");
    nodes[0].io.to(id.clone()).emit("you", &1).unwrap();
    assert_eq!(clients[2].events().await, [r#"["you",1]"#]);
    let after = counts(&nodes, "received");
    let heard: Vec<u64> = after.iter().zip(before).map(|(after, before)| after - before).collect();
    assert_eq!(heard, [0, 0, 1, 0]);
    // Of a node that is not there, nobody hears.
    nodes[0].io.to("____0123456789abcdef").emit("you", &2).unwrap();
    settle().await;
    assert_eq!(counts(&nodes, "unwanted"), [0; 4]);
}

/// As promised: eight nodes of a thousand other rooms each; the strangers' share stays below twice rooms by topics, and is nothing where
/// no topic is shared.
#[tokio::test(start_paused = true)]
async fn of_rooms_that_share_a_topic_little_is_heard_in_vain() {
    const ROOMS: usize = 1000;
    const MESSAGES: usize = 10_000;
    let bus = MemoryBus::new();
    let mut nodes = Vec::new();
    for number in 0..8 {
        let node = Node::start(&bus, Config::default()).await;
        let rooms: Vec<String> = (0..ROOMS).map(|room| format!("{number}/{room}")).collect();
        node.io
            .sockets()
            .on_connect(move |socket: Socket| {
                let rooms = rooms.clone();
                async move { socket.join(rooms) }
            })
            .unwrap();
        nodes.push(node);
    }
    let clients = clients(&nodes).await;
    heartbeats(2).await;
    let unwanted = counts(&nodes, "unwanted");
    let topics = |number: usize| (0..ROOMS).map(move |room| Part::of_room(&format!("{number}/{room}")));
    let of_node: Vec<BTreeSet<Part>> = (0..8).map(|number| topics(number).collect()).collect();
    let mut expected = [0_u64; 8];
    for n in 0..MESSAGES {
        let room = format!("3/{}", n % ROOMS);
        nodes[0].io.to(room.clone()).emit("n", &n).unwrap();
        for (number, expected) in expected.iter_mut().enumerate().filter(|(number, _)| ![0, 3].contains(number)) {
            *expected += u64::from(of_node[number].contains(&Part::of_room(&room)));
        }
        if n % 100 == 0 {
            settle().await;
        }
    }
    assert_eq!(clients[3].events().await.len(), MESSAGES);
    let heard: Vec<u64> = counts(&nodes, "unwanted")
        .iter()
        .zip(unwanted)
        .map(|(now, before)| now - before)
        .collect();
    assert_eq!(heard, expected, "exactly where a topic is shared, and nowhere else");
    let bound = 2.0 * ROOMS as f64 / f64::from(crate::cluster::topics::ROOM_TOPICS);
    for share in heard.iter().map(|heard| *heard as f64 / MESSAGES as f64) {
        assert!(share < bound, "{share} of at most {bound}");
    }
}
