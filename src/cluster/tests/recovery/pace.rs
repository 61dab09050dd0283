//! How fast is replayed, and until when.

use std::num::NonZeroU64;

use super::*;

/// Bytes of an event in these tests, roughly.
const SIZE: usize = 1000;

fn recovery(replay_rate: u64, node_replay_rate: u64, timeout: u64) -> Recovery {
    Recovery {
        replay_rate: NonZeroU64::new(replay_rate).unwrap(),
        node_replay_rate: NonZeroU64::new(node_replay_rate).unwrap(),
        replay_timeout: Duration::from_secs(timeout),
        ..Recovery::default()
    }
}

fn emit(node: &Node, number: u64) {
    node.io.emit(&number.to_string(), &"x".repeat(SIZE)).unwrap();
}

/// The numbers of the events that handlers saw since this was asked last.
fn numbers(client: &mut Client) -> Vec<u64> {
    client.read();
    client
        .saw()
        .iter()
        .map(|said| said.split(' ').next().unwrap().parse().unwrap())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_client_gets_so_many_bytes_a_second_and_what_comes_meanwhile_behind_them() {
    let node = Node::start_with(&MemoryBus::new(), recovery(10_000, 1 << 30, 60), Config::default());
    let mut client = Client::joined(&node).await;
    client.cut();
    (0..100).for_each(|number| emit(&node, number));
    client.connect(&node).await;
    let begun = tokio::time::Instant::now();
    let (mut seen, mut next) = (Vec::new(), 100);
    while seen.len() < 120 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        seen.extend(numbers(&mut client));
        let tenths = begun.elapsed().as_millis() / 100;
        // A tenth of a second's worth at once, and the one that goes beyond.
        assert!(
            seen.len() as u128 <= tenths + 3,
            "{} events after {tenths} tenths of a second",
            seen.len()
        );
        if next < 120 {
            emit(&node, next);
            next += 1;
        }
    }
    assert!(
        client.recovered && begun.elapsed() < Duration::from_millis(12_700),
        "{:?}",
        begun.elapsed()
    );
    emit(&node, 120);
    seen.extend(numbers(&mut client));
    assert_eq!(seen, (0..=120).collect::<Vec<_>>(), "each once and in order, and then it is live");
    assert_eq!(node.counter("replays_given_up"), 0);
}

#[tokio::test(start_paused = true)]
async fn all_clients_of_a_node_share_what_it_replays() {
    let node = Node::start_with(&MemoryBus::new(), recovery(1 << 30, 20_000, 60), Config::default());
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(Client::joined(&node).await);
    }
    clients.iter_mut().for_each(Client::cut);
    (0..50).for_each(|number| emit(&node, number));
    for client in &mut clients {
        client.connect(&node).await;
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let mut seen: Vec<Vec<u64>> = clients.iter_mut().map(numbers).collect();
    assert!(
        seen.iter().all(|seen| (22..=28).contains(&seen.len())),
        "they have come equally far: {seen:?}"
    );
    tokio::time::sleep(Duration::from_millis(5_300)).await;
    for (client, seen) in clients.iter_mut().zip(&mut seen) {
        seen.extend(numbers(client));
        assert_eq!(*seen, (0..50).collect::<Vec<_>>());
    }
}

#[tokio::test(start_paused = true)]
async fn a_replay_that_cannot_catch_up_is_given_up_in_time() {
    let node = Node::start_with(&MemoryBus::new(), recovery(10_000, 1 << 30, 10), Config::default());
    let (mut client, mut live) = (Client::joined(&node).await, Client::joined(&node).await);
    client.cut();
    (0..20).for_each(|number| emit(&node, number));
    client.connect(&node).await;
    let (mut seen, mut heard) = (Vec::new(), Vec::new());
    for number in 20..240 {
        // Twice as much as may be replayed.
        emit(&node, number);
        tokio::time::sleep(Duration::from_millis(50)).await;
        seen.extend(numbers(&mut client));
        heard.extend(numbers(&mut live));
        let closed = client.line().tap.closed();
        assert_eq!(closed.is_some(), number - 19 >= 200, "after {number} events");
        assert!(closed.is_none_or(|reason| reason == CloseReason::TransportError));
    }
    assert_eq!(node.counter("replays_given_up"), 1);
    assert!((95..=105).contains(&seen.len()), "{}", seen.len());
    assert_eq!(seen, (0..seen.len() as u64).collect::<Vec<_>>(), "no hole before the end");
    assert_eq!(heard, (0..240).collect::<Vec<_>>(), "nobody else notices");
    let sid = client.sid.clone();
    client.cut();
    client.connect(&node).await;
    client.read();
    assert!(client.connected && !client.recovered && client.sid != sid);
    emit(&node, 240);
    assert_eq!(numbers(&mut client), [240]);
}

/// Nobody is begun with who cannot be finished.
#[tokio::test(start_paused = true)]
async fn who_has_missed_more_than_can_be_replayed_in_time_begins_anew_at_once() {
    let node = Node::start_with(&MemoryBus::new(), recovery(10_000, 1 << 30, 10), Config::default());
    for (missed, recovered) in [(90, true), (110, false)] {
        let mut client = Client::joined(&node).await;
        client.cut();
        (0..missed).for_each(|number| emit(&node, number));
        client.connect(&node).await;
        client.read();
        assert!(client.connected);
        assert_eq!(client.recovered, recovered, "{missed}");
        let mut seen = numbers(&mut client);
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            seen.extend(numbers(&mut client));
        }
        assert_eq!(seen.len(), if recovered { 90 } else { 0 });
        client.cut_by(CloseReason::ParseError);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_given_up_too() {
    let node = Node::start_with(&MemoryBus::new(), recovery(1 << 30, 1 << 30, 10), Config::default());
    let mut client = Client::joined(&node).await;
    client.cut();
    (0..300).for_each(|number| emit(&node, number));
    client.connect(&node).await;
    tokio::time::sleep(Duration::from_millis(9_900)).await;
    assert_eq!(client.line().tap.closed(), None);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(client.line().tap.closed(), Some(CloseReason::TransportError));
}
