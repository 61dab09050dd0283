//! Namespaces that clients bring about.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use tokio::sync::Notify;

use super::*;
use crate::hub::{BroadcastAckError, ConnectError, DisconnectReason, FetchError, Observer, Socket, State};

fn cleaning() -> Io {
    server_with(Config {
        cleanup_empty_child_namespaces: true,
        ..Config::default()
    })
}

/// Connects to a namespace that has to be decided about; gives the answer.
async fn ask(io: &Io, peer: &mut Peer, packet: &str) -> String {
    assert_eq!(peer.send(packet), Flow::Continue);
    quiet(io).await;
    peer.got().pop().expect("an answer")
}

#[tokio::test]
async fn parents_are_asked_in_order_and_the_first_yes_counts() {
    let (io, log) = logging();
    let noted = Arc::clone(&log);
    io.of_dynamic(move |name, auth: Value| {
        noted.add(format_args!("first {name} {auth}"));
        async move {
            tokio::task::yield_now().await;
            auth["token"] == 1
        }
    })
    .on("who", async |socket: Socket| socket.emit("first", socket.namespace()))
    .unwrap();
    io.of_pattern("/b*")
        .on("who", async |socket: Socket| socket.emit("second", &()))
        .unwrap();
    let mut peer = Peer::open(&io);
    assert!(ask(&io, &mut peer, r#"0/a,{"token":1}"#).await.starts_with(r#"0/a,{"sid":"#));
    assert!(ask(&io, &mut peer, "0/b,").await.starts_with(r#"0/b,{"sid":"#));
    assert_eq!(ask(&io, &mut peer, "0/c,").await, r#"4/c,{"message":"Invalid namespace"}"#);
    assert_eq!(log.take(), [r#"first /a {"token":1}"#, "first /b {}", "first /c {}"]);
    for namespace in ["/a", "/b"] {
        assert_eq!(peer.send(&format!(r#"2{namespace},["who"]"#)), Flow::Continue);
    }
    quiet(&io).await;
    assert_eq!(peer.got(), [r#"2/a,["first","/a"]"#, r#"2/b,["second"]"#]);
    // What exists is joined without asking again.
    let mut other = Peer::open(&io);
    other.join("0/a,");
    assert!(log.take().is_empty());
    assert_eq!(peer.tap.closed(), None, "a refusal keeps the connection");
}

#[tokio::test]
async fn a_child_begins_with_what_its_parent_has_at_that_time() {
    let (io, log) = logging();
    let heard = Arc::clone(&log);
    io.on_new_namespace(move |namespace| heard.add(format_args!("new {} of {}", namespace.name(), namespace.count())));
    let parent = io.of_pattern("/room-*");
    parent
        .with(async |socket: Socket| {
            if socket.namespace().ends_with('9') {
                Err(ConnectError::new("not nine"))
            } else {
                Ok(())
            }
        })
        .unwrap()
        .on_connect(async |socket: Socket, log: State<Log>| log.add(format_args!("connect {}", socket.namespace())))
        .unwrap();
    let (mut a, mut b) = (Peer::open(&io), Peer::open(&io));
    assert!(ask(&io, &mut a, "0/room-1,").await.starts_with("0/room-1,"));
    parent.on("late", async |log: State<Log>| log.add("late")).unwrap();
    assert!(ask(&io, &mut b, "0/room-2,").await.starts_with("0/room-2,"));
    assert_eq!(ask(&io, &mut b, "0/room-9,").await, r#"4/room-9,{"message":"not nine"}"#);
    assert_eq!(a.send(r#"2/room-1,["late"]"#), Flow::Continue);
    assert_eq!(b.send(r#"2/room-2,["late"]"#), Flow::Continue);
    quiet(&io).await;
    let mut log = log.take();
    log.sort();
    let expected = [
        "connect /room-1",
        "connect /room-2",
        "late",
        "new /room-1 of 0",
        "new /room-2 of 0",
        "new /room-9 of 0",
    ];
    assert_eq!(log, expected);
    assert_eq!(parent.children(), ["/room-1".into(), "/room-2".into(), "/room-9".into()]);
}

#[tokio::test(start_paused = true)]
async fn a_parent_sends_to_the_sockets_of_all_its_children() {
    let io = server();
    let parent = io.of_pattern("/t*");
    let (mut a, mut b, mut c) = (Peer::open(&io), Peer::open(&io), Peer::open(&io));
    drop(ask(&io, &mut a, "0/t1,").await);
    drop(ask(&io, &mut b, "0/t2,").await);
    drop(ask(&io, &mut c, "0/t2,").await);
    io.of("/t2").sockets_join("room");
    parent.emit("e", &1).unwrap();
    parent.to("room").emit("r", &()).unwrap();
    assert_eq!(a.got(), [r#"2/t1,["e",1]"#]);
    assert_eq!(b.got(), [r#"2/t2,["e",1]"#, r#"2/t2,["r"]"#]);
    assert_eq!(c.got().len(), 2);
    let votes = parent.emit_with_ack::<u8>("vote", &());
    assert_eq!(a.send("3/t1,0[1]"), Flow::Continue);
    assert_eq!(b.send("3/t2,0[2]"), Flow::Continue);
    let Err(BroadcastAckError::Partial { mut answers, missing, .. }) = votes.await else {
        panic!("one did not answer")
    };
    answers.sort_unstable();
    assert_eq!((answers, missing.sockets), (vec![1, 2], 1));
    assert!(matches!(parent.fetch_sockets().await, Err(FetchError::Parent)));
    parent.disconnect_sockets(false);
    assert_eq!(
        (a.got().pop().unwrap(), b.got().pop().unwrap()),
        ("1/t1,".to_owned(), "1/t2,".to_owned())
    );
}

#[derive(Debug, Default)]
struct Names(Mutex<Vec<String>>);

impl Observer for Names {
    fn namespace_created(&self, name: &Arc<str>) {
        self.0.lock().unwrap().push(format!("+{name}"));
    }

    fn namespace_removed(&self, name: &Arc<str>) {
        self.0.lock().unwrap().push(format!("-{name}"));
    }

    fn room_wanted(&self, _: &Arc<str>, _: &crate::hub::Room) {}

    fn room_unwanted(&self, _: &Arc<str>, _: &crate::hub::Room) {}

    fn settled(&self) -> crate::hub::recovery::Later<()> {
        Box::pin(std::future::ready(()))
    }
}

#[tokio::test]
async fn an_empty_child_goes_if_so_configured_and_may_come_again() {
    let io = cleaning();
    let names = Arc::new(Names::default());
    let observer: Arc<dyn Observer> = names.clone();
    assert!(io.hub().observe(Arc::downgrade(&observer)));
    let parent = io.of_pattern("/c*");
    parent
        .with(async |socket: Socket| {
            if &**socket.namespace() == "/cx" {
                Err(ConnectError::new("no"))
            } else {
                Ok(())
            }
        })
        .unwrap()
        .on_disconnect(async |socket: Socket, reason: DisconnectReason| {
            // It is there as long as its handlers run.
            assert!(socket.io().hub().namespaces().contains(socket.namespace()), "{reason}");
        })
        .unwrap();
    let (mut a, mut b) = (Peer::open(&io), Peer::open(&io));
    drop(ask(&io, &mut a, "0/c1,").await);
    drop(ask(&io, &mut b, "0/c1,").await);
    assert_eq!(a.send("1/c1,"), Flow::Continue);
    quiet(&io).await;
    assert_eq!(io.hub().namespaces().len(), 2, "one is still in it");
    b.close(CloseReason::TransportClose);
    quiet(&io).await;
    assert_eq!(io.hub().namespaces(), ["/".into()]);
    assert!(parent.children().is_empty());
    // One that nobody was let into goes as well.
    assert!(ask(&io, &mut a, "0/cx,").await.starts_with("4/cx,"));
    assert!(ask(&io, &mut a, "0/c1,").await.starts_with("0/c1,"));
    assert_eq!(parent.children(), ["/c1".into()]);
    assert_eq!(*names.0.lock().unwrap(), ["+/c1", "-/c1", "+/cx", "-/cx", "+/c1"]);
    let counters = io.hub().counters();
    assert_eq!((counters.namespaces.get(), counters.handler_panics.get()), (2, 0));
}

#[tokio::test]
async fn the_application_s_own_namespaces_stay_and_so_does_a_child_it_named_first() {
    let io = cleaning();
    let go = Arc::new(Notify::new());
    let waiting = Arc::clone(&go);
    io.of_dynamic(move |_, _| {
        let go = Arc::clone(&waiting);
        async move {
            go.notified().await;
            true
        }
    });
    let mut peer = Peer::open(&io);
    assert_eq!(peer.send("0/mine,"), Flow::Continue);
    // The application names it while the parent thinks.
    let mine = io.of("/mine");
    go.notify_one();
    quiet(&io).await;
    assert_eq!(mine.count(), 1);
    assert_eq!(peer.send("1/mine,"), Flow::Continue);
    quiet(&io).await;
    assert_eq!(io.hub().namespaces().len(), 2);
}

#[tokio::test]
async fn two_clients_who_bring_about_the_same_namespace_meet_in_it() {
    let io = cleaning();
    let decided = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&decided);
    io.of_dynamic(move |_, auth: Value| {
        let decided = Arc::clone(&counted);
        async move {
            tokio::task::yield_now().await;
            decided.fetch_add(1, Ordering::Relaxed);
            auth["ok"] == true
        }
    });
    let (mut a, mut b, mut c) = (Peer::open(&io), Peer::open(&io), Peer::open(&io));
    assert_eq!(a.send(r#"0/x,{"ok":true}"#), Flow::Continue);
    assert_eq!(b.send(r#"0/x,{"ok":true}"#), Flow::Continue);
    assert_eq!(c.send(r#"0/x,{"ok":false}"#), Flow::Continue);
    quiet(&io).await;
    assert_eq!(decided.load(Ordering::Relaxed), 3, "each was asked for its own sake");
    io.of("/x").emit("e", &()).unwrap();
    assert_eq!((a.got().len(), b.got().len()), (2, 2));
    assert_eq!(c.got(), [r#"4/x,{"message":"Invalid namespace"}"#]);
}

#[tokio::test]
async fn a_client_that_goes_while_parents_think_brings_nothing_about() {
    let io = server();
    let go = Arc::new(Notify::new());
    let waiting = Arc::clone(&go);
    let parent = io.of_dynamic(move |_, _| {
        let go = Arc::clone(&waiting);
        async move {
            go.notified().await;
            true
        }
    });
    let mut peer = Peer::open(&io);
    assert_eq!(peer.send("0/x,"), Flow::Continue);
    assert_eq!(
        peer.send("0/x,"),
        Flow::Close(CloseReason::ForcedClose),
        "as with any namespace not joined yet"
    );
    peer.close(CloseReason::ForcedClose);
    go.notify_one();
    quiet(&io).await;
    assert!(parent.children().is_empty());
    assert_eq!(io.hub().namespaces(), ["/".into()]);
}

#[tokio::test]
async fn children_are_bounded_in_number_and_in_their_names_and_a_panic_is_a_no() {
    let io = server_with(Config {
        max_child_namespaces: 2,
        ..Config::default()
    });
    io.of_dynamic(|name, _| {
        assert_ne!(&*name, "/panic", "on purpose");
        async { true }
    });
    let mut peer = Peer::open(&io);
    assert_eq!(ask(&io, &mut peer, "0/panic,").await, r#"4/panic,{"message":"Invalid namespace"}"#);
    let long = "x".repeat(300);
    assert!(
        ask(&io, &mut peer, &format!("0/{long},"))
            .await
            .ends_with(r#"{"message":"Invalid namespace"}"#)
    );
    for name in ["a", "b"] {
        assert!(ask(&io, &mut peer, &format!("0/{name},")).await.contains("sid"));
    }
    assert_eq!(ask(&io, &mut peer, "0/c,").await, r#"4/c,{"message":"Too many namespaces"}"#);
    let counters = io.hub().counters();
    assert_eq!(
        (
            counters.children_refused.get(),
            counters.handler_panics.get(),
            counters.namespaces.get()
        ),
        (1, 1, 3)
    );
}

/// Whoever comes while the last one leaves is either in a namespace that is known by its name, or was not let in.
#[test]
fn a_join_against_the_clean_up_is_never_lost() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let io = {
        let _inside = runtime.enter();
        cleaning()
    };
    io.of_pattern("/x");
    let clients = (0..3).map(|_| {
        let (io, runtime) = (io.clone(), runtime.handle().clone());
        std::thread::spawn(move || {
            let _inside = runtime.enter();
            for _ in 0..300 {
                let mut peer = Peer::open(&io);
                assert_eq!(peer.send("0/x,"), Flow::Continue);
                let answer = loop {
                    if let Some(answer) = peer.got().pop() {
                        break answer;
                    }
                    std::thread::yield_now();
                };
                let id = answer.split('"').nth(3).expect("it is let in").to_owned();
                assert!(io.hub().interested("/x", &[id.into()]), "{answer}");
                peer.close(CloseReason::TransportClose);
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.join().unwrap();
    }
    runtime.block_on(async {
        quiet(&io).await;
        assert_eq!(io.hub().namespaces(), ["/".into()]);
        let hub = Arc::downgrade(io.hub());
        io.hub().close(LONG).await;
        assert_eq!(io.hub().counters().namespaces.get(), 0);
        drop(io);
        assert!(hub.upgrade().is_none(), "somebody still owns the hub");
    });
}
