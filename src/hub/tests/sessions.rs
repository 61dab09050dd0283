//! The hub on a real engine: WebSockets over TCP, and polling.

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

use super::*;
use crate::{
    engine::{self, Engine, Request, Routed, Upgrade},
    hub::{Ack, Data, Raw, Socket},
};

type Client = WebSocketStream<TcpStream>;

/// A hub on an engine, and both. Events go around, one asks back, and two events may wait.
fn house() -> (Io, Arc<Engine>) {
    let config = Config {
        queue_events: 2,
        ..Config::default()
    };
    let io = server_with(config);
    io.sockets()
        .on("all", async |socket: Socket, raw: Raw| {
            socket.broadcast().emit_payload(raw.payload().clone())
        })
        .unwrap()
        .on("n", async |Data(n): Data<u32>, ack: Ack| {
            // Every event waits once, so that the queue is full again and again.
            tokio::task::yield_now().await;
            ack.send(&n)
        })
        .unwrap()
        .on("ask", async |socket: Socket, ack: Ack| {
            let name: String = socket.emit_with_ack("who", &()).await?;
            Ok::<_, crate::hub::AckError>(ack.send(&name)?)
        })
        .unwrap();
    let engine = Engine::new(engine::Config::default(), NodeTag([1, 2, 3]), Arc::clone(io.hub()) as _);
    (io, engine)
}

async fn connected(engine: &Arc<Engine>) -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    match engine.upgrade("EIO=4&transport=websocket", None) {
        Ok(Upgrade::Open(admission)) => admission.admit(arrival()).unwrap().open_websocket(engine::Io::Tcp(server), &[]),
        other => panic!("{other:?}"),
    }
    let mut client = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
    assert!(text(&mut client).await.starts_with("0{"));
    client.send(Message::text("40")).await.unwrap();
    assert!(text(&mut client).await.starts_with(r#"40{"sid":""#));
    client
}

fn arrival() -> Arrival {
    Arrival::new(None, false, "/socket.io/?EIO=4", [])
}

async fn text(client: &mut Client) -> String {
    match client.next().await {
        Some(Ok(Message::Text(text))) => text.as_str().to_owned(),
        other => panic!("no text, but {other:?}"),
    }
}

#[tokio::test]
async fn a_client_faster_than_its_handlers_is_paused_and_loses_nothing() {
    let (io, engine) = house();
    let mut client = connected(&engine).await;
    for n in 0..500 {
        client.feed(Message::text(format!(r#"42{n}["n",{n}]"#))).await.unwrap();
    }
    client.flush().await.unwrap();
    for n in 0..500 {
        assert_eq!(text(&mut client).await, format!("43{n}[{n}]"));
    }
    assert!(io.hub().counters().pauses.get() > 10);
}

#[tokio::test]
async fn an_ack_behind_a_full_queue_is_read() {
    let (_io, engine) = house();
    let mut client = connected(&engine).await;
    client.feed(Message::text(r#"421["ask"]"#)).await.unwrap();
    for n in 2..6 {
        client.feed(Message::text(format!(r#"42{n}["n",{n}]"#))).await.unwrap();
    }
    client.flush().await.unwrap();
    assert_eq!(text(&mut client).await, r#"420["who"]"#);
    client.send(Message::text(r#"430["me"]"#)).await.unwrap();
    assert_eq!(text(&mut client).await, r#"431["me"]"#);
    for n in 2..6 {
        assert_eq!(text(&mut client).await, format!("43{n}[{n}]"));
    }
}

#[tokio::test]
async fn a_broadcast_with_an_attachment_reaches_websockets_and_polling_but_not_the_sender() {
    let (io, engine) = house();
    let (mut sender, mut receiver) = (connected(&engine).await, connected(&engine).await);
    let request = |method, query| {
        engine.request(&Request {
            method,
            query,
            content_type: None,
            origin: None,
            may_script: false,
            ..Request::default()
        })
    };
    let Routed::Open(admission) = request("GET", "EIO=4&transport=polling") else {
        panic!("no handshake")
    };
    let reply = admission.admit(arrival()).unwrap().open_polling();
    let open = String::from_utf8(reply.body.to_vec()).unwrap();
    let sid = open.split('"').nth(3).unwrap();
    let query = format!("EIO=4&transport=polling&sid={sid}");
    let Routed::Post(post) = request("POST", &query) else {
        panic!("no post")
    };
    assert_eq!(post.finish(Bytes::from_static(b"40")).await.status, 200);
    assert_eq!(io.hub().counters().sockets.get(), 3);

    sender
        .send(Message::text(r#"451-["all",{"_placeholder":true,"num":0}]"#))
        .await
        .unwrap();
    sender.send(Message::binary(vec![1, 2, 3, 4])).await.unwrap();
    assert_eq!(text(&mut receiver).await, r#"451-["all",{"_placeholder":true,"num":0}]"#);
    assert_eq!(receiver.next().await.unwrap().unwrap(), Message::binary(vec![1, 2, 3, 4]));
    let Routed::Poll(poll) = request("GET", &query) else {
        panic!("no poll")
    };
    let polled = String::from_utf8(poll.await.body.to_vec()).unwrap();
    let (answer, event) = polled.split_once('\u{1e}').unwrap();
    assert!(answer.starts_with(r#"40{"sid":""#));
    assert_eq!(event, "451-[\"all\",{\"_placeholder\":true,\"num\":0}]\u{1e}bAQIDBA==");

    io.emit("last", &()).unwrap();
    assert_eq!(text(&mut sender).await, r#"42["last"]"#, "nothing came back to the sender");
    io.disconnect_sockets(true);
    assert_eq!(text(&mut sender).await, "41");
    assert!(matches!(sender.next().await, Some(Ok(Message::Close(None)))));
}

#[tokio::test]
async fn hub_and_engine_close_together_and_leave_nothing() {
    let (io, engine) = house();
    let mut client = connected(&engine).await;
    let hub = Arc::downgrade(io.hub());
    io.hub().close(LONG).await;
    engine.close(CloseReason::ServerShuttingDown, Duration::from_secs(5)).await;
    assert!(
        matches!(client.next().await, Some(Ok(Message::Close(_)))),
        "no packet 1: the client is to reconnect"
    );
    drop((io, engine));
    until(|| hub.upgrade().is_none()).await;
}
