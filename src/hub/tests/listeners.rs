//! Catch-alls, packet middlewares, fallbacks and what goes wrong: around the handlers of events.

use super::*;
use crate::hub::{Ack, Args, Data, DisconnectReason, EventError, EventMut, Extension, Raw, Socket, State};

#[tokio::test]
async fn an_event_passes_catch_alls_then_middlewares_then_its_handler() {
    let (io, log) = logging();
    io.sockets()
        .on_connect(async |socket: Socket| {
            socket.on_any(async |raw: Raw, log: State<Log>| log.add(format_args!("own any {}", raw.event())))?;
            socket
                .with_packet(async |raw: Raw, log: State<Log>| log.add(format_args!("own packet {}", raw.event())))
                .map(drop)
        })
        .unwrap()
        .with_packet(async |Data(n): Data<u8>, log: State<Log>| log.add(format_args!("packet {n}")))
        .unwrap()
        .on("e", async |Data(n): Data<u8>, ack: Ack, log: State<Log>| {
            log.add(format_args!("handler {n}"));
            ack.send(&n)
        })
        .unwrap();
    io.sockets().on_any(async |log: State<Log>| log.add("any 2")).unwrap();
    io.sockets().prepend_any(async |log: State<Log>| log.add("any 1")).unwrap();
    let (mut peer, _) = Peer::joined(&io);
    assert_eq!(peer.send(r#"27["e",5]"#), Flow::Continue);
    quiet(&io).await;
    assert_eq!(log.take(), ["any 1", "any 2", "own any e", "packet 5", "own packet e", "handler 5"]);
    assert_eq!(peer.got(), ["37[5]"]);
    io.sockets().off_any_all();
    assert_eq!(peer.send(r#"2["e",6]"#), Flow::Continue);
    quiet(&io).await;
    assert_eq!(log.take(), ["own any e", "packet 6", "own packet e", "handler 6"]);
}

#[tokio::test]
async fn a_refused_packet_is_dropped_without_a_reply_and_the_application_is_told() {
    let (io, log) = logging();
    io.sockets()
        .with_packet(async |raw: Raw| {
            if raw.event() == "panic" {
                panic!("on purpose");
            }
            if raw.arg::<u8>(0).is_ok_and(|n| n > 9) {
                Err("too much")
            } else {
                Ok(())
            }
        })
        .unwrap()
        .on_error(async |error: EventError, raw: Raw, log: State<Log>| log.add(format_args!("{}: {error}", raw.event())))
        .unwrap()
        .fallback(async |raw: Raw, ack: Ack, log: State<Log>| {
            log.add(raw.event());
            ack.send(&())
        })
        .unwrap();
    let (mut peer, _) = Peer::joined(&io);
    for packet in [r#"20["a",10]"#, r#"21["panic"]"#, r#"22["b",9]"#] {
        assert_eq!(peer.send(packet), Flow::Continue);
    }
    quiet(&io).await;
    let expected = [
        "a: a packet middleware refused the event: too much",
        "panic: the handler panicked",
        "b",
    ];
    assert_eq!(log.take(), expected);
    assert_eq!(peer.got(), ["32[]"], "only what was handled is answered");
    let counters = io.hub().counters();
    assert_eq!((counters.events_refused.get(), counters.handler_panics.get()), (2, 1));
}

/// What the reference hands to `socket.use` is the array of the event itself.
#[tokio::test]
async fn a_packet_middleware_changes_the_name_and_the_arguments_of_an_event() {
    let (io, log) = logging();
    io.sockets()
        .on_connect(async |socket: Socket| {
            socket
                .with_packet(async |event: EventMut, Args((text, n)): Args<(String, u8)>| {
                    assert_eq!(
                        event.args::<(String, u8)>().unwrap(),
                        (text.clone(), n),
                        "the one before has changed it"
                    );
                    match &*text {
                        "no" => {
                            event.set_arg(0, "refused").unwrap();
                            return Err("refused it is");
                        }
                        "only" => event.set_args(&"alone").unwrap(),
                        _ => event.set_arg(1, &(n + 1)).unwrap(),
                    }
                    assert!(event.set_name("disconnect").is_err(), "a client cannot send that either");
                    Ok(())
                })
                .map(drop)
        })
        .unwrap()
        .with_packet(async |event: EventMut| {
            let text: String = event.arg(0)?;
            event.set_arg(0, text.trim()).unwrap();
            if event.name() == "old" {
                event.set_name("new").unwrap();
            }
            Ok::<_, crate::hub::Rejection>(())
        })
        .unwrap()
        .on("new", async |raw: Raw, log: State<Log>| log.add(raw.payload().json()))
        .unwrap()
        .fallback(async |raw: Raw, log: State<Log>| log.add(format_args!("unhandled {}", raw.event())))
        .unwrap()
        .on_error(async |raw: Raw, error: EventError, log: State<Log>| log.add(format_args!("{} {error}", raw.payload().json())))
        .unwrap();
    io.sockets()
        .on_any(async |raw: Raw, log: State<Log>| log.add(format_args!("any {}", raw.event())))
        .unwrap();
    let (mut peer, _) = Peer::joined(&io);
    quiet(&io).await;
    for packet in [r#"2["old"," a ",1,[2]]"#, r#"2["new","no",1]"#, r#"2["new","only",1]"#] {
        assert_eq!(peer.send(packet), Flow::Continue);
    }
    quiet(&io).await;
    let expected = [
        "any old",
        r#"["new","a",2,[2]]"#,
        "any new",
        r#"["new","refused",1] a packet middleware refused the event: refused it is"#,
        "any new",
        r#"["new","alone"]"#,
    ];
    assert_eq!(log.take(), expected);
    assert_eq!(io.hub().counters().events_refused.get(), 1);
}

/// The function that the reference appends to the array may be called by whoever gets it: the first call counts.
#[tokio::test]
async fn a_catch_all_or_a_packet_middleware_may_answer_in_the_place_of_the_handler() {
    let (io, log) = logging();
    io.sockets().on_any(async |raw: Raw, ack: Ack| answer(&raw, "any", ack)).unwrap();
    io.sockets()
        .with_packet(async |raw: Raw, ack: Ack| {
            answer(&raw, "packet", ack);
            if raw.arg::<bool>(1).is_ok() { Err("refused") } else { Ok(()) }
        })
        .unwrap()
        .with_packet(async |raw: Raw, ack: Ack| answer(&raw, "packet", ack))
        .unwrap()
        .on("e", async |raw: Raw, ack: Ack, log: State<Log>| {
            log.add(ack.is_wanted());
            answer(&raw, raw.arg::<String>(0).unwrap().as_str(), ack);
        })
        .unwrap();
    let (mut peer, _) = Peer::joined(&io);
    for packet in [
        r#"20["e","any"]"#,
        r#"21["e","packet"]"#,
        r#"22["e","handler"]"#,
        r#"23["e","packet",true]"#,
        r#"24["e","handler",true]"#,
        r#"2["e","any"]"#,
    ] {
        assert_eq!(peer.send(packet), Flow::Continue);
    }
    quiet(&io).await;
    assert_eq!(log.take(), ["false", "false", "true", "false"]);
    assert_eq!(
        peer.got(),
        [r#"30["any"]"#, r#"31["packet"]"#, r#"32["handler"]"#, r#"33["packet"]"#]
    );
}

fn answer(raw: &Raw, who: &str, ack: Ack) {
    if raw.arg::<String>(0).unwrap() == who {
        ack.send(&who).unwrap();
    }
}

#[tokio::test]
async fn an_error_handler_hears_of_every_failure_and_a_socket_may_have_its_own() {
    let (io, log) = logging();
    io.sockets()
        .on("fail", async || Err::<(), _>("on purpose"))
        .unwrap()
        .on("panic", |_: Socket| -> std::future::Ready<()> { panic!("on purpose") })
        .unwrap()
        .on("number", async |_: Data<u8>| {})
        .unwrap()
        .on("own", async |socket: Socket| {
            let own = async |error: EventError, log: State<Log>| {
                log.add(format_args!("own {error}"));
                assert_ne!(error, EventError::Failed("at the end".into()), "the error handler itself panics");
            };
            socket.on_error(own).map(drop)
        })
        .unwrap()
        .on_disconnect(async || Err::<(), _>("at the end"))
        .unwrap()
        .on_error(async |error: EventError, log: State<Log>| log.add(error))
        .unwrap();
    let (mut peer, _) = Peer::joined(&io);
    for event in ["fail", "panic", "number", "own", "fail"] {
        assert_eq!(peer.send(&format!(r#"2["{event}"]"#)), Flow::Continue);
    }
    peer.close(CloseReason::TransportClose);
    quiet(&io).await;
    let log = log.take();
    assert_eq!(log[..2], ["on purpose", "the handler panicked"]);
    assert!(log[2].starts_with("the arguments cannot be read: "), "{log:?}");
    assert_eq!(log[3..], ["own on purpose", "own at the end"]);
    assert_eq!(io.hub().counters().handler_panics.get(), 2);
}

#[tokio::test]
async fn a_socket_s_own_handlers_come_once_or_are_taken_off() {
    let (io, log) = logging();
    io.sockets()
        .on("e", async |log: State<Log>| log.add("namespace"))
        .unwrap()
        .on_connect(async |socket: Socket| {
            socket
                .once("e", async |log: State<Log>| log.add("once"))?
                .on("f", async |log: State<Log>| log.add("own f"))?
                .on("off", async |socket: Socket| {
                    socket.off("f");
                })?
                .fallback(async |raw: Raw, log: State<Log>| log.add(format_args!("fallback {}", raw.event())))
                .map(drop)
        })
        .unwrap();
    let (mut peer, _) = Peer::joined(&io);
    for event in ["e", "e", "f", "off", "f"] {
        assert_eq!(peer.send(&format!(r#"2["{event}"]"#)), Flow::Continue);
    }
    quiet(&io).await;
    assert_eq!(log.take(), ["once", "namespace", "own f", "fallback f"]);
    io.sockets().off("e");
    assert_eq!(peer.send(r#"2["e"]"#), Flow::Continue);
    quiet(&io).await;
    assert_eq!(log.take(), ["fallback e"]);
    assert_eq!(io.hub().counters().events_unhandled.get(), 0);
}

#[tokio::test]
async fn a_namespace_s_handler_for_once_is_called_once_whichever_socket_sends() {
    let (io, log) = logging();
    let dynamic = io.of_dynamic(async |_: Arc<str>, _: serde_json::Value| true);
    io.sockets()
        .on("e", async |log: State<Log>| log.add("replaced"))
        .unwrap()
        .once("e", async |log: State<Log>| {
            log.add("once");
            tokio::task::yield_now().await;
        })
        .unwrap()
        .once("off", async |log: State<Log>| log.add("off"))
        .unwrap()
        .off("off")
        .fallback(async |log: State<Log>| log.add("fallback"))
        .unwrap();
    dynamic.once("e", async |log: State<Log>| log.add("child")).unwrap();
    let mut peers: Vec<_> = std::iter::repeat_with(|| Peer::joined(&io).0).take(3).collect();
    for peer in &mut peers {
        assert_eq!(peer.send(r#"2["e"]"#), Flow::Continue);
    }
    quiet(&io).await;
    assert_eq!(log.take(), ["once", "fallback", "fallback"]);
    assert_eq!(peers[0].send(r#"2["off"]"#), Flow::Continue);
    quiet(&io).await;
    assert_eq!(log.take(), ["fallback"]);
    for child in ["/a", "/b"] {
        assert_eq!(peers[0].send(&format!("0{child},")), Flow::Continue);
        quiet(&io).await;
        for _ in 0..2 {
            assert_eq!(peers[0].send(&format!(r#"2{child},["e"]"#)), Flow::Continue);
        }
        quiet(&io).await;
        assert_eq!(log.take(), ["child"], "each begins with a once of its own");
    }
    assert!(io.sockets().once("disconnect", async || {}).is_err(), "a client cannot send that");
}

/// `prependAny`, `offAny(listener)`, `offAny()` and `listenersAny` of the reference, and the same for what is sent.
#[tokio::test]
async fn catch_alls_are_listed_in_order_and_taken_off_one_by_one() {
    let (io, log) = logging();
    let all = io.sockets();
    let say = |text: &'static str| move |log: State<Log>| async move { log.add(text) };
    let watch = |text: &'static str| {
        let log = Arc::clone(&log);
        move |_: &Socket, _: &Raw| log.add(text)
    };
    assert!(all.listeners_any().is_empty() && all.listeners_any_outgoing().is_empty());
    let second = all.on_any(say("in 2")).unwrap();
    let third = all.on_any(say("in 3")).unwrap();
    let first = all.prepend_any(say("in 1")).unwrap();
    let two = all.on_any_outgoing(watch("out 2"));
    let one = all.prepend_any_outgoing(watch("out 1"));
    assert_eq!(all.listeners_any(), [first.clone(), second.clone(), third.clone()]);
    assert_eq!(all.listeners_any_outgoing(), [one.clone(), two.clone()]);
    all.on_connect(async |socket: Socket, log: State<Log>| {
        let (kept, left) = (socket.on_any(async || {})?, socket.on_any(async || {})?);
        for id in socket.io().sockets().listeners_any() {
            socket.off_any(&id);
        }
        socket.off_any(&left).off_any(&left);
        let watched = socket.on_any_outgoing(|_, _| {});
        log.add(socket.listeners_any() == [kept] && socket.listeners_any_outgoing() == [watched.clone()]);
        socket.off_any_outgoing(&watched).off_any_all();
        log.add(socket.listeners_any().len() + socket.listeners_any_outgoing().len());
        Ok::<_, crate::hub::RegisterError>(())
    })
    .unwrap();
    all.fallback(async |socket: Socket| socket.emit("e", &())).unwrap();
    let (mut peer, _) = Peer::joined(&io);
    quiet(&io).await;
    assert_eq!(log.take(), ["true", "0"], "a socket cannot take off what is the namespace's");
    let mut event = async || {
        assert_eq!(peer.send(r#"2["e"]"#), Flow::Continue);
        quiet(&io).await;
        log.take()
    };
    assert_eq!(event().await, ["in 1", "in 2", "in 3", "out 1", "out 2"]);
    all.off_any(&second).off_any(&one).off_any_outgoing(&one).off_any_outgoing(&third);
    assert_eq!(event().await, ["in 1", "in 3", "out 2"]);
    all.off_any(&first).off_any(&third).off_any_outgoing(&two);
    assert_eq!(event().await, [""; 0]);
    assert!(all.listeners_any().is_empty() && all.listeners_any_outgoing().is_empty());
}

#[tokio::test]
async fn what_is_sent_is_told_once_for_each_recipient_but_answers_are_not() {
    let (io, log) = logging();
    let heard = Arc::clone(&log);
    io.sockets()
        .on_any_outgoing(move |socket, event| heard.add(format_args!("all {} {}", socket.rooms().len(), event.event())));
    io.sockets()
        .on("ask", async |socket: Socket, ack: Ack| {
            let log = socket.io().states().get::<Log>().unwrap();
            socket.on_any_outgoing(move |_, event| {
                log.add(format_args!("own {}", event.payload().json()));
                assert_ne!(event.event(), "panic");
            });
            ack.send(&())?;
            socket.emit("direct", &1)?;
            drop(socket.emit_with_ack::<()>("asked", &()));
            Ok::<_, crate::hub::EmitError>(())
        })
        .unwrap();
    let (mut peer, _) = Peer::joined(&io);
    let (other, _) = Peer::joined(&io);
    assert_eq!(peer.send(r#"21["ask"]"#), Flow::Continue);
    quiet(&io).await;
    assert_eq!(
        log.take(),
        ["all 1 direct", r#"own ["direct",1]"#, "all 1 asked", r#"own ["asked"]"#]
    );
    io.emit("panic", &()).unwrap();
    let mut told = log.take();
    told.sort();
    assert_eq!(told, ["all 1 panic", "all 1 panic", r#"own ["panic"]"#]);
    assert_eq!((peer.got().len(), other.got().len()), (4, 1));
    assert_eq!(io.hub().counters().handler_panics.get(), 1);
    io.sockets().off_any_outgoing_all();
    io.emit("e", &()).unwrap();
    assert_eq!(log.take(), [r#"own ["e"]"#]);
}

#[tokio::test]
async fn disconnecting_still_sees_the_rooms_which_are_left_already() {
    let (io, log) = logging();
    io.sockets()
        .on_connect(async |socket: Socket| {
            socket.join(["a", "b"]).unwrap();
            socket
                .on_disconnecting(async |socket: Socket, log: State<Log>| log.add(format_args!("own leaving {}", socket.rooms().len())))?
                .on_disconnect(async |socket: Socket, log: State<Log>| log.add(format_args!("own left {}", socket.rooms().len())))
                .map(drop)
        })
        .unwrap()
        .on("e", async |socket: Socket, log: State<Log>| {
            log.add(format_args!("event {}", socket.rooms().len()))
        })
        .unwrap()
        .on_disconnecting(async |socket: Socket, reason: DisconnectReason, log: State<Log>| {
            assert!(!socket.is_connected());
            log.add(format_args!("leaving {}: {reason}", socket.rooms().len()));
            socket.to("a").emit("left", socket.id()).unwrap();
        })
        .unwrap()
        .on_disconnect(async |socket: Socket, log: State<Log>| log.add(format_args!("left {}", socket.rooms().len())))
        .unwrap();
    let (mut peer, id) = Peer::joined(&io);
    let (other, _) = Peer::joined(&io);
    quiet(&io).await;
    assert_eq!(peer.send(r#"2["e"]"#), Flow::Continue);
    assert_eq!(peer.send("1"), Flow::Continue);
    assert!(!io.hub().interested("/", &[id.as_str().into()]), "it is in no room any more");
    quiet(&io).await;
    let expected = [
        "event 3",
        "leaving 3: client namespace disconnect",
        "own leaving 3",
        "left 0",
        "own left 0",
    ];
    assert_eq!(log.take(), expected);
    assert_eq!(other.got(), [format!(r#"2["left","{id}"]"#)]);
    assert!(peer.got().is_empty());
}

#[tokio::test]
async fn a_handler_of_a_socket_that_went_at_once_is_registered_in_time() {
    let (io, log) = logging();
    io.sockets()
        .on_connect(async |socket: Socket| {
            assert!(!socket.is_connected(), "the client was faster");
            socket.on_disconnect(async |log: State<Log>| log.add("gone")).map(drop)
        })
        .unwrap();
    let (peer, _) = Peer::joined(&io);
    peer.close(CloseReason::TransportClose);
    quiet(&io).await;
    assert_eq!(log.take(), ["gone"]);
}

#[derive(Debug)]
struct User(&'static str);

#[tokio::test]
async fn a_socket_keeps_values_and_data_of_its_own() {
    let (io, log) = logging();
    io.sockets()
        .with(async |socket: Socket| {
            socket.extend(User("first"));
            Ok(())
        })
        .unwrap()
        .on("user", async |user: Extension<User>, log: State<Log>| log.add(user.0.0))
        .unwrap()
        .on("none", async |_: Extension<String>| {})
        .unwrap()
        .on(
            "data",
            async |socket: Socket, Data(data): Data<serde_json::Value>, log: State<Log>| {
                log.add(socket.data::<serde_json::Value>().unwrap());
                socket.set_data(&data).unwrap();
                socket.extend(User("second"));
            },
        )
        .unwrap()
        .on_disconnect(async |socket: Socket, user: Extension<User>, log: State<Log>| {
            log.add(format_args!("{} {}", user.0.0, socket.data::<serde_json::Value>().unwrap()));
            // Owns itself, and is dropped all the same.
            socket.extend(socket.clone());
        })
        .unwrap();
    let mut peer = Peer::open(&io);
    assert_eq!(peer.send("0"), Flow::Continue);
    quiet(&io).await;
    for packet in [r#"2["user"]"#, r#"2["none"]"#, r#"2["data",{"n":1}]"#] {
        assert_eq!(peer.send(packet), Flow::Continue);
    }
    peer.close(CloseReason::TransportClose);
    quiet(&io).await;
    assert_eq!(log.take(), ["first", "{}", r#"second {"n":1}"#]);
    assert_eq!(io.hub().counters().events_rejected.get(), 1);
}

#[tokio::test]
async fn a_panic_at_the_end_of_a_socket_harms_nobody_and_nothing_of_its_end() {
    let (io, log) = logging();
    io.sockets()
        .on_any(async |raw: Raw| assert_ne!(raw.event(), "any", "on purpose"))
        .unwrap();
    io.sockets()
        .fallback(async |raw: Raw, log: State<Log>| log.add(raw.event()))
        .unwrap()
        .on_disconnecting(|_: Socket| -> std::future::Ready<()> { panic!("on purpose") })
        .unwrap()
        .on_disconnect(async |socket: Socket, log: State<Log>| {
            log.add("left");
            assert!(socket.is_connected(), "on purpose");
        })
        .unwrap();
    let (mut peer, _) = Peer::joined(&io);
    let (mut other, _) = Peer::joined(&io);
    assert_eq!(peer.send(r#"2["any"]"#), Flow::Continue);
    peer.close(CloseReason::TransportClose);
    quiet(&io).await;
    assert_eq!(other.send(r#"2["e"]"#), Flow::Continue);
    quiet(&io).await;
    assert_eq!(
        log.take(),
        ["any", "left", "e"],
        "a catch-all that panics keeps no event from its handler"
    );
    let counters = io.hub().counters();
    assert_eq!((counters.handler_panics.get(), counters.sockets.get()), (3, 1));
}
