//! What a broadcast costs does not grow with its recipients where it need not: the message is encoded once, and each recipient gets a
//! reference to it. (A regression here shows in no other test: everything would still arrive.)

use allocation_counter::measure;

use crate::dsl::{Raw, start, within};

/// Broadcasts before the counted one: lists and pools have grown to what they need by then.
const WARM: usize = 8;

/// Allocations of one broadcast to so many WebSockets, in the thread that emits.
async fn allocations(recipients: usize) -> u64 {
    let node = start().await;
    let mut clients = Vec::new();
    for _ in 0..recipients {
        clients.push(Raw::connect(node.public_addr()).await);
    }
    let mut counted = 0;
    for round in 0..=WARM {
        counted = measure(|| node.io().emit("news", &(round, "a text of some length, as texts are")).unwrap()).count_total;
        let expected = format!(r#"42["news",{round},"a text of some length, as texts are"]"#);
        for client in &mut clients {
            assert_eq!(client.text().await.as_deref(), Some(&*expected));
        }
    }
    drop(clients);
    within("the node to end", node.shutdown()).await;
    counted
}

#[tokio::test]
async fn a_broadcast_to_a_thousand_allocates_no_more_than_one_to_ten() {
    let (few, many) = (allocations(10).await, allocations(1000).await);
    assert!(few > 0, "nothing was counted");
    assert_eq!(few, many);
}
