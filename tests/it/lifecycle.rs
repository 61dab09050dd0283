//! Starting, draining, stopping.

use std::{sync::Arc, time::Duration};

use fanfare::{
    hub::DisconnectReason,
    node::{BuildError, Config, CorsConfig, Node, StartError},
};
use fanfare_adapters::memory::{self, MemoryBus};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::Handle,
    sync::mpsc,
};

use crate::dsl::{Answer, Polling, WebSocket, loopback, request, settle, start, start_on, start_with, upgrade, within};

#[tokio::test]
async fn at_shutdown_clients_see_the_transport_close_and_handlers_the_reason() {
    let node = start().await;
    let (reasons, mut heard) = mpsc::channel(8);
    let note = move |reason: DisconnectReason| {
        reasons.try_send(reason.to_string()).unwrap();
        std::future::ready(())
    };
    node.io().sockets().on_disconnect(note).unwrap();
    let mut websocket = WebSocket::connect(node.public_addr()).await;
    let polling = Polling::connect(node.public_addr()).await;
    let mut poll = TcpStream::connect(node.public_addr()).await.unwrap();
    poll.write_all(format!("GET {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", polling.target()).as_bytes())
        .await
        .unwrap();
    settle(node.public_addr()).await;
    within("the shutdown", node.shutdown()).await;

    // No DISCONNECT packet (41): the stock client would not come back after one.
    assert!(matches!(websocket.closed().await, 1000 | 1001 | 1005));
    let mut answer = Vec::new();
    within("the parked poll", poll.read_to_end(&mut answer)).await.unwrap();
    let answer = Answer::parse(&answer);
    assert_eq!((answer.status, answer.text()), (200, "1"));
    for _ in 0..2 {
        assert_eq!(within("a disconnect handler", heard.recv()).await.unwrap(), "server shutting down");
    }
}

