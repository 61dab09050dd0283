//! Engine.IO 3 beside 4: the transcripts of the reference server for clients of Socket.IO 1 and 2.

use super::*;
use crate::engine::Revision;

fn bench() -> Bench {
    Bench::new(Config {
        allow_eio3: true,
        ..Config::default()
    })
}

impl Bench {
    /// A POST of bytes, of the content type that says so.
    async fn post_binary(&self, query: &str, body: &'static [u8]) -> Reply {
        let routed = self.engine.request(&Request {
            method: "POST",
            query,
            content_type: Some("application/octet-stream"),
            origin: None,
            may_script: false,
            ..Request::default()
        });
        match routed {
            Routed::Post(post) => post.finish(Bytes::from_static(body)).await,
            Routed::Reply(reply) => reply,
            other => panic!("{other:?}"),
        }
    }

    async fn probe_as(&self, client: &str, session: &Handle) -> WebSocketStream<DuplexStream> {
        let (server, stream) = tokio::io::duplex(4096);
        let query = format!("{client}&transport=websocket&sid={}", session.id());
        match self.engine.upgrade(&query, None) {
            Ok(Upgrade::Probe(candidate)) => candidate.probe(Io::Boxed(Box::new(server)), &[]),
            other => panic!("{other:?}"),
        }
        WebSocketStream::from_raw_socket(stream, Role::Client, None).await
    }
}

