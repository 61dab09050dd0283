//! The library inside an application that has an axum router and a listener of its own.

use std::{net::SocketAddr, time::Duration};

use axum::{Router, routing::get};
use fanfare::{
    Server,
    hub::{EmitError, Socket},
    node::Forbidden,
};
use tokio::{net::TcpListener, sync::oneshot};

use crate::dsl::{Answer, Polling, WebSocket, application, exchange, request, within};

async fn greet(socket: Socket) -> Result<(), EmitError> {
    let address = socket.handshake().address().map(|address| address.to_string());
    socket.emit("news", &address)
}

#[tokio::test]
async fn the_router_works_under_axum_serve_beside_other_routes() {
    let server = Server::builder().build().unwrap();
    application(server.io());
    server.io().sockets().on_connect(greet).unwrap();
    let app = Router::new().route("/", get(async || "home")).merge(server.router());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(
        axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>())
            .with_graceful_shutdown(async move { drop(stopped.await) })
            .into_future(),
    );

    assert_eq!(request(address, "GET", "/", &[], b"").await.text(), "home");
    let polling = Polling::open(address).await;
    polling.send("40").await;
    assert_eq!(polling.receive_some(2).await[1], r#"42["news","127.0.0.1"]"#);
    let mut websocket = WebSocket::connect(address).await;
    assert_eq!(websocket.text().await, r#"42["news","127.0.0.1"]"#);
    websocket.send(r#"42["others","hello"]"#).await;
    assert_eq!(polling.receive().await, [r#"42["others","hello"]"#]);

    server.close(Duration::from_secs(10)).await;
    websocket.closed().await;
    stop.send(()).unwrap();
    within("axum to stop", serving).await.unwrap().unwrap();
}

#[tokio::test]
async fn without_connect_info_the_address_is_unknown_and_all_else_works() {
    let server = Server::builder().path("/live").build().unwrap();
    server.io().sockets().on_connect(greet).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(axum::serve(listener, server.router()).into_future());
    let answer = request(address, "GET", "/live/?EIO=4&transport=polling", &[], b"").await;
    assert_eq!(answer.status, 200);
    server.close(Duration::from_secs(10)).await;
    server.close(Duration::from_secs(10)).await;
    let refused = request(address, "GET", "/live/?EIO=4&transport=polling", &[], b"").await;
    assert_eq!(refused.status, 503);
    serving.abort();
}

#[tokio::test]
async fn who_may_not_open_a_session_is_told_403_with_code_4() {
    let allow = |request: &http::request::Parts| {
        let verdict = match request.headers.get("x-key").map(http::HeaderValue::as_bytes) {
            Some(b"good") => Ok(()),
            Some(_) => Err(Forbidden::new("wrong key")),
            None => Err(Forbidden::default()),
        };
        async move { verdict }
    };
    let server = Server::builder().allow_request(allow).build().unwrap();
    application(server.io());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(axum::serve(listener, server.router()).into_future());

    let open = "/socket.io/?EIO=4&transport=polling";
    for (headers, message) in [(&[][..], "Forbidden"), (&["X-Key: bad"], "wrong key")] {
        let refused = request(address, "GET", open, headers, b"").await;
        assert_eq!((refused.status, refused.header("content-type")), (403, Some("application/json")));
        assert_eq!(refused.text(), format!(r#"{{"code":4,"message":"{message}"}}"#));
    }
    let upgrade = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let refused = Answer::parse(&exchange(address, upgrade.as_bytes()).await);
    assert_eq!((refused.status, refused.text()), (400, "Forbidden"));

    let opened = request(address, "GET", open, &["X-Key: good"], b"").await;
    assert_eq!(opened.status, 200);
    // What belongs to a session is not asked again.
    let sid = opened.text().split('"').nth(3).unwrap().to_owned();
    let posted = request(address, "POST", &format!("{open}&sid={sid}"), &[], b"40").await;
    assert_eq!(posted.text(), "ok");

    server.close(Duration::from_secs(10)).await;
    serving.abort();
}
