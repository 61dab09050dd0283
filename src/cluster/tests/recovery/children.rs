//! Sessions in namespaces that come and go with their clients.

use super::*;

const NAME: &str = "/tenant-1";

/// A node whose empty children go, and the ids of the sessions that have expired there.
fn tenants(bus: &MemoryBus) -> (Node, tokio::sync::mpsc::Receiver<String>) {
    let config = hub::Config {
        cleanup_empty_child_namespaces: true,
        ..hub::Config::default()
    };
    let node = Node::start_hub(bus, Recovery::default(), Config::default(), config);
    let (tell, expired) = tokio::sync::mpsc::channel(8);
    node.io.of_pattern("/tenant-*").on_session_expired(move |session| {
        tell.try_send(session.id.to_string()).unwrap();
        async {}
    });
    (node, expired)
}

async fn tenant(node: &Node) -> Client {
    let mut client = Client {
        namespace: NAME,
        ..Client::default()
    };
    client.connect(node).await;
    client.read();
    assert!(client.connected && client.pid.is_some());
    client
}

fn exists(node: &Node) -> bool {
    node.hub.namespaces().iter().any(|name| **name == *NAME)
}

#[tokio::test(start_paused = true)]
async fn a_namespace_in_which_a_session_waits_is_not_empty() {
    let (node, mut expired) = tenants(&MemoryBus::new());
    let mut client = tenant(&node).await;
    for round in 0..3 {
        client.cut();
        tokio::time::sleep(WAIT - Duration::from_secs(5)).await;
        assert!(exists(&node));
        node.io.of(NAME).emit("n", &round).unwrap();
        client.connect(&node).await;
        client.read();
        assert!(client.recovered);
        assert_eq!(client.saw(), said("n", [round]));
    }
    client.cut();
    tokio::time::sleep(WAIT + Duration::from_secs(2)).await;
    assert_eq!(expired.try_recv(), Ok(client.sid.clone()), "its parent's handler is told");
    assert!(!exists(&node), "with its last session it goes");
    assert_eq!(node.hub.sessions_waiting(), 0);
    client.connect(&node).await;
    client.read();
    assert!(client.connected && !client.recovered && exists(&node));
    assert!(expired.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_namespace_whose_client_has_left_for_good_goes() {
    let (node, mut expired) = tenants(&MemoryBus::new());
    let mut client = tenant(&node).await;
    client.send("1/tenant-1,");
    written().await;
    assert!(!exists(&node));
    tokio::time::sleep(2 * WAIT).await;
    assert!(expired.try_recv().is_err());
    assert_eq!(fanfare_adapters::Records::counters(&*node.store).records, 0);
}

/// A record that cannot be deleted would let a client back in that the server has sent away.
#[tokio::test(start_paused = true)]
async fn a_namespace_stays_until_the_records_of_its_sessions_are_gone() {
    let (node, mut expired) = tenants(&MemoryBus::new());
    let (mut away, mut dismissed) = (tenant(&node).await, tenant(&node).await);
    node.store.set_connected(false);
    node.io.of(NAME).local().to(dismissed.sid.as_str()).disconnect_sockets(false);
    dismissed.cut();
    away.cut();
    tokio::time::sleep(WAIT + Duration::from_secs(10)).await;
    assert!(exists(&node) && expired.try_recv().is_err());
    node.store.set_connected(true);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(expired.try_recv(), Ok(away.sid.clone()));
    assert!(!exists(&node));
    assert_eq!(fanfare_adapters::Records::counters(&*node.store).records, 0);
}

/// The log takes what comes again under the same number for a repeat.
#[tokio::test(start_paused = true)]
async fn a_namespace_that_has_come_and_gone_leaves_nothing_and_loses_nothing_when_it_comes_again() {
    let (node, _expired) = tenants(&MemoryBus::new());
    let before = node.cluster.logs_followed();
    for round in 0..5 {
        let mut client = tenant(&node).await;
        assert_eq!(node.cluster.logs_followed(), before + 1);
        node.io.of(NAME).emit("n", &round).unwrap();
        client.read();
        assert_eq!(client.saw(), said("n", [round]));
        client.send("1/tenant-1,");
        written().await;
        assert!(!exists(&node));
        assert_eq!(node.cluster.logs_followed(), before);
    }
}
