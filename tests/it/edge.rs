//! Who may come in: origins, proxies that are believed, and how many from one address.

use fanfare::node::{CookieConfig, Network, Origins};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::dsl::{Answer, Polling, Raw, WebSocket, metric, request, settle, start_with, upgrade, within};

const HANDSHAKE: &str = "/socket.io/?EIO=4&transport=polling";
const OPEN: &str = "EIO=4&transport=websocket";
const BY_ORIGIN: &str = "Forbidden by the origins rule";
const CROWDED: &str = "Too many connections from this address";

fn forbidden(message: &str) -> String {
    format!(r#"{{"code":4,"message":"{message}"}}"#)
}

fn from_loopback(config: &mut fanfare::node::Config) {
    config.server.trusted_proxies = vec!["127.0.0.0/8".parse::<Network>().unwrap()];
}

#[tokio::test]
async fn a_page_of_another_host_opens_no_session_and_upgrades_none() {
    let node = start_with(|config| config.server.origins = Origins::SameHost).await;
    let address = node.public_addr();
    let own = format!("Origin: http://{address}");
    let foreign = "Origin: https://evil.example";

    let refused = request(address, "GET", HANDSHAKE, &[foreign], b"").await;
    assert_eq!((refused.status, refused.text()), (403, forbidden(BY_ORIGIN).as_str()));
    let refused = upgrade(address, OPEN, &[foreign]).await;
    assert_eq!((refused.status, refused.text()), (400, BY_ORIGIN));
    let client = Polling::connect(address).await;
    let refused = upgrade(address, &format!("{OPEN}&sid={}", client.sid), &[foreign]).await;
    assert_eq!((refused.status, refused.text()), (400, BY_ORIGIN));
    assert_eq!(
        metric(node.internal_addr(), r#"fanfare_connection_errors_total{code="4"}"#).await,
        3
    );

    // The session is none the worse for it.
    client.send(r#"42["echo",1]"#).await;
    assert_eq!(client.receive().await, [r#"42["echo",1]"#]);
    assert_eq!(request(address, "GET", HANDSHAKE, &[&own], b"").await.status, 200);
    assert_eq!(upgrade(address, OPEN, &[&own]).await.status, 101);
    assert_eq!(upgrade(address, OPEN, &[]).await.status, 101);
    node.shutdown().await;
}

#[tokio::test]
async fn listed_origins_and_no_others() {
    let node = start_with(|config| config.server.origins = Origins::List(vec!["https://app.example".into()])).await;
    let address = node.public_addr();
    for (origin, statuses) in [
        ("https://app.example".to_owned(), (200, 101)),
        (format!("http://{address}"), (403, 400)),
        ("null".into(), (403, 400)),
    ] {
        let origin = format!("Origin: {origin}");
        let polling = request(address, "GET", HANDSHAKE, &[&origin], b"").await;
        let websocket = upgrade(address, OPEN, &[&origin]).await;
        assert_eq!((polling.status, websocket.status), statuses, "{origin}");
    }
    node.shutdown().await;
}

/// A script tag names no origin: the browser's other headers tell.
#[tokio::test]
async fn jsonp_is_for_pages_that_may_connect() {
    let node = start_with(|config| {
        config.server.engine.jsonp = true;
        config.server.origins = Origins::SameHost;
    })
    .await;
    let address = node.public_addr();
    let handshake = format!("{HANDSHAKE}&j=0");
    for refused in [
        &[][..],
        &["Referer: https://evil.example/page"],
        &["Sec-Fetch-Site: cross-site"],
        &["Sec-Fetch-Site: same-site"],
    ] {
        let answer = request(address, "GET", &handshake, refused, b"").await;
        assert_eq!((answer.status, answer.text()), (403, forbidden(BY_ORIGIN).as_str()), "{refused:?}");
    }
    let referer = format!("Referer: http://{address}/page?x");
    let answer = request(address, "GET", &handshake, &[&referer], b"").await;
    let open: String = answer
        .text()
        .strip_prefix("___eio[0](")
        .and_then(|rest| rest.strip_suffix(");"))
        .map(|json| serde_json::from_str(json).unwrap())
        .unwrap();
    let sid = open.split('"').nth(3).unwrap();
    let target = format!("{HANDSHAKE}&sid={sid}");

    let own = "Sec-Fetch-Site: same-origin";
    let form = "Content-Type: application/x-www-form-urlencoded";
    let posted = request(address, "POST", &target, &[own, form], b"d=40").await;
    assert_eq!(
        (posted.status, posted.text(), posted.header("content-type")),
        (200, "ok", Some("text/html"))
    );
    assert_eq!(posted.header("x-content-type-options"), Some("nosniff"));
    let refused = request(address, "POST", &target, &["Origin: https://evil.example", form], b"d=41").await;
    assert_eq!(refused.status, 403);
    let polled = request(address, "GET", &target, &[own], b"").await;
    assert!(polled.text().starts_with(r#"___eio[0]("40{\"sid\":\""#), "{}", polled.text());
    assert_eq!(
        (polled.header("content-type"), polled.header("x-content-type-options")),
        (Some("text/javascript; charset=UTF-8"), Some("nosniff"))
    );
    node.shutdown().await;
}

#[tokio::test]
async fn without_jsonp_its_handshake_is_a_bad_request() {
    let node = start_with(|_| {}).await;
    let answer = request(node.public_addr(), "GET", &format!("{HANDSHAKE}&j=0"), &[], b"").await;
    assert_eq!((answer.status, answer.text()), (400, r#"{"code":3,"message":"Bad request"}"#));
    node.shutdown().await;
}

#[tokio::test]
async fn the_cookie_follows_the_scheme_that_a_trusted_proxy_tells() {
    for (trusted, secure) in [(true, true), (false, false)] {
        let node = start_with(|config| {
            config.server.cookie = Some(CookieConfig::default());
            if trusted {
                from_loopback(config);
            }
        })
        .await;
        let told = ["X-Forwarded-Proto: https"];
        for answer in [
            request(node.public_addr(), "GET", HANDSHAKE, &told, b"").await,
            upgrade(node.public_addr(), OPEN, &told).await,
        ] {
            let cookie = answer.header("set-cookie").unwrap();
            assert_eq!(cookie.ends_with("; Secure"), secure, "{cookie}");
        }
        node.shutdown().await;
    }
}

#[tokio::test]
async fn an_address_has_so_many_sessions_and_is_told_so() {
    let node = start_with(|config| config.server.engine.max_sessions_per_address = 2).await;
    let address = node.public_addr();
    let polling = Polling::connect(address).await;
    let websocket = WebSocket::connect(address).await;
    // Who writes itself another address without being a trusted proxy is still the same.
    let refused = request(address, "GET", HANDSHAKE, &["X-Forwarded-For: 192.0.2.1"], b"").await;
    assert_eq!((refused.status, refused.header("content-type")), (403, Some("application/json")));
    assert_eq!(refused.text(), forbidden(CROWDED));
    let refused = upgrade(address, OPEN, &[]).await;
    assert_eq!((refused.status, refused.text()), (400, CROWDED));
    assert_eq!(metric(node.internal_addr(), "fanfare_sessions_refused_per_address_total").await, 2);
    assert_eq!(
        metric(node.internal_addr(), r#"fanfare_connection_errors_total{code="4"}"#).await,
        2
    );

    // An upgrade is no second session.
    let mut probe = WebSocket::dial(address, &format!("&sid={}", polling.sid)).await;
    probe.send("2probe").await;
    assert_eq!(probe.text().await, "3probe");
    drop(websocket);
    within("the place to be free again", async {
        while request(address, "GET", HANDSHAKE, &[], b"").await.status != 200 {}
    })
    .await;
    node.shutdown().await;
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_client_counts_for_itself() {
    let node = start_with(|config| {
        from_loopback(config);
        config.server.engine.max_sessions_per_address = 1;
        config.max_connections_per_address = 1;
    })
    .await;
    let open = async |client: &str| {
        let forwarded = format!("X-Forwarded-For: 10.0.0.1, {client}");
        request(node.public_addr(), "GET", HANDSHAKE, &[&forwarded], b"").await.status
    };
    assert_eq!(open("192.0.2.1").await, 200);
    assert_eq!(open("192.0.2.1").await, 403);
    assert_eq!(open("192.0.2.2").await, 200);
    assert_eq!(open("2001:db8::1").await, 200);
    assert_eq!(open("2001:db8::2").await, 403);
    node.shutdown().await;
}

#[tokio::test]
async fn an_address_has_so_many_connections_that_speak_http() {
    let node = start_with(|config| config.max_connections_per_address = 2).await;
    let address = node.public_addr();
    // A WebSocket does not count once it is one.
    let _websocket = WebSocket::connect(address).await;
    let mut idle = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /socket.io/ HTTP/1.1\r\n").await.unwrap();
        idle.push(stream);
    }
    let refused = within("the third to be refused", async {
        let mut third = TcpStream::connect(address).await.unwrap();
        third
            .write_all(format!("GET {HANDSHAKE} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())
            .await
            .unwrap();
        let mut answer = Vec::new();
        third.read_to_end(&mut answer).await.unwrap();
        Answer::parse(&answer)
    })
    .await;
    assert_eq!((refused.status, refused.header("content-type")), (403, Some("application/json")));
    assert_eq!(
        (refused.text(), refused.header("connection")),
        (forbidden(CROWDED).as_str(), Some("close"))
    );
    assert_eq!(
        metric(node.internal_addr(), "fanfare_connections_refused_per_address_total").await,
        1
    );
    drop(idle.pop());
    within("the place to be free again", async {
        while request(address, "GET", HANDSHAKE, &[], b"").await.status != 200 {}
    })
    .await;
    node.shutdown().await;
}

/// Its window is closed: what waits for it is bounded, and then it is gone.
#[tokio::test]
async fn a_client_that_reads_nothing_is_cut_off_and_counted() {
    let node = start_with(|_| {}).await;
    let stalled = Raw::connect(node.public_addr()).await;
    let mut reading = WebSocket::connect(node.public_addr()).await;
    let (io, chunk) = (node.io().clone(), "x".repeat(100_000));
    let mut sent = 0;
    within("the stalled client to be cut off", async {
        while metric(node.internal_addr(), "fanfare_slow_consumers_total").await == 0 {
            io.emit("flood", &chunk).unwrap();
            sent += 1;
            assert_eq!(reading.text().await.len(), chunk.len() + 14, "who reads is served");
        }
    })
    .await;
    within("its session to be gone", async {
        while metric(node.internal_addr(), "fanfare_sessions").await > 1 {}
    })
    .await;
    assert_eq!(
        metric(node.internal_addr(), r#"fanfare_sessions_closed_total{reason="transport error"}"#).await,
        1
    );
    // One mebibyte, and what the kernel took.
    assert!(sent * chunk.len() > 1 << 20, "{sent} chunks");
    drop(stalled);
    settle(node.public_addr()).await;
    tokio::join!(node.shutdown(), reading.leave());
}

#[tokio::test]
async fn the_bare_path_is_served_on_demand() {
    for (slash, status) in [(true, 404), (false, 200)] {
        let node = start_with(|config| config.server.add_trailing_slash = slash).await;
        let answer = request(node.public_addr(), "GET", "/socket.io?EIO=4&transport=polling", &[], b"").await;
        assert_eq!(answer.status, status);
        assert_eq!(request(node.public_addr(), "GET", HANDSHAKE, &[], b"").await.status, 200);
        let other = request(node.public_addr(), "GET", "/socket.iofoo?EIO=4&transport=polling", &[], b"").await;
        assert_eq!(other.status, 404);
        node.shutdown().await;
    }
}
