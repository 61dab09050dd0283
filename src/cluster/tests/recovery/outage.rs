//! When the log or the records are away, or have lost what they had.

use super::*;
use crate::hub::{EmitError, NotDispatched};

#[tokio::test(start_paused = true)]
async fn while_the_log_is_away_events_are_held_and_then_come_in_order() {
    let node = Node::start(&MemoryBus::new());
    let mut client = Client::joined(&node).await;
    node.store.set_connected(false);
    for number in 1..=5 {
        node.io.emit("n", &number).unwrap();
    }
    let confirmed = node.io.sockets().all().emit_logged("n", &6).unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    client.read();
    assert_eq!(client.saw(), Vec::<String>::new(), "nothing logged is delivered anywhere meanwhile");
    node.io.volatile().emit("v", &1).unwrap();
    node.store.set_connected(true);
    confirmed.await.unwrap();
    node.io.emit("n", &7).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    client.read();
    assert_eq!(client.saw(), [vec!["v 1".to_owned()], said("n", 1..=7)].concat());
}

#[tokio::test(start_paused = true)]
async fn what_is_held_is_bounded_in_time_and_bytes() {
    let config = Config {
        hold_bytes: 10_000,
        ..Config::default()
    };
    let node = Node::start_with(&MemoryBus::new(), Recovery::default(), config);
    let busy = |outcome| matches!(outcome, Err(EmitError::Log(NotDispatched::Busy)));
    node.store.set_connected(false);
    let mut held = 0;
    while !busy(node.io.emit("n", &"x".repeat(1000))) {
        held += 1;
    }
    assert!((8..=9).contains(&held), "{held} of 1000 bytes in 10 000");
    node.store.set_connected(true);
    tokio::time::sleep(Duration::from_secs(1)).await;
    node.io.emit("n", &1).unwrap();
    node.store.set_connected(false);
    node.io.emit("n", &2).unwrap();
    tokio::time::sleep(Duration::from_millis(9_500)).await;
    node.io.emit("n", &3).unwrap();
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(busy(node.io.emit("n", &4)));
    assert_eq!(node.cluster.counters().append_busy.get(), 2);
    node.store.set_connected(true);
    tokio::time::sleep(Duration::from_secs(1)).await;
    node.io.emit("n", &5).unwrap();
    assert_eq!(node.cluster.counters().appended.get(), held + 4, "what was held was kept");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_connects_while_the_records_are_away_has_no_pid() {
    let node = Node::start(&MemoryBus::new());
    node.store.set_connected(false);
    let mut client = Client::default();
    client.connect(&node).await;
    client.read();
    assert!(client.connected && client.pid.is_none());
    assert_eq!(node.counter("connects_unrecorded"), 1);
    node.store.set_connected(true);
    tokio::time::sleep(Duration::from_secs(1)).await;
    node.io.emit("n", &1).unwrap();
    client.read();
    assert_eq!(client.saw(), said("n", [1]));
}

#[tokio::test(start_paused = true)]
async fn a_change_that_could_not_be_written_is_written_later() {
    let bus = MemoryBus::new();
    let (node, other) = (Node::start(&bus), Node::start(&bus));
    let mut client = Client::joined(&node).await;
    written().await;
    node.store.set_connected(false);
    node.io.to(client.sid.as_str()).sockets_join("red");
    written().await;
    assert!(node.counter("records_unwritten") > 0);
    client.cut();
    tokio::time::sleep(Duration::from_secs(3)).await;
    node.store.set_connected(true);
    tokio::time::sleep(Duration::from_secs(3)).await;
    other.io.to("red").emit("n", &1).unwrap();
    client.connect(&other).await;
    client.read();
    assert!(client.recovered);
    assert_eq!(client.saw(), said("n", [1]));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_the_server_has_ended_stays_ended_through_an_outage() {
    let bus = MemoryBus::new();
    let (node, other) = (Node::start(&bus), Node::start(&bus));
    let mut client = Client::joined(&node).await;
    written().await;
    node.store.set_connected(false);
    node.io.local().disconnect_sockets(false);
    client.cut();
    tokio::time::sleep(Duration::from_secs(3)).await;
    node.store.set_connected(true);
    tokio::time::sleep(Duration::from_secs(3)).await;
    client.connect(&other).await;
    client.read();
    assert!(client.connected && !client.recovered);
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_one_node_leaves_a_gap_that_is_read() {
    let bus = MemoryBus::new();
    let (node, other) = (Node::start(&bus), Node::start(&bus));
    let mut client = Client::joined(&node).await;
    node.io.emit("n", &1).unwrap();
    node.store.set_connected(false);
    for number in 2..=50 {
        other.io.emit("n", &number).unwrap();
    }
    node.store.set_connected(true);
    other.io.emit("n", &51).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    client.read();
    assert_eq!(client.saw(), said("n", 1..=51));
    assert_eq!(client.line().tap.closed(), None);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_lost_its_entries_costs_its_sessions_and_tells_the_clients() {
    let bus = MemoryBus::new();
    let node = Node::start(&bus);
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(Client::joined(&node).await);
    }
    let mut away = Client::joined(&node).await;
    node.io.emit("n", &1).unwrap();
    away.read();
    away.cut();
    bus.lose_logs();
    node.io.emit("n", &2).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    for client in &mut clients {
        client.read();
        assert_eq!(client.saw(), said("n", [1]), "never a part of what comes after a hole");
        assert_eq!(client.line().tap.closed(), Some(CloseReason::TransportError));
        client.cut();
    }
    clients.push(away);
    for client in &mut clients {
        client.connect(&node).await;
        client.read();
        assert!(client.connected && !client.recovered);
    }
    assert_eq!(node.cluster.counters().log_holes.get(), 1);
    node.io.emit("n", &3).unwrap();
    for client in &mut clients {
        client.read();
        assert_eq!(client.saw().last().map(String::as_str), Some("n 3"));
        client.cut();
    }
    // And recovery works in the new epoch.
    node.io.emit("n", &4).unwrap();
    for client in &mut clients {
        client.connect(&node).await;
        client.read();
        assert!(client.recovered);
        assert_eq!(client.saw(), said("n", [4]));
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_log_has_forgotten_is_not_passed_over() {
    let bus = MemoryBus::with_store(memory::StoreConfig {
        log_bytes: 20_000,
        ..memory::StoreConfig::default()
    });
    let config = Config {
        tail_bytes: 10_000,
        ..Config::default()
    };
    let node = Node::start_with(&bus, Recovery::default(), config);
    let mut client = Client::joined(&node).await;
    client.cut();
    for number in 0..100 {
        node.io.emit("n", &(number, "x".repeat(1000))).unwrap();
    }
    client.connect(&node).await;
    client.read();
    assert!(client.connected && !client.recovered);
    assert_eq!(client.saw(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_fell_behind_a_log_that_forgets_cuts_its_clients() {
    let bus = MemoryBus::with_store(memory::StoreConfig {
        log_bytes: 20_000,
        ..memory::StoreConfig::default()
    });
    let (node, other) = (Node::start(&bus), Node::start(&bus));
    let mut client = Client::joined(&node).await;
    node.store.set_connected(false);
    for number in 0..100 {
        other.io.emit("n", &(number, "x".repeat(1000))).unwrap();
    }
    node.store.set_connected(true);
    tokio::time::sleep(Duration::from_secs(1)).await;
    client.read();
    assert_eq!(client.saw(), Vec::<String>::new());
    assert_eq!(client.line().tap.closed(), Some(CloseReason::TransportError));
    client.cut();
    client.connect(&node).await;
    client.read();
    assert!(client.connected && !client.recovered);
}