async fn next_binary(client: &mut WebSocketStream<DuplexStream>) -> Bytes {
    match client.next().await {
        Some(Ok(Message::Binary(bytes))) => bytes,
        other => panic!("no binary message, but {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn both_revisions_are_served_side_by_side() {
    let mut bench = bench();
    for (client, revision) in [("EIO=3", Revision::V3), ("t=abc", Revision::V3), ("EIO=4", Revision::V4)] {
        let Routed::Open(admission) = bench.route("GET", &format!("{client}&transport=polling")) else {
            panic!("{client} is refused")
        };
        let reply = admission.admit(arrival()).unwrap().open_polling();
        let session = bench.opened().await;
        let open = format!(
            "0{{\"sid\":\"{}\",\"upgrades\":[\"websocket\"],\"pingInterval\":25000,\"pingTimeout\":20000,\"maxPayload\":1000000}}",
            session.id()
        );
        let expected = match revision {
            Revision::V3 => format!("{}:{open}", open.len()),
            Revision::V4 => open,
        };
        assert_eq!(body(&reply), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn texts_and_binary_messages_go_both_ways_over_polling() {
    let mut bench = bench();
    let (session, query) = bench.poll_open_as("EIO=3").await;
    assert_eq!(body(&bench.post(&query, "9:4h\u{e9}\u{20ac}\u{1f600}llo0:2:4b").await), "ok");
    let reply = bench.get(&query).await;
    assert_eq!(
        (reply.content_type, body(&reply)),
        (Some("text/plain; charset=UTF-8"), "9:4h\u{e9}\u{20ac}\u{1f600}llo2:4b")
    );
    // Either form may be posted; an answer is binary when something in it is.
    for (binary, posted) in [
        (true, &b"\x00\x06\xff4hello\x01\x05\xff\x04\x01\x02\x03\x04"[..]),
        (false, b"6:4hello10:b4AQIDBA=="),
    ] {
        let reply = match binary {
            true => bench.post_binary(&query, posted).await,
            false => bench.post(&query, std::str::from_utf8(posted).unwrap()).await,
        };
        assert_eq!((reply.status, body(&reply)), (200, "ok"));
        let reply = bench.get(&query).await;
        assert_eq!(
            (reply.content_type, &reply.body[..]),
            (
                Some("application/octet-stream"),
                &b"\x00\x06\xff4hello\x00\x07\xff4binary\x01\x05\xff\x04\x01\x02\x03\x04"[..]
            )
        );
    }
    session.push(&Outgoing::binary(&[]));
    assert_eq!(&bench.get(&query).await.body[..], b"\x01\x01\xff\x04");
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_base64_gets_no_binary_payload() {
    let mut bench = bench();
    for (client, expected) in [
        ("EIO=3&b64=1", "7:4binary10:b4AQIDBA=="),
        ("EIO=4&b64=1", "4binary\x1ebAQIDBA=="),
        ("EIO=4", "4binary\x1ebAQIDBA=="),
    ] {
        let (_, query) = bench.poll_open_as(client).await;
        let post = if client.starts_with("EIO=3") {
            "10:b4AQIDBA=="
        } else {
            "bAQIDBA=="
        };
        assert_eq!(body(&bench.post(&query, post).await), "ok");
        let reply = bench.get(&query).await;
        assert_eq!(
            (reply.content_type, body(&reply)),
            (Some("text/plain; charset=UTF-8"), expected),
            "{client}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_pings_and_is_answered_without_its_data() {
    let mut bench = bench();
    let start = tokio::time::Instant::now();
    let (_, query) = bench.poll_open_as("EIO=3").await;
    for ping in ["1:2", "6:2probe"] {
        tokio::time::sleep(Duration::from_secs(40)).await;
        let (poll, post) = tokio::join!(bench.get(&query), bench.post(&query, ping));
        assert_eq!((body(&poll), body(&post)), ("1:3", "ok"));
    }
    let (_, mut client) = bench.pipe_as("EIO=3").await;
    for ping in ["2", "2probe", "b2AQ=="] {
        send(&mut client, ping).await;
        assert_eq!(next_text(&mut client).await, "3");
    }
    assert_eq!(bench.closed().await, CloseReason::PingTimeout);
    assert_eq!(start.elapsed().as_secs(), 80 + 45);
    assert_eq!(bench.closed().await, CloseReason::PingTimeout);
    assert_eq!(next_close(&mut client).await, 1005);
    assert_eq!(start.elapsed().as_secs(), 80 + 45);
}

#[tokio::test(start_paused = true)]
async fn what_breaks_the_rules_ends_the_session() {
    let mut bench = bench();
    for (posted, reason) in [
        ("", CloseReason::ParseError),
        ("4hello", CloseReason::ParseError),
        ("7:4hello", CloseReason::ParseError),
        ("3:abc", CloseReason::ParseError),
        ("1:3", CloseReason::TransportError),
        ("1:1", CloseReason::TransportClose),
    ] {
        let (_, query) = bench.poll_open_as("EIO=3").await;
        let (poll, post) = tokio::join!(bench.get(&query), bench.post(&query, posted));
        let released = if posted == "1:1" { "1:6" } else { "1:1" };
        assert_eq!((body(&poll), body(&post)), (released, "ok"), "{posted}");
        assert_eq!(bench.closed().await, reason, "{posted}");
        assert_eq!(bench.get(&query).await.status, 400);
    }
    for (message, reason) in [
        (Message::text("3"), CloseReason::TransportError),
        (Message::text("b"), CloseReason::ParseError),
        (Message::text("bAQIDBA=="), CloseReason::ParseError),
        (Message::binary(vec![]), CloseReason::ParseError),
        (Message::binary(vec![9, 1]), CloseReason::ParseError),
        (Message::binary(vec![1]), CloseReason::TransportClose),
    ] {
        let (_, mut client) = bench.pipe_as("EIO=3").await;
        client.send(message).await.unwrap();
        assert_eq!(bench.closed().await, reason);
        assert_eq!(next_close(&mut client).await, 1005);
    }
}

#[tokio::test(start_paused = true)]
async fn a_poll_is_told_of_the_end_in_its_revision() {
    let mut bench = bench();
    let (session, query) = bench.poll_open_as("EIO=3").await;
    let Routed::Poll(poll) = bench.route("GET", &query) else {
        panic!("no poll")
    };
    session.push(&Outgoing::new(&["1"], &[]));
    session.close(CloseReason::ForcedServerClose);
    assert_eq!(body(&poll.await), "2:41");
    assert_eq!(body(&bench.get(&query).await), "1:61:1");
    assert_eq!(bench.closed().await, CloseReason::ForcedServerClose);
    // A poll that is late for the client's own close.
    let (_, query) = bench.poll_open_as("EIO=3").await;
    bench.post(&query, "1:1").await;
    assert_eq!(bench.closed().await, CloseReason::TransportClose);
    assert_eq!(body(&bench.get(&query).await), "1:6");
    // An overlap.
    let (_, query) = bench.poll_open_as("EIO=3").await;
    let (first, second) = tokio::join!(bench.get(&query), bench.get(&query));
    assert_eq!((body(&first), second.status), ("1:1", 400));
}

#[tokio::test(start_paused = true)]
async fn binary_frames_have_a_type_and_texts_have_it_before_their_base64() {
    let mut bench = bench();
    let bytes = [4, 1, 2, 3, 4];
    let (_, mut client) = bench.pipe_as("EIO=3").await;
    for message in [Message::binary(bytes.to_vec()), Message::text("b4AQIDBA==")] {
        client.send(message).await.unwrap();
        assert_eq!(next_text(&mut client).await, "4binary");
        assert_eq!(next_binary(&mut client).await, &bytes[..]);
    }
    for (client, packet) in [("EIO=3&b64=1", "b4AQIDBA=="), ("EIO=4&b64=1", "bAQIDBA==")] {
        let (session, mut client) = bench.pipe_as(client).await;
        send(&mut client, packet).await;
        assert_eq!(next_text(&mut client).await, "4binary");
        assert_eq!(next_text(&mut client).await, packet);
        session.push(&Outgoing::binary(&[1, 2, 3, 4]));
        assert_eq!(next_text(&mut client).await, packet);
    }
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_goes_as_in_revision_4_and_takes_what_waits_along() {
    let mut bench = bench();
    for (probing, attached) in [("EIO=3", Message::binary(vec![4, 7, 8])), ("EIO=3&b64=1", Message::text("b4Bwg="))] {
        let (session, query) = bench.poll_open_as("EIO=3").await;
        let Routed::Poll(poll) = bench.route("GET", &query) else {
            panic!("no poll")
        };
        let mut client = bench.probe_as(probing, &session).await;
        send(&mut client, "2probe").await;
        assert_eq!(next_text(&mut client).await, "3probe");
        assert_eq!(body(&poll.await), "1:6");
        session.push(&Outgoing::new(&["1"], &[Bytes::from_static(&[7, 8])]));
        send(&mut client, "5").await;
        session.push(&Outgoing::new(&["2"], &[Bytes::from_static(&[7, 8])]));
        for expected in ["41", "42"] {
            assert_eq!(next_text(&mut client).await, expected);
            assert_eq!(client.next().await.unwrap().unwrap(), attached);
        }
        send(&mut client, "2").await;
        assert_eq!(next_text(&mut client).await, "3");
        assert_eq!(body(&bench.get(&query).await), "{\"code\":3,\"message\":\"Bad request\"}");
    }
}

/// In the reference timers come before requests; here a request may overtake the driver's timer.
#[tokio::test(start_paused = true)]
async fn a_client_that_comes_when_its_time_is_up_finds_no_session() {
    let mut bench = bench();
    for client in ["EIO=3", "EIO=4"] {
        let (_, query) = bench.poll_open_as(client).await;
        tokio::time::sleep(Duration::from_secs(44)).await;
        // The driver is woken by this, but has not run when the requests come.
        tokio::time::advance(Duration::from_secs(1)).await;
        for method in ["GET", "POST"] {
            let Routed::Reply(reply) = bench.route(method, &query) else {
                panic!("{client} {method} is let through")
            };
            assert_eq!(body(&reply), "{\"code\":1,\"message\":\"Session ID unknown\"}");
        }
        assert_eq!(bench.closed().await, CloseReason::PingTimeout);
    }
}

/// The reference forgets to watch a session that is upgraded.
#[tokio::test(start_paused = true)]
async fn a_client_that_upgrades_and_falls_silent_is_gone_in_time() {
    let mut bench = bench();
    for client in ["EIO=3", "EIO=4"] {
        let start = tokio::time::Instant::now();
        let (session, _) = bench.poll_open_as(client).await;
        // In revision 4 a ping is unanswered when the upgrade ends.
        tokio::time::sleep(Duration::from_secs(26)).await;
        let mut websocket = bench.probe_as(client, &session).await;
        send(&mut websocket, "2probe").await;
        assert_eq!(next_text(&mut websocket).await, "3probe");
        send(&mut websocket, "5").await;
        assert_eq!(bench.closed().await, CloseReason::PingTimeout, "{client}");
        assert_eq!(start.elapsed().as_secs(), 45, "{client}");
    }
}

/// JSONP is the same for both revisions; what is binary goes as text there, whatever the client said of `b64`.
#[tokio::test(start_paused = true)]
async fn jsonp_has_the_string_form_of_payloads() {
    let mut bench = Bench::new(Config {
        allow_eio3: true,
        jsonp: true,
        ..Config::default()
    });
    let Routed::Open(admission) = bench.route("GET", "EIO=3&transport=polling&j=2") else {
        panic!("no handshake")
    };
    let reply = admission.admit(arrival()).unwrap().open_polling();
    let session = bench.opened().await;
    assert!(body(&reply).starts_with("___eio[2](\"118:0{\\\"sid\\\":"), "{}", body(&reply));
    let query = format!("EIO=3&transport=polling&sid={}", session.id());
    assert_eq!(body(&bench.post(&query, "d=6%3A4h%C3%A9llo4%3A4a%5Cnb").await), "ok");
    assert_eq!(body(&bench.get(&query).await), "___eio[2](\"6:4h\u{e9}llo4:4a\\nb\");");
    session.push(&Outgoing::binary(&[1, 2, 3, 4]));
    let reply = bench.get(&query).await;
    assert_eq!(
        (reply.content_type, body(&reply)),
        (Some("text/javascript; charset=UTF-8"), "___eio[2](\"10:b4AQIDBA==\");")
    );
}
