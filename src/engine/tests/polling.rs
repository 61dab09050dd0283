//! HTTP long-polling: statuses, bodies, and what ends a session.

use super::*;
use crate::protocol::engineio::handshake::{Flaw, Refusal};

const JSON: Option<&str> = Some("application/json");

#[tokio::test(start_paused = true)]
async fn requests_are_refused_in_the_order_of_the_reference() {
    let mut bench = Bench::new(Config::default());
    let (_, query) = bench.poll_open().await;
    let mismatch = query.replace("polling", "websocket");
    for (method, query, code, message) in [
        ("GET", "EIO=4", 0, "Transport unknown"),
        ("GET", "EIO=4&transport=webtransport", 0, "Transport unknown"),
        ("GET", "EIO=4&transport=polling&sid=nobody", 1, "Session ID unknown"),
        ("GET", mismatch.as_str(), 3, "Bad request"),
        ("POST", "EIO=4&transport=polling", 2, "Bad handshake method"),
        ("OPTIONS", "EIO=4&transport=polling", 2, "Bad handshake method"),
        ("GET", "EIO=4&transport=websocket", 3, "Bad request"),
    ] {
        let Routed::Reply(reply) = bench.route(method, query) else {
            panic!("{method} {query} is let through")
        };
        let expected = format!("{{\"code\":{code},\"message\":\"{message}\"}}");
        assert_eq!(
            (reply.status, reply.content_type, body(&reply)),
            (400, JSON, expected.as_str()),
            "{method} {query}"
        );
    }
    let request = Request {
        method: "GET",
        query: "EIO=4&transport=polling",
        content_type: None,
        origin: Some(b"http://\x01"),
        may_script: false,
        ..Request::default()
    };
    assert!(matches!(
        bench.engine.request(&request),
        Routed::Refused(Refusal::BadRequest(Flaw::InvalidOrigin))
    ));
    assert!(matches!(bench.route("DELETE", &query), Routed::Reply(reply) if reply == Reply::empty(500)));
}

#[tokio::test(start_paused = true)]
async fn messages_are_echoed_in_order() {
    let mut bench = Bench::new(Config::default());
    let (session, query) = bench.poll_open().await;
    let reply = bench.post(&query, "4a\x1ebAQIDBA==\x1e4c").await;
    assert_eq!(
        (reply.status, reply.content_type, reply.no_store, body(&reply)),
        (200, Some("text/html"), true, "ok")
    );
    let reply = bench.get(&query).await;
    assert_eq!(
        (reply.status, reply.content_type, reply.no_store),
        (200, Some("text/plain; charset=UTF-8"), true)
    );
    assert_eq!(body(&reply), "4a\x1e4binary\x1ebAQIDBA==\x1e4c");
    for message in [Outgoing::binary(&[1, 2, 3, 4]), Outgoing::new(&["d"], &[]), Outgoing::binary(&[])] {
        session.push(&message);
    }
    assert_eq!(body(&bench.get(&query).await), "bAQIDBA==\x1e4d\x1eb");
    let (poll, _) = tokio::join!(bench.get(&query), bench.post(&query, "4later"));
    assert_eq!(body(&poll), "4later");
}

#[tokio::test(start_paused = true)]
async fn the_initial_packet_follows_the_open_packet_on_both_transports() {
    let mut bench = Bench::new(Config {
        initial_packet: Some("welcome".into()),
        ..Config::default()
    });
    let Routed::Open(admission) = bench.route("GET", "EIO=4&transport=polling") else {
        panic!("no handshake")
    };
    let reply = admission.admit(arrival()).unwrap().open_polling();
    let (open, initial) = body(&reply).split_once('\x1e').unwrap();
    assert!(open.starts_with("0{") && open.ends_with('}'), "{open}");
    assert_eq!(initial, "4welcome");
    let _polling = bench.opened().await;
    let (_, mut client) = bench.pipe().await;
    assert_eq!(next_text(&mut client).await, "4welcome");
}

