//! The main job: three nodes over one bus, clients on each, and a broadcast reaches them all.

use crate::dsl::{Polling, WebSocket, three_nodes, within};

/// One WebSocket client a node.
async fn clients(nodes: &[fanfare::node::RunningNode; 3]) -> Vec<WebSocket> {
    let mut clients = Vec::new();
    for node in nodes {
        clients.push(WebSocket::connect(node.public_addr()).await);
    }
    clients
}

#[tokio::test]
async fn an_emit_to_everyone_reaches_every_client_of_every_node() {
    let nodes = three_nodes().await;
    let mut clients = clients(&nodes).await;
    let poller = Polling::connect(nodes[2].public_addr()).await;
    for number in 0..20 {
        nodes[number % 3].io().emit("tick", &number).unwrap();
    }
    for client in &mut clients {
        let mut seen = Vec::new();
        for _ in 0..20 {
            seen.push(client.text().await);
        }
        let mut expected: Vec<_> = (0..20).map(|number| format!(r#"42["tick",{number}]"#)).collect();
        // Between nodes no order is promised.
        seen.sort_unstable();
        expected.sort_unstable();
        assert_eq!(seen, expected);
    }
    assert_eq!(poller.receive_some(20).await.len(), 20);
    stop(nodes).await;
}

#[tokio::test]
async fn a_broadcast_reaches_the_others_and_not_the_sender() {
    let nodes = three_nodes().await;
    let mut clients = clients(&nodes).await;
    let mut neighbour = WebSocket::connect(nodes[0].public_addr()).await;
    clients[0].send(r#"42["others",{"n":1}]"#).await;
    clients[0].send(r#"42["echo","mine"]"#).await;
    assert_eq!(
        clients[0].text().await,
        r#"42["echo","mine"]"#,
        "the sender does not get its own broadcast"
    );
    for other in [&mut neighbour].into_iter().chain(&mut clients[1..]) {
        assert_eq!(other.text().await, r#"42["others",{"n":1}]"#);
    }
    clients[1].send(r#"42["everyone"]"#).await;
    for client in &mut clients {
        assert_eq!(client.text().await, r#"42["everyone"]"#, "the sender gets it too");
    }
    stop(nodes).await;
}

#[tokio::test]
async fn events_of_one_client_arrive_in_order_on_every_node() {
    let nodes = three_nodes().await;
    let mut clients = clients(&nodes).await;
    for number in 0..200 {
        clients[0].send(&format!(r#"42["others",{number}]"#)).await;
    }
    for client in &mut clients[1..] {
        for number in 0..200 {
            assert_eq!(client.text().await, format!(r#"42["others",{number}]"#));
        }
    }
    stop(nodes).await;
}

#[tokio::test]
async fn a_room_spans_the_nodes_and_nobody_outside_hears_it() {
    let nodes = three_nodes().await;
    let mut clients = clients(&nodes).await;
    for client in &mut clients[1..] {
        client.send(r#"421["join","red"]"#).await;
        assert_eq!(client.text().await, "431[]");
    }
    let mut outsider = WebSocket::connect(nodes[1].public_addr()).await;
    clients[0].send(r#"42["room","red","hello"]"#).await;
    for client in &mut clients[1..] {
        assert_eq!(client.text().await, r#"42["room","red","hello"]"#);
    }
    outsider.send(r#"42["echo",1]"#).await;
    assert_eq!(outsider.text().await, r#"42["echo",1]"#);
    stop(nodes).await;
}

#[tokio::test]
async fn a_burst_from_another_node_cuts_nobody_who_reads() {
    const COUNT: usize = 200;
    let nodes = three_nodes().await;
    let mut client = WebSocket::connect(nodes[1].public_addr()).await;
    let text = "x".repeat(20_000);
    for number in 0..COUNT {
        nodes[0].io().emit("big", &(number, &text)).unwrap();
    }
    for number in 0..COUNT {
        assert_eq!(client.text().await, format!(r#"42["big",{number},"{text}"]"#));
    }
    drop(client);
    stop(nodes).await;
}

#[tokio::test]
async fn attachments_cross_nodes_and_transports() {
    let nodes = three_nodes().await;
    let mut clients = clients(&nodes).await;
    let poller = Polling::connect(nodes[1].public_addr()).await;
    clients[0].send(r#"451-["others",{"_placeholder":true,"num":0}]"#).await;
    clients[0].send_binary(&[1, 2, 3, 255]).await;
    assert_eq!(clients[2].text().await, r#"451-["others",{"_placeholder":true,"num":0}]"#);
    assert_eq!(clients[2].binary().await, [1, 2, 3, 255]);
    assert_eq!(
        poller.receive_some(2).await,
        [r#"451-["others",{"_placeholder":true,"num":0}]"#, "bAQID/w=="]
    );
    stop(nodes).await;
}

#[tokio::test]
async fn acks_come_back_with_the_arguments() {
    let nodes = three_nodes().await;
    let mut client = WebSocket::connect(nodes[0].public_addr()).await;
    client.send(r#"4217["ack","a",{"b":[2]}]"#).await;
    assert_eq!(client.text().await, r#"4317["a",{"b":[2]}]"#);
    stop(nodes).await;
}

async fn stop([one, two, three]: [fanfare::node::RunningNode; 3]) {
    within("the nodes to stop", async {
        tokio::join!(one.shutdown(), two.shutdown(), three.shutdown())
    })
    .await;
}
