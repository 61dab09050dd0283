//! The library inside an application that has an axum router and a listener of its own.

use std::{net::SocketAddr, time::Duration};

use axum::{Router, routing::get};
use fanfare::{
    Server,
    hub::{EmitError, Socket},
    node::Forbidden,
};
use tokio::{net::TcpListener, sync::oneshot};

use crate::dsl::{Polling, WebSocket, application, request, upgrade, within};

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
    const OLD: &str = r#"{"code":5,"message":"Unsupported protocol version"}"#;
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
    let refused = upgrade(address, "EIO=4&transport=websocket", &[]).await;
    assert_eq!((refused.status, refused.text()), (400, "Forbidden"));
    // Only who may come learns that its revision is not served.
    let old = "/socket.io/?EIO=3&transport=polling";
    for (headers, told) in [
        (&[][..], (403, r#"{"code":4,"message":"Forbidden"}"#)),
        (&["X-Key: good"], (400, OLD)),
    ] {
        let refused = request(address, "GET", old, headers, b"").await;
        assert_eq!((refused.status, refused.text()), told);
    }
    for (headers, told) in [(&[][..], "Forbidden"), (&["X-Key: good"], "Unsupported protocol version")] {
        let refused = upgrade(address, "EIO=3&transport=websocket", headers).await;
        assert_eq!((refused.status, refused.text()), (400, told));
    }

    let opened = request(address, "GET", open, &["X-Key: good"], b"").await;
    assert_eq!(opened.status, 200);
    // What belongs to a session is not asked again.
    let sid = opened.text().split('"').nth(3).unwrap().to_owned();
    let posted = request(address, "POST", &format!("{open}&sid={sid}"), &[], b"40").await;
    assert_eq!(posted.text(), "ok");
    // But its upgrade is; refused, it costs the session nothing.
    let probe = format!("EIO=4&transport=websocket&sid={sid}");
    let refused = upgrade(address, &probe, &["X-Key: bad"]).await;
    assert_eq!((refused.status, refused.text()), (400, "wrong key"));
    assert_eq!(upgrade(address, &probe, &["X-Key: good"]).await.status, 101);
    let answer = request(address, "GET", &format!("{open}&sid={sid}"), &[], b"").await;
    assert!(answer.text().starts_with("40{"), "{}", answer.text());

    server.close(Duration::from_secs(10)).await;
    serving.abort();
}

#[tokio::test]
async fn an_application_adds_headers_to_the_first_answer_and_to_every_one() {
    let server = Server::builder()
        .initial_headers(|headers, request| {
            headers.append("x-first", request.uri.path().parse().unwrap());
            headers.insert("x-both", http::HeaderValue::from_static("first"));
        })
        .headers(|headers, _| {
            headers.append("x-every", http::HeaderValue::from_static("yes"));
            headers.insert("x-both", http::HeaderValue::from_static("every"));
        })
        .build()
        .unwrap();
    application(server.io());
    let (address, serving) = serve(&server).await;
    let target = "/socket.io/?EIO=4&transport=polling";
    let first = request(address, "GET", target, &[], b"").await;
    let websocket = upgrade(address, "EIO=4&transport=websocket", &[]).await;
    for answer in [&first, &websocket] {
        let headers = ["x-first", "x-every", "x-both"].map(|name| answer.header(name));
        assert_eq!(headers, [Some("/socket.io/"), Some("yes"), Some("every")]);
    }
    let target = format!("{target}&sid={}", first.text().split('"').nth(3).unwrap());
    for (method, body) in [("POST", &b"40"[..]), ("GET", b"")] {
        let answer = request(address, method, &target, &[], body).await;
        let headers = ["x-first", "x-every", "x-both"].map(|name| answer.header(name));
        assert_eq!((answer.status, headers), (200, [None, Some("yes"), Some("every")]), "{method}");
    }
    let refused = request(address, "GET", "/socket.io/", &[], b"").await;
    assert_eq!((refused.status, refused.header("x-every")), (400, None));
    server.close(Duration::from_secs(10)).await;
    serving.abort();
}

/// The reference's event `connection_error`, with its contexts.
#[tokio::test]
async fn an_application_hears_of_every_refusal() {
    let (errors, mut heard) = tokio::sync::mpsc::channel(20);
    let server = Server::builder()
        .allow_request(|request| {
            let bad = request.headers.contains_key("x-bad");
            std::future::ready(if bad { Err(Forbidden::new("no")) } else { Ok(()) })
        })
        .on_connection_error(move |error| {
            let context: Vec<String> = error.context.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let path = error.request.uri.path().to_owned();
            errors
                .try_send((error.code, error.message.to_owned(), context.join(","), path))
                .unwrap();
        })
        .build()
        .unwrap();
    let (address, serving) = serve(&server).await;
    for (method, query, header, code, message, context) in [
        ("GET", "transport=pigeon", "A: b", 0, "Transport unknown", "transport=pigeon"),
        ("GET", "EIO=4&transport=polling&sid=me", "A: b", 1, "Session ID unknown", "sid=me"),
        ("PUT", "EIO=4&transport=polling", "A: b", 2, "Bad handshake method", "method=PUT"),
        (
            "GET",
            "EIO=4&transport=websocket",
            "A: b",
            3,
            "Bad request",
            "name=TRANSPORT_HANDSHAKE_ERROR",
        ),
        ("GET", "EIO=4&transport=polling&j=1", "A: b", 3, "Bad request", "name=JSONP"),
        ("GET", "EIO=4&transport=polling", "X-Bad: 1", 4, "no", "message=no"),
        (
            "GET",
            "EIO=2&transport=polling",
            "A: b",
            5,
            "Unsupported protocol version",
            "protocol=2",
        ),
    ] {
        request(address, method, &format!("/socket.io/?{query}"), &[header], b"").await;
        let expected = (code, message.to_owned(), context.to_owned(), "/socket.io/".to_owned());
        assert_eq!(heard.try_recv().unwrap(), expected, "{query}");
    }
    let refused = upgrade(address, "EIO=4&transport=websocket", &["X-Bad: 1"]).await;
    assert_eq!((refused.status, heard.try_recv().unwrap().2), (400, "message=no".to_owned()));
    server.close(Duration::from_secs(10)).await;
    serving.abort();
}

async fn serve(server: &Server) -> (SocketAddr, tokio::task::JoinHandle<std::io::Result<()>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (address, tokio::spawn(axum::serve(listener, server.router()).into_future()))
}