#[tokio::test(start_paused = true)]
async fn a_payload_may_be_compressed_if_one_of_its_messages_may() {
    let mut bench = Bench::new(Config::default());
    let (session, query) = bench.poll_open().await;
    let message = Outgoing::new(&["a"], &[]);
    let plain = message.clone().uncompressed();
    for (messages, compress) in [(&[&plain, &plain][..], false), (&[&plain, &message], true), (&[&message], true)] {
        for message in messages {
            session.push(message);
        }
        let reply = bench.get(&query).await;
        assert_eq!((reply.compress, body(&reply).len()), (compress, 3 * messages.len() - 1));
    }
    // A heartbeat is not worth it.
    assert!(!bench.get(&query).await.compress);
}

#[tokio::test(start_paused = true)]
async fn a_payload_is_taken_up_to_its_first_bad_packet() {
    let mut bench = Bench::new(Config::default());
    let (_, query) = bench.poll_open().await;
    let Routed::Poll(poll) = bench.route("GET", &query) else {
        panic!("no poll")
    };
    let reply = bench.post(&query, "4a\x1eabc\x1e4b").await;
    assert_eq!((reply.status, body(&reply)), (200, "ok"));
    assert_eq!(bench.closed().await, CloseReason::ParseError);
    assert_eq!(poll.await.status, 200);
    assert_eq!(body(&bench.get(&query).await), "{\"code\":1,\"message\":\"Session ID unknown\"}");
}

#[tokio::test(start_paused = true)]
async fn an_overlapping_poll_ends_the_session_and_the_first_is_answered() {
    let mut bench = Bench::new(Config::default());
    let (_, query) = bench.poll_open().await;
    let (first, second) = tokio::join!(bench.get(&query), bench.get(&query));
    assert_eq!((first.status, body(&first)), (200, "1"));
    assert_eq!(second, Reply::empty(400));
    assert_eq!(bench.closed().await, CloseReason::TransportError);
}

#[tokio::test(start_paused = true)]
async fn an_overlapping_post_ends_the_session() {
    let mut bench = Bench::new(Config::default());
    let (_, query) = bench.poll_open().await;
    let Routed::Post(first) = bench.route("POST", &query) else {
        panic!("no post")
    };
    assert_eq!(bench.post(&query, "4a").await, Reply::empty(400));
    assert_eq!(bench.closed().await, CloseReason::TransportError);
    assert_eq!(first.finish(Bytes::from_static(b"4b")).await, Reply::empty(400));
}

#[tokio::test(start_paused = true)]
async fn a_binary_post_ends_the_session() {
    let mut bench = Bench::new(Config::default());
    let (_, query) = bench.poll_open().await;
    let request = Request {
        method: "POST",
        query: &query,
        content_type: Some("application/octet-stream"),
        origin: None,
        may_script: false,
        ..Request::default()
    };
    assert!(matches!(bench.engine.request(&request), Routed::Reply(reply) if reply == Reply::empty(400)));
    assert_eq!(bench.closed().await, CloseReason::TransportError);
}

/// The reference goes on, and the application never learns that a message is missing.
#[tokio::test(start_paused = true)]
async fn an_oversized_body_ends_the_session_since_what_it_carried_is_lost() {
    let mut bench = Bench::new(Config {
        max_http_buffer_size: 5,
        ..Config::default()
    });
    let (_, query) = bench.poll_open().await;
    let (poll, post) = tokio::join!(bench.get(&query), bench.post(&query, "4too long"));
    assert_eq!((post, body(&poll)), (Reply::empty(413), "1"));
    assert_eq!(bench.closed().await, CloseReason::TransportError);

    let (_, query) = bench.poll_open().await;
    let Routed::Post(post) = bench.route("POST", &query) else {
        panic!("no post")
    };
    assert_eq!(post.too_large(), Reply::empty(413));
    assert_eq!(bench.closed().await, CloseReason::TransportError);
}

