//! What browsers and balancers see beside the protocol: cookies, CORS, the client bundle.

use std::io::Read as _;

use fanfare::{
    engine::id::NodeTag,
    node::{CookieConfig, CorsConfig, HttpCompression},
};

use crate::dsl::{Answer, Polling, exchange, request, start, start_with, upgrade};

const HANDSHAKE: &str = "/socket.io/?EIO=4&transport=polling";
const OPEN: &str = "EIO=4&transport=websocket";

#[tokio::test]
async fn the_affinity_cookie_names_the_node_on_both_transports_and_on_handshakes_only() {
    let node = start_with(|config| config.server.cookie = Some(CookieConfig::default())).await;
    let handshake = request(node.public_addr(), "GET", HANDSHAKE, &[], b"").await;
    let cookie = handshake.header("set-cookie").unwrap().to_owned();
    let tag = cookie
        .strip_prefix("io=")
        .and_then(|rest| rest.strip_suffix("; Path=/; HttpOnly; SameSite=Lax"))
        .unwrap();
    assert_eq!(tag.len(), 4);

    let client = Polling::connect(node.public_addr()).await;
    assert_eq!(NodeTag::of(&client.sid), NodeTag::of(tag), "the tag of this node's ids");
    assert!(!client.sid.contains(&cookie));
    assert_eq!(client.post(br#"42["echo"]"#).await.header("set-cookie"), None);
    assert_eq!(client.get().await.header("set-cookie"), None);

    let websocket = upgrade(node.public_addr(), OPEN, &[]).await;
    assert_eq!((websocket.status, websocket.header("set-cookie")), (101, Some(cookie.as_str())));
    node.shutdown().await;
}

/// A balancer would send the client here again and again.
#[tokio::test]
async fn a_node_that_has_no_room_does_not_ask_its_client_back() {
    let node = start_with(|config| {
        config.server.cookie = Some(CookieConfig::default());
        config.server.engine.max_sessions = 0;
    })
    .await;
    for answer in [
        request(node.public_addr(), "GET", HANDSHAKE, &[], b"").await,
        upgrade(node.public_addr(), OPEN, &[]).await,
    ] {
        assert_eq!((answer.status, answer.header("set-cookie")), (503, None));
    }
    node.shutdown().await;
}

/// Browsers fail a WebSocket whose offer of protocols is not answered; the reference takes the first.
#[tokio::test]
async fn the_first_subprotocol_on_offer_is_taken() {
    let node = start().await;
    let offers = ["Sec-WebSocket-Protocol: one, two", "Sec-WebSocket-Protocol: three"];
    let answer = upgrade(node.public_addr(), OPEN, &offers).await;
    assert_eq!((answer.status, answer.header("sec-websocket-protocol")), (101, Some("one")));
    let answer = upgrade(node.public_addr(), OPEN, &["Sec-WebSocket-Protocol: "]).await;
    assert_eq!((answer.status, answer.header("sec-websocket-protocol")), (101, None));
    node.shutdown().await;
}

#[tokio::test]
async fn a_list_may_be_split_over_headers_of_one_name() {
    let node = start().await;
    for split in [
        "Connection: keep-alive\r\nConnection: Upgrade\r\nUpgrade: websocket",
        "Connection: Upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket",
    ] {
        let request = format!(
            "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\n{split}\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        let close = crate::dsl::frame(0x88, &1000_u16.to_be_bytes());
        let answer = exchange(node.public_addr(), &[request.as_bytes(), &close].concat()).await;
        assert_eq!(Answer::parse(&answer).status, 101, "{split}");
    }
    node.shutdown().await;
}

#[tokio::test]
async fn without_configuration_there_is_neither_cookie_nor_cors() {
    let node = start().await;
    let answer = request(node.public_addr(), "GET", HANDSHAKE, &["Origin: https://a.example"], b"").await;
    for header in ["set-cookie", "access-control-allow-origin", "vary"] {
        assert_eq!(answer.header(header), None);
    }
    node.shutdown().await;
}

#[tokio::test]
async fn cors_answers_preflights_with_204_and_decorates_every_answer() {
    let cors = CorsConfig {
        origins: vec!["https://a.example".into()],
        credentials: true,
        ..CorsConfig::default()
    };
    let node = start_with(|config| config.server.cors = cors).await;
    let asks = [
        "Origin: https://a.example",
        "Access-Control-Request-Method: POST",
        "Access-Control-Request-Headers: x-one, x-two",
    ];
    let preflight = request(node.public_addr(), "OPTIONS", HANDSHAKE, &asks, b"").await;
    assert_eq!((preflight.status, preflight.body.len()), (204, 0));
    assert_eq!(preflight.header("access-control-allow-origin"), Some("https://a.example"));
    assert_eq!(preflight.header("access-control-allow-credentials"), Some("true"));
    assert_eq!(
        preflight.header("access-control-allow-methods"),
        Some("GET,HEAD,PUT,PATCH,POST,DELETE")
    );
    assert_eq!(preflight.header("access-control-allow-headers"), Some("x-one, x-two"));

    for target in [HANDSHAKE, "/socket.io/?EIO=4&transport=pigeon", "/socket.io/socket.io.js"] {
        let answer = request(node.public_addr(), "GET", target, &["Origin: https://a.example"], b"").await;
        assert_eq!(answer.header("access-control-allow-origin"), Some("https://a.example"), "{target}");
        assert!(answer.headers("vary").any(|name| name == "Origin"), "{target}");
        let other = request(node.public_addr(), "GET", target, &["Origin: https://b.example"], b"").await;
        assert_eq!(
            (other.status, other.header("access-control-allow-origin")),
            (answer.status, None),
            "{target}"
        );
    }
    let websocket = upgrade(node.public_addr(), OPEN, &["Origin: https://a.example"]).await;
    assert_eq!(
        (websocket.status, websocket.header("access-control-allow-origin")),
        (101, Some("https://a.example"))
    );
    node.shutdown().await;
}

/// Answers to polls, and nothing else: a handshake is below the threshold, and so is the answer to a POST.
#[tokio::test]
async fn large_payloads_are_compressed_as_the_client_likes_it() {
    let node = start_with(|config| config.server.http_compression = Some(HttpCompression { threshold: 100 })).await;
    let client = Polling::connect(node.public_addr()).await;
    let (short, long) = ("x".repeat(50), "x".repeat(200));
    let get = async |accepted: &str| {
        let header = format!("Accept-Encoding: {accepted}");
        request(node.public_addr(), "GET", &client.target(), &[&header], b"").await
    };
    for (accepted, coding) in [
        ("gzip, deflate, br", Some("gzip")),
        ("deflate, gzip;q=0.5", Some("deflate")),
        ("br", None),
        ("gzip;q=0", None),
    ] {
        node.io().emit("e", &long).unwrap();
        let answer = get(accepted).await;
        assert_eq!((answer.status, answer.header("content-encoding")), (200, coding), "{accepted}");
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=UTF-8"));
        assert_eq!(answer.header("content-length"), Some(answer.body.len().to_string().as_str()));
        let mut text = String::new();
        match coding {
            Some("gzip") => flate2::read::GzDecoder::new(&*answer.body).read_to_string(&mut text),
            Some(_) => flate2::read::ZlibDecoder::new(&*answer.body).read_to_string(&mut text),
            None => (&*answer.body).read_to_string(&mut text),
        }
        .unwrap();
        assert_eq!(text, format!("42[\"e\",\"{long}\"]"));
        assert!(coding.is_none() || answer.body.len() < 100);
    }
    node.io().emit("e", &short).unwrap();
    assert_eq!(get("gzip").await.header("content-encoding"), None);
    node.shutdown().await;
}

#[tokio::test]
async fn without_compression_no_payload_is_compressed() {
    let node = start_with(|config| config.server.http_compression = None).await;
    let client = Polling::connect(node.public_addr()).await;
    node.io().emit("e", &"x".repeat(5000)).unwrap();
    let answer = request(node.public_addr(), "GET", &client.target(), &["Accept-Encoding: gzip"], b"").await;
    assert_eq!((answer.header("content-encoding"), answer.body.len()), (None, 5010));
    node.shutdown().await;
}

#[tokio::test]
async fn internet_explorer_is_told_that_answers_are_no_attack() {
    let node = start().await;
    for (agent, told) in [
        ("Mozilla/4.0 (compatible;MSIE 8.0)", Some("0")),
        ("Mozilla/5.0 (Trident/7.0; rv:11.0)", Some("0")),
        ("Mozilla/5.0 (X11)", None),
    ] {
        let client = Polling::connect(node.public_addr()).await;
        let agent = format!("User-Agent: {agent}");
        client.send(r#"42["echo"]"#).await;
        for (method, body) in [("GET", &b""[..]), ("POST", b"3")] {
            let answer = request(node.public_addr(), method, &client.target(), &[&agent], body).await;
            assert_eq!((answer.status, answer.header("x-xss-protection")), (200, told), "{agent} {method}");
        }
        let handshake = request(node.public_addr(), "GET", HANDSHAKE, &[&agent], b"").await;
        assert_eq!(handshake.header("x-xss-protection"), told, "{agent}");
    }
    node.shutdown().await;
}

#[tokio::test]
async fn the_client_bundle_is_served_or_its_absence_explained() {
    let node = start().await;
    for name in [
        "socket.io.js",
        "socket.io.min.js",
        "socket.io.esm.min.js",
        "socket.io.msgpack.min.js",
    ] {
        for (file, kind) in [
            (name.to_owned(), "application/javascript"),
            (format!("{name}.map"), "application/json"),
        ] {
            let target = format!("/socket.io/{file}");
            let answer = request(node.public_addr(), "GET", &target, &[], b"").await;
            if answer.status == 404 {
                assert!(answer.text().starts_with("no client bundle here: "), "{}", answer.text());
                continue;
            }
            assert_eq!(
                (answer.status, answer.header("content-type")),
                (200, Some(format!("{kind}; charset=utf-8").as_str())),
                "{file}"
            );
            assert_eq!(answer.header("cache-control"), Some("public, max-age=0"));
            assert!(answer.body.len() > 1000, "{file}");
            let etag = answer.header("etag").unwrap();
            assert!(etag.starts_with('"') && etag.ends_with('"'), "{etag}");
            for tag in [etag.to_owned(), format!("W/{etag}")] {
                let again = request(node.public_addr(), "GET", &target, &[&format!("If-None-Match: {tag}")], b"").await;
                assert_eq!(
                    (again.status, again.body.len(), again.header("etag")),
                    (304, 0, Some(etag)),
                    "{file}"
                );
            }
        }
    }
    node.shutdown().await;
}

#[tokio::test]
async fn the_client_bundle_is_packed_as_the_browser_likes_it() {
    let node = start().await;
    let target = "/socket.io/socket.io.min.js";
    let plain = request(node.public_addr(), "GET", target, &[], b"").await;
    if plain.status == 404 {
        assert!(plain.text().starts_with("no client bundle here: "), "{}", plain.text());
        return node.shutdown().await;
    }
    for (accepted, coding) in [("gzip, deflate, br", "br"), ("gzip, deflate", "gzip"), ("deflate", "deflate")] {
        let header = format!("Accept-Encoding: {accepted}");
        for _ in 0..2 {
            let answer = request(node.public_addr(), "GET", target, &[&header], b"").await;
            assert_eq!((answer.status, answer.header("content-encoding")), (200, Some(coding)));
            assert_eq!(answer.header("content-type"), plain.header("content-type"));
            assert_eq!(
                (answer.header("etag"), answer.header("vary")),
                (plain.header("etag"), Some("accept-encoding"))
            );
            let mut unpacked = Vec::new();
            match coding {
                "br" => brotli::BrotliDecompress(&mut &*answer.body, &mut unpacked),
                "gzip" => flate2::read::GzDecoder::new(&*answer.body).read_to_end(&mut unpacked).map(drop),
                _ => flate2::read::ZlibDecoder::new(&*answer.body).read_to_end(&mut unpacked).map(drop),
            }
            .unwrap();
            assert!(unpacked == plain.body && answer.body.len() < plain.body.len() / 2, "{coding}");
        }
    }
    node.shutdown().await;
}

#[tokio::test]
async fn without_serve_client_the_bundle_is_a_request_like_any_other() {
    let node = start_with(|config| config.server.serve_client = false).await;
    let answer = request(node.public_addr(), "GET", "/socket.io/socket.io.js", &[], b"").await;
    assert_eq!((answer.status, answer.text()), (400, r#"{"code":0,"message":"Transport unknown"}"#));
    node.shutdown().await;
}