/// The shutdown waits for its next poll, which needs a connection of its own.
#[tokio::test]
async fn at_shutdown_a_client_between_two_polls_hears_of_it_and_is_not_waited_for_any_longer() {
    let node = start().await;
    let (internal, io) = (node.internal_addr(), node.io().clone());
    let client = Polling::connect(node.public_addr()).await;
    io.emit("last", &1).unwrap();
    let stopping = tokio::spawn(node.shutdown());
    within("readyz to say no", async {
        while request(internal, "GET", "/readyz", &[], b"").await.status != 503 {}
    })
    .await;
    let begun = std::time::Instant::now();
    assert_eq!(client.receive().await, [r#"42["last",1]"#]);
    assert_eq!(client.get().await.text(), "6\x1e1");
    within("the shutdown", stopping).await.unwrap();
    assert!(begun.elapsed() < Duration::from_millis(1500), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn while_draining_a_node_is_not_ready_and_finishes_what_is_under_way() {
    let node = start().await;
    let (public, internal) = (node.public_addr(), node.internal_addr());
    let client = Polling::connect(public).await;
    let mut post = TcpStream::connect(public).await.unwrap();
    let head = format!("POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: 13\r\n\r\n42[\"not", client.target());
    post.write_all(head.as_bytes()).await.unwrap();
    settle(public).await;

    let stopping = tokio::spawn(node.shutdown());
    within("readyz to say no", async {
        loop {
            let answer = request(internal, "GET", "/readyz", &[], b"").await;
            if answer.status == 503 {
                let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
                assert_eq!((&body["ready"], &body["draining"]), (&json!(false), &json!(true)));
                return;
            }
        }
    })
    .await;
    post.write_all(b"hing\"]").await.unwrap();
    let mut answer = Vec::new();
    within("the answer", post.read_to_end(&mut answer)).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 "), "{}", String::from_utf8_lossy(&answer));
    within("the shutdown", stopping).await.unwrap();
    assert!(TcpStream::connect(internal).await.is_err() && TcpStream::connect(public).await.is_err());
}

#[tokio::test]
async fn a_shutdown_ends_within_its_grace_whatever_clients_do() {
    let node = start_with(|config| config.shutdown_grace = Duration::from_millis(300)).await;
    let client = Polling::connect(node.public_addr()).await;
    let mut post = TcpStream::connect(node.public_addr()).await.unwrap();
    let head = format!("POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: 13\r\n\r\n42", client.target());
    post.write_all(head.as_bytes()).await.unwrap();
    let idle = TcpStream::connect(node.public_addr()).await.unwrap();
    let mut half = TcpStream::connect(node.public_addr()).await.unwrap();
    half.write_all(b"GET /socket.io/?EIO=4&tran").await.unwrap();
    within("the shutdown", node.shutdown()).await;
    for mut stream in [post, idle, half] {
        let _reset = within("the connection to be cut", stream.read_to_end(&mut Vec::new())).await;
    }
}

/// When no session is left, there is nothing that its body could still do.
#[tokio::test]
async fn a_body_that_does_not_come_does_not_hold_the_shutdown_for_its_whole_grace() {
    let node = start().await;
    let client = Polling::connect(node.public_addr()).await;
    let mut post = TcpStream::connect(node.public_addr()).await.unwrap();
    let head = format!("POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: 13\r\n\r\n42", client.target());
    post.write_all(head.as_bytes()).await.unwrap();
    settle(node.public_addr()).await;
    let begun = std::time::Instant::now();
    within("the shutdown", node.shutdown()).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let mut answer = Vec::new();
    within("the connection to end", post.read_to_end(&mut answer)).await.unwrap();
    assert_eq!(Answer::parse(&answer).status, 400);
}

/// Balancers have the time of the drain to learn that the node is not ready, and no client is cut off meanwhile.
#[tokio::test]
async fn a_drain_refuses_new_sessions_and_lets_open_ones_go_on() {
    let node = start_with(|config| config.drain = Duration::from_secs(3600)).await;
    let (public, internal) = (node.public_addr(), node.internal_addr());
    let mut websocket = WebSocket::connect(public).await;
    let polling = Polling::connect(public).await;
    let stopping = tokio::spawn(node.shutdown());
    within("readyz to say no", async {
        while request(internal, "GET", "/readyz", &[], b"").await.status != 503 {}
    })
    .await;
    let refused = [
        request(public, "GET", "/socket.io/?EIO=4&transport=polling", &[], b"").await,
        upgrade(public, "EIO=4&transport=websocket", &[]).await,
    ];
    for answer in refused {
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    }
    websocket.send(r#"42["everyone",1]"#).await;
    assert_eq!(websocket.text().await, r#"42["everyone",1]"#);
    assert_eq!(polling.receive().await, [r#"42["everyone",1]"#]);

    // With the last session the drain is over, whatever is left of its time.
    polling.send("1").await;
    drop(websocket);
    within("the shutdown", stopping).await.unwrap();
}

/// The reference closes all at once, and they all come back at once.
#[tokio::test]
async fn at_shutdown_sessions_are_closed_over_a_while() {
    let node = start_with(|config| config.server.drain_spread = Duration::from_millis(300)).await;
    let mut clients = Vec::new();
    for _ in 0..30 {
        clients.push(WebSocket::connect(node.public_addr()).await);
    }
    let begun = std::time::Instant::now();
    let mut leaving = tokio::task::JoinSet::new();
    for mut client in clients {
        leaving.spawn(async move {
            client.closed().await;
            begun.elapsed()
        });
    }
    let ((), times) = within("the shutdown", async { tokio::join!(node.shutdown(), leaving.join_all()) }).await;
    let (first, last) = (times.iter().min().unwrap(), times.iter().max().unwrap());
    // They lie 10 ms apart by the node's clock; by this one, which a busy machine holds up, not all of it may be seen.
    assert!(*last - *first >= Duration::from_millis(200), "all between {first:?} and {last:?}");
}

#[tokio::test]
async fn a_hundred_starts_and_stops_leave_nothing() {
    let bus = MemoryBus::new();
    let before = Handle::current().metrics().num_alive_tasks();
    let mut left = Vec::new();
    for _ in 0..100 {
        let (node, adapter) = start_on(&bus, |_| {}).await;
        let mut websocket = WebSocket::connect(node.public_addr()).await;
        let polling = Polling::connect(node.public_addr()).await;
        websocket.send(r#"42["everyone",1]"#).await;
        assert_eq!(websocket.text().await, r#"42["everyone",1]"#);
        assert_eq!(polling.receive().await, [r#"42["everyone",1]"#]);
        left.push((Arc::downgrade(node.io().hub()), Arc::downgrade(&adapter)));
        drop(adapter);
        // Clients that do not say goodbye are waited for, which takes its time: the first node has such, the others have polite ones.
        if left.len() == 1 {
            within("the shutdown", node.shutdown()).await;
            continue;
        }
        polling.send("1").await;
        within("the shutdown", async { tokio::join!(node.shutdown(), websocket.leave()) }).await;
    }
    // What a task drops last, it drops after it was awaited: yield until the runtime has seen it end.
    within("every task to be gone", async {
        while Handle::current().metrics().num_alive_tasks() > before
            || left.iter().any(|(hub, adapter)| hub.strong_count() + adapter.strong_count() > 0)
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_address_in_use_is_named_and_nothing_is_left_running() {
    let first = start().await;
    let before = Handle::current().metrics().num_alive_tasks();
    let config = Config {
        listen: first.public_addr(),
        ..loopback()
    };
    let adapter = Arc::new(MemoryBus::new().adapter(memory::Config::default()));
    let error = Node::start(config, adapter).await.unwrap_err();
    assert!(
        matches!(&error, StartError::Listen { listener: "public", address, .. } if *address == first.public_addr()),
        "{error}"
    );
    assert_eq!(Handle::current().metrics().num_alive_tasks(), before);
    first.shutdown().await;
}

#[tokio::test]
async fn a_configuration_that_contradicts_itself_is_refused_before_anything_runs() {
    let before = Handle::current().metrics().num_alive_tasks();
    type Broken = (fn(&mut Config), fn(&BuildError) -> bool);
    let broken: [Broken; 4] = [
        (
            |config| config.server.path = "no slash".into(),
            |error| matches!(error, BuildError::Path(_)),
        ),
        (
            |config| {
                config.server.cors = CorsConfig {
                    origins: vec!["*".into()],
                    credentials: true,
                    ..CorsConfig::default()
                }
            },
            |error| matches!(error, BuildError::CredentialsForAnyOrigin),
        ),
        (
            |config| config.server.cors.origins = vec!["example.org".into()],
            |error| matches!(error, BuildError::Origin(_)),
        ),
        (
            |config| config.server.cluster.name = "not a name".into(),
            |error| matches!(error, BuildError::Cluster(_)),
        ),
    ];
    for (break_it, expected) in broken {
        let mut config = loopback();
        break_it(&mut config);
        let adapter = Arc::new(MemoryBus::new().adapter(memory::Config::default()));
        match Node::start(config, adapter).await.unwrap_err() {
            StartError::Build(error) => assert!(expected(&error), "{error}"),
            other => panic!("{other}"),
        }
    }
    assert_eq!(Handle::current().metrics().num_alive_tasks(), before);
}