#[tokio::test(start_paused = true)]
async fn aborted_requests_end_the_session() {
    let mut bench = Bench::new(Config::default());
    let (_, query) = bench.poll_open().await;
    drop(bench.route("GET", &query));
    assert_eq!(bench.closed().await, CloseReason::TransportError);
    let (_, query) = bench.poll_open().await;
    drop(bench.route("POST", &query));
    assert_eq!(bench.closed().await, CloseReason::TransportError);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_closes_has_its_poll_released() {
    let mut bench = Bench::new(Config::default());
    let (_, query) = bench.poll_open().await;
    let (poll, post) = tokio::join!(bench.get(&query), bench.post(&query, "1"));
    assert_eq!((body(&poll), body(&post)), ("6", "ok"));
    assert_eq!(bench.closed().await, CloseReason::TransportClose);
}

/// A client closes by a POST and a poll on two connections at once, of which either may come first.
#[tokio::test(start_paused = true)]
async fn a_poll_that_comes_right_after_the_close_of_its_client_is_released_too() {
    let mut bench = Bench::new(Config::default());
    let (session, query) = bench.poll_open().await;
    assert_eq!(body(&bench.post(&query, "1").await), "ok");
    // The application hears of the end at once.
    assert_eq!(bench.closed().await, CloseReason::TransportClose);
    assert_eq!((session.is_closed(), bench.engine.counters().open()), (true, 0));
    assert_eq!(bench.post(&query, "4late").await.status, 400);
    let poll = bench.get(&query).await;
    assert_eq!((poll.status, body(&poll)), (200, "6"));
    let next = bench.get(&query).await;
    assert_eq!(
        body(&next),
        "{\"code\":1,\"message\":\"Session ID unknown\"}",
        "one poll and no more"
    );
}

#[tokio::test(start_paused = true)]
async fn a_session_that_its_client_has_closed_is_forgotten_soon() {
    let mut bench = Bench::new(Config::default());
    let (session, query) = bench.poll_open().await;
    assert_eq!(body(&bench.post(&query, "1").await), "ok");
    assert_eq!(bench.closed().await, CloseReason::TransportClose);
    tokio::time::sleep(bench.engine.config().farewell_timeout + Duration::from_millis(1)).await;
    assert!(bench.engine.session(session.id()).is_none());
    assert_eq!(bench.get(&query).await.status, 400);
    // One whose poll was released is forgotten at once.
    let (session, query) = bench.poll_open().await;
    let (poll, _) = tokio::join!(bench.get(&query), bench.post(&query, "1"));
    assert_eq!(body(&poll), "6");
    assert_eq!(bench.closed().await, CloseReason::TransportClose);
    assert!(bench.engine.session(session.id()).is_none());
    assert_eq!(bench.get(&query).await.status, 400);
}

#[tokio::test(start_paused = true)]
async fn a_close_by_the_server_follows_what_waits() {
    let mut bench = Bench::new(Config::default());
    let (_, query) = bench.poll_open().await;
    assert_eq!(body(&bench.post(&query, "4a\x1e4close\x1e4ignored").await), "ok");
    assert_eq!(body(&bench.get(&query).await), "4a");
    assert_eq!(body(&bench.get(&query).await), "6\x1e1");
    assert_eq!(bench.closed().await, CloseReason::ForcedServerClose);
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_pinged_and_then_forgotten() {
    let mut bench = Bench::new(Config::default());
    let start = tokio::time::Instant::now();
    let (_, query) = bench.poll_open().await;
    assert_eq!(body(&bench.get(&query).await), "2");
    assert_eq!(start.elapsed().as_secs(), 25);
    assert_eq!(bench.closed().await, CloseReason::PingTimeout);
    assert_eq!(start.elapsed().as_secs(), 45);
    assert_eq!(bench.get(&query).await.status, 400);
}

#[tokio::test(start_paused = true)]
async fn a_post_is_answered_when_the_paused_session_took_it() {
    let mut bench = Bench::new(Config::default());
    let (session, query) = bench.poll_open().await;
    let post = bench.post(&query, "4before\x1e4pause\x1e4after");
    tokio::pin!(post);
    let early = tokio::time::timeout(Duration::from_secs(10), &mut post).await;
    assert!(early.is_err(), "answered in the pause: {early:?}");
    session.resume();
    assert_eq!(body(&post.await), "ok");
    assert_eq!(body(&bench.get(&query).await), "4before\x1e4after");
}

#[tokio::test(start_paused = true)]
async fn volatile_messages_need_a_poll_that_waits() {
    let mut bench = Bench::new(Config::default());
    let (session, query) = bench.poll_open().await;
    let message = Outgoing::new(&["now"], &[]);
    assert_eq!(session.push_volatile(&message), super::super::Pushed::Dropped);
    let Routed::Poll(poll) = bench.route("GET", &query) else {
        panic!("no poll")
    };
    assert_eq!(session.push_volatile(&message), super::super::Pushed::Queued);
    assert_eq!(session.push_volatile(&message), super::super::Pushed::Dropped);
    assert_eq!(body(&poll.await), "4now");
    assert_eq!(bench.engine.counters().volatile_dropped.get(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_slow_consumer_is_cut_off() {
    let mut bench = Bench::new(Config {
        outbox_bytes: 1000,
        ..Config::default()
    });
    let (session, query) = bench.poll_open().await;
    let message = Outgoing::new(&["x".repeat(400).as_str()], &[]);
    let pushed: Vec<_> = (0..4).map(|_| session.push(&message)).collect();
    use super::super::Pushed::*;
    assert_eq!(pushed, [Queued, Queued, Overflow, Closed]);
    assert_eq!(bench.closed().await, CloseReason::TransportError);
    assert_eq!(bench.engine.counters().slow_consumers.get(), 1);
    assert_eq!(bench.get(&query).await.status, 400);
}

#[tokio::test(start_paused = true)]
async fn sessions_are_bounded_in_number() {
    let mut bench = Bench::new(Config {
        max_sessions: 1,
        ..Config::default()
    });
    let _open = bench.poll_open().await;
    let Routed::Open(admission) = bench.route("GET", "EIO=4&transport=polling") else {
        panic!("no handshake")
    };
    assert_eq!(admission.admit(arrival()).unwrap_err(), NotAdmitted::Full);
    assert_eq!((bench.engine.counters().open(), bench.engine.counters().refused.get()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn revision_3_is_refused_only_to_who_may_come() {
    let bench = Bench::new(Config::default());
    for query in ["EIO=3&transport=polling", "transport=polling&sid=", "EIO=5&transport=polling"] {
        let Routed::Open(admission) = bench.route("GET", query) else {
            panic!("{query} is decided before the hooks are asked")
        };
        let denied = admission.admit(arrival()).unwrap_err();
        assert_eq!(denied, NotAdmitted::Revision, "{query}");
        let expected = r#"{"code":5,"message":"Unsupported protocol version"}"#;
        assert_eq!(body(&Reply::not_admitted(denied)), expected);
    }
    assert_eq!(bench.engine.counters().refused.get(), 0);
}

/// A place is given back when the session's last task is done with it.
#[tokio::test(start_paused = true)]
async fn sessions_of_one_address_are_bounded_on_both_transports() {
    let mut bench = Bench::new(Config {
        max_sessions_per_address: 2,
        ..Config::default()
    });
    let from = |last| Arrival::new(Some([192, 0, 2, last].into()), false, "/", []);
    let admit = |bench: &Bench, last| match bench.route("GET", "EIO=4&transport=polling") {
        Routed::Open(admission) => admission.admit(from(last)),
        other => panic!("{other:?}"),
    };
    let _first = admit(&bench, 1).unwrap().open_polling();
    let (server, client) = tokio::io::duplex(4096);
    admit(&bench, 1).unwrap().open_websocket(Io::Boxed(Box::new(server)), &[]);
    assert_eq!(admit(&bench, 1).unwrap_err(), NotAdmitted::Address);
    drop(admit(&bench, 2).unwrap());
    let counters = bench.engine.counters();
    assert_eq!((counters.crowded.get(), counters.refused.get(), counters.open()), (1, 0, 2));

    for _ in 0..2 {
        bench.opened().await;
    }
    drop(client);
    bench.closed().await;
    drop(admit(&bench, 1).unwrap());
    assert_eq!(
        Reply::not_admitted(NotAdmitted::Address),
        Reply::refused(&Refusal::Forbidden("Too many connections from this address".into()))
    );
    assert_eq!(Reply::not_admitted(NotAdmitted::Full), Reply::empty(503));
}

fn jsonp() -> Config {
    Config {
        jsonp: true,
        max_http_buffer_size: 10,
        ..Config::default()
    }
}

/// Opens a session by JSONP; answers its query without `j`, which counts in the handshake only.
async fn jsonp_open(bench: &mut Bench) -> String {
    let Routed::Open(admission) = bench.route("GET", "EIO=4&transport=polling&j=07") else {
        panic!("no handshake")
    };
    let reply = admission.admit(arrival()).unwrap().open_polling();
    assert!(
        body(&reply).starts_with(r#"___eio[07]("0{\"sid\":\""#) && body(&reply).ends_with("}\");"),
        "{}",
        body(&reply)
    );
    assert_eq!((reply.status, reply.content_type, reply.nosniff), (200, SCRIPT, true));
    format!("EIO=4&transport=polling&sid={}", bench.opened().await.id())
}

const SCRIPT: Option<&str> = Some("text/javascript; charset=UTF-8");

#[tokio::test(start_paused = true)]
async fn jsonp_wraps_payloads_in_scripts_and_forms() {
    let mut bench = Bench::new(jsonp());
    let query = jsonp_open(&mut bench).await;
    let reply = bench.post(&query, r"d=4a%5C%5Cnb%5Cn").await;
    assert_eq!((reply.content_type, reply.nosniff, body(&reply)), (Some("text/html"), true, "ok"));
    // Another `j` changes nothing.
    let reply = bench.get(&format!("{query}&j=8")).await;
    assert_eq!((reply.content_type, reply.no_store, reply.nosniff), (SCRIPT, true, true));
    assert_eq!(body(&reply), r#"___eio[07]("4a\\nb\n");"#);
    assert_eq!(body(&bench.post(&query, "e=4ignored").await), "ok");
    assert_eq!(body(&bench.post(&query, "d=1").await), "ok");
    assert_eq!(bench.closed().await, CloseReason::TransportClose);
}

#[tokio::test(start_paused = true)]
async fn a_form_may_be_longer_than_its_payload_but_not_without_end() {
    let mut bench = Bench::new(jsonp());
    for (form, status) in [
        ("d=%34%20%20%20%20%20%20%20%20%20", 200),
        ("d=%34%20%20%20%20%20%20%20%20%20a", 413),
        ("d=4234567890a", 413),
    ] {
        let query = jsonp_open(&mut bench).await;
        assert_eq!(bench.post(&query, form).await.status, status, "{form}");
    }
}

#[tokio::test(start_paused = true)]
async fn jsonp_is_refused_where_it_is_off_and_to_pages_that_may_not() {
    let bad = Reply::refused(&Refusal::BadRequest(Flaw::Jsonp));
    let bench = Bench::new(Config::default());
    assert!(matches!(bench.route("GET", "EIO=4&transport=polling&j=0"), Routed::Reply(reply) if reply == bad));
    let mut bench = Bench::new(jsonp());
    for j in ["", "x", "1]//"] {
        let query = format!("EIO=4&transport=polling&j={j}");
        assert!(matches!(bench.route("GET", &query), Routed::Reply(reply) if reply == bad), "{j}");
    }
    let query = jsonp_open(&mut bench).await;
    for (method, query) in [("GET", "EIO=4&transport=polling&j=0"), ("GET", &query), ("POST", &query)] {
        let request = Request {
            method,
            query,
            content_type: None,
            origin: None,
            may_script: false,
            ..Request::default()
        };
        let routed = bench.engine.request(&request);
        assert!(
            matches!(&routed, Routed::Refused(refusal) if *refusal == Refusal::origin()),
            "{routed:?}"
        );
    }
    // A refused request is no abort of one that was let in.
    assert_eq!(body(&bench.post(&query, "d=4a").await), "ok");
}
