//! Who gets what, and in which order.

use super::*;
use crate::hub::{Command, EmitFlags, NotDispatched, Observer, Raw, Room, Scope, Socket, Target};

#[tokio::test]
async fn rooms_union_and_except_reach_each_socket_once() {
    let io = server();
    let (a, a_id) = Peer::joined(&io);
    let (b, b_id) = Peer::joined(&io);
    let (c, _) = Peer::joined(&io);
    io.to([a_id.as_str(), b_id.as_str()]).sockets_join(["red", "blue"]);
    io.to(b_id.as_str()).sockets_join("green");

    io.to("red").to("blue").emit("x", &1).unwrap();
    assert_eq!((a.got().len(), b.got().len(), c.got().len()), (1, 1, 0));
    io.to(["red", "green"]).except("green").emit("x", &2).unwrap();
    assert_eq!((a.got().len(), b.got().len(), c.got().len()), (1, 0, 0));
    io.except("red").emit("x", &3).unwrap();
    assert_eq!((a.got().len(), b.got().len(), c.got().len()), (0, 0, 1));
    io.to("red").sockets_leave(["red", "green"]);
    io.to(["red", "green"]).emit("x", &4).unwrap();
    assert_eq!((a.got().len(), b.got().len(), c.got().len()), (0, 0, 0));
    io.emit("x", &5).unwrap();
    assert_eq!(
        (a.got(), b.got(), c.got().len()),
        (vec![r#"2["x",5]"#.into()], vec![r#"2["x",5]"#.into()], 1)
    );
    assert_eq!(io.hub().counters().messages_out.get(), 7);
}

#[tokio::test]
async fn a_broadcast_of_a_socket_leaves_it_out() {
    let io = server();
    io.of("/chat")
        .on_connect(async |socket: Socket| socket.join("room"))
        .unwrap()
        .on("all", async |socket: Socket| socket.broadcast().emit("all", &()))
        .unwrap()
        .on("room", async |socket: Socket| socket.to("room").emit("room", &()))
        .unwrap()
        .on("raw", async |socket: Socket, raw: Raw| {
            socket.broadcast().emit_payload(raw.payload().clone())
        })
        .unwrap();
    let (mut a, mut b) = (Peer::open(&io), Peer::open(&io));
    a.join("0/chat,");
    b.join("0/chat,");
    for packet in [r#"2/chat,["all"]"#, r#"2/chat,["room"]"#, r#"2/chat,["raw",{"k":[1, 2]}]"#] {
        assert_eq!(a.send(packet), Flow::Continue);
        quiet(&io).await;
        assert_eq!((a.got(), b.got()), (vec![], vec![packet.to_owned()]));
    }
}

#[tokio::test]
async fn what_one_caller_does_reaches_a_socket_in_that_order() {
    let io = server();
    io.sockets()
        .on("go", async |socket: Socket, io: Io| {
            for round in 0..50 {
                io.emit("n", &(4 * round))?;
                socket.emit("n", &(4 * round + 1))?;
                io.to(socket.id()).emit("n", &(4 * round + 2))?;
                socket.join("late").unwrap();
                io.to("late").emit("n", &(4 * round + 3))?;
                socket.leave("late");
                io.to("late").emit("n", &"never")?;
            }
            Ok::<_, crate::hub::EmitError>(())
        })
        .unwrap();
    let (mut peer, _) = Peer::joined(&io);
    assert_eq!(peer.send(r#"2["go"]"#), Flow::Continue);
    quiet(&io).await;
    let expected: Vec<String> = (0..200).map(|n| format!(r#"2["n",{n}]"#)).collect();
    assert_eq!(peer.got(), expected);
}

#[tokio::test]
async fn attachments_travel_with_their_event_as_one_message() {
    let io = server();
    let (peer, _) = Peer::joined(&io);
    io.emit("bin", &("a", Bytes::from_static(&[1, 2]), Bytes::from_static(&[3])))
        .unwrap();
    let frames = peer.tap.frames();
    assert_eq!(frames.len(), 1);
    let (text, attachments) = &frames[0];
    assert_eq!(
        text,
        r#"52-["bin","a",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#
    );
    assert_eq!(attachments, &[Bytes::from_static(&[1, 2]), Bytes::from_static(&[3])]);
}

#[tokio::test]
async fn volatile_events_are_dropped_and_counted_behind_what_waits() {
    let io = server();
    let (peer, _) = Peer::joined(&io);
    io.volatile().emit("v", &1).unwrap();
    io.emit("e", &2).unwrap();
    io.volatile().emit("v", &3).unwrap();
    let got = peer.got();
    assert_eq!(got.last().map(String::as_str), Some(r#"2["e",2]"#));
    assert!(!got.contains(&r#"2["v",3]"#.to_owned()));
    assert!(io.hub().counters().volatile_dropped.get() >= 1);
}

#[tokio::test]
async fn commands_of_other_nodes_walk_the_same_path() {
    let io = server();
    let (peer, id) = Peer::joined(&io);
    let room: Room = "r".into();
    let target = Target {
        namespace: "/".into(),
        rooms: vec![id.into()],
        except: vec![],
    };
    assert!(!io.hub().interested("/", std::slice::from_ref(&room)));
    io.hub().apply(&Command::Join {
        target: target.clone(),
        rooms: vec![room.clone()],
    });
    assert!(io.hub().interested("/", &[room]));
    io.hub().apply(&Command::Disconnect { target, close: false });
    assert_eq!(peer.got(), ["1"]);
    assert!(!io.hub().interested("/", &[]));
    // A namespace that is not here is nothing to do.
    io.hub().apply(&Command::Disconnect {
        target: Target::namespace("/elsewhere".into()),
        close: true,
    });
}

#[test]
fn no_broadcast_comes_before_the_connect_answer_or_after_the_farewell() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let _inside = runtime.enter();
    let io = server();
    let over = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let fire = |rooms: &[&str]| Command::Emit {
        target: Target {
            rooms: rooms.iter().copied().map(Room::from).collect(),
            ..Target::namespace("/".into())
        },
        payload: crate::protocol::socketio::Payload::event("fire", &1).unwrap(),
        flags: EmitFlags::default(),
    };
    let (all, room) = (fire(&[]), fire(&["room", "other"]));
    let callers = [false, true].map(|joining| {
        let (io, over, all, room) = (io.clone(), Arc::clone(&over), all.clone(), room.clone());
        std::thread::spawn(move || {
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                io.hub().apply(&all);
                if joining {
                    io.sockets_join("room");
                    io.hub().apply(&room);
                    io.sockets_leave("room");
                }
            }
        })
    });
    let mut fired = 0;
    for round in 0..5000 {
        let mut peer = Peer::open(&io);
        assert_eq!(peer.send("0"), Flow::Continue);
        if round % 500 == 0 {
            while io.hub().counters().messages_out.get() == fired {
                std::thread::yield_now();
            }
        }
        io.disconnect_sockets(false);
        let got = peer.got();
        if peer.tap.closed() == Some(CloseReason::TransportError) {
            // This thread was not scheduled for so long that the outbox ran over, which drops all.
            continue;
        }
        assert!(got[0].starts_with(r#"0{"sid":""#), "{got:?}");
        assert_eq!(got.last().map(String::as_str), Some("1"));
        assert!(got[1..got.len() - 1].iter().all(|text| text.starts_with(r#"2["fire""#)));
        fired = io.hub().counters().messages_out.get();
    }
    over.store(true, std::sync::atomic::Ordering::Relaxed);
    callers.into_iter().for_each(|caller| caller.join().unwrap());
    assert!(fired > 0);
    assert_eq!(io.hub().counters().sockets.get(), 0);
    assert!(!io.hub().interested("/", &[]) && !io.hub().interested("/", &["room".into()]));
}

/// What operators hand over, seen from the place of a cluster.
#[derive(Debug, Default)]
struct Heard(std::sync::Mutex<Vec<(Command, Scope)>>);

impl crate::hub::Dispatch for Heard {
    fn dispatch(&self, command: Command, scope: Scope) -> Result<(), NotDispatched> {
        self.0.lock().unwrap().push((command, scope));
        Ok(())
    }

    fn request(&self, _: crate::hub::Query, _: Scope, deadline: std::time::Instant) -> crate::hub::Replies {
        crate::hub::Replies::of([], deadline)
    }
}

#[tokio::test]
async fn operators_only_build_commands() {
    let heard = Arc::new(Heard::default());
    let io = Io::new(Hub::new(Config::default(), NodeTag([0; 3])), heard.clone());
    io.of("/chat")
        .to(["a", "b"])
        .except(String::from("c"))
        .volatile()
        .compress(false)
        .local()
        .emit("e", &(1, 2))
        .unwrap();
    io.of("/chat").in_("a").disconnect_sockets(true);
    let heard = heard.0.lock().unwrap();
    let (Command::Emit { target, payload, flags }, Scope::Local) = &heard[0] else {
        panic!("{heard:?}")
    };
    let expected = Target {
        namespace: "/chat".into(),
        rooms: vec!["a".into(), "b".into()],
        except: vec!["c".into()],
    };
    assert_eq!(*target, expected);
    assert!(flags.volatile && !flags.compress);
    assert_eq!(payload.json(), r#"["e",1,2]"#);
    assert!(matches!(&heard[1], (Command::Disconnect { close: true, .. }, Scope::Cluster)));
}

#[derive(Debug, Default)]
struct Names(std::sync::Mutex<Vec<Arc<str>>>);

impl Observer for Names {
    fn namespace_created(&self, name: &Arc<str>) {
        self.0.lock().unwrap().push(Arc::clone(name));
    }

    fn namespace_removed(&self, name: &Arc<str>) {
        self.0.lock().unwrap().push(format!("-{name}").into());
    }

    fn room_wanted(&self, _: &Arc<str>, _: &crate::hub::Room) {}

    fn room_unwanted(&self, _: &Arc<str>, _: &crate::hub::Room) {}

    fn settled(&self) -> crate::hub::recovery::Later<()> {
        Box::pin(std::future::ready(()))
    }
}

#[tokio::test]
async fn new_namespaces_are_told_once() {
    let io = server();
    let names = Arc::new(Names::default());
    let observer: Arc<dyn Observer> = names.clone();
    assert!(io.hub().observe(Arc::downgrade(&observer)));
    assert!(!io.hub().observe(Arc::downgrade(&observer)));
    for name in ["/chat", "chat", "/", "/news"] {
        drop(io.of(name));
    }
    assert_eq!(*names.0.lock().unwrap(), ["/chat".into(), "/news".into()]);
    let mut all = io.hub().namespaces();
    all.sort();
    assert_eq!(all, ["/".into(), "/chat".into(), "/news".into()]);
}
