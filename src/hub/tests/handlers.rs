//! Events, their handlers and their arguments.

use super::*;
use crate::hub::{Ack, Args, Data, DisconnectReason, EmitError, Raw, Rejection, Socket, State};
use crate::protocol::socketio::EncodeError;

#[tokio::test]
async fn events_of_one_socket_run_in_order_each_after_the_one_before() {
    let (io, log) = logging();
    io.sockets()
        .on_connect(async |log: State<Log>| {
            tokio::task::yield_now().await;
            log.add("connect");
        })
        .unwrap()
        .on("n", async |Data(n): Data<u32>, log: State<Log>| {
            log.add(format_args!("begin {n}"));
            tokio::task::yield_now().await;
            log.add(format_args!("end {n}"));
        })
        .unwrap()
        .on_disconnect(async |reason: DisconnectReason, log: State<Log>| log.add(reason))
        .unwrap();
    let (mut peer, _) = Peer::joined(&io);
    for n in 0..3 {
        assert_eq!(peer.send(&format!(r#"2["n",{n}]"#)), Flow::Continue);
    }
    peer.close(CloseReason::PingTimeout);
    quiet(&io).await;
    let expected = [
        "connect",
        "begin 0",
        "end 0",
        "begin 1",
        "end 1",
        "begin 2",
        "end 2",
        "ping timeout",
    ];
    assert_eq!(log.take(), expected);
}

#[tokio::test]
async fn extractors_read_what_they_name() {
    let (io, log) = logging();
    io.sockets()
        .on("args", async |Args((a, b)): Args<(i64, String)>, log: State<Log>| {
            log.add(format_args!("{a} {b}"))
        })
        .unwrap()
        .on("bin", async |Data(bytes): Data<Bytes>, log: State<Log>| {
            log.add(format_args!("{bytes:?}"))
        })
        .unwrap()
        .on("raw", async |raw: Raw, log: State<Log>| {
            log.add(format_args!("{} {}", raw.event(), raw.arguments().json()))
        })
        .unwrap()
        .on("either", async |data: Result<Data<u8>, Rejection>, log: State<Log>| {
            log.add(data.is_ok())
        })
        .unwrap();
    let (mut peer, _) = Peer::joined(&io);
    for packet in [r#"2["args",7,"seven","more"]"#, r#"51-["bin",{"_placeholder":true,"num":0}]"#] {
        assert_eq!(peer.send(packet), Flow::Continue);
    }
    assert_eq!(peer.send_binary(b"\x01\x02"), Flow::Continue);
    for packet in [r#"2["raw",1,{"a":[]}]"#, r#"2["either",300]"#, r#"2["args"]"#, r#"2["nobody"]"#] {
        assert_eq!(peer.send(packet), Flow::Continue);
    }
    quiet(&io).await;
    assert_eq!(log.take(), ["7 seven", r#"b"\x01\x02""#, r#"raw [1,{"a":[]}]"#, "false"]);
    let counters = io.hub().counters();
    assert_eq!(
        (
            counters.events_in.get(),
            counters.events_rejected.get(),
            counters.events_unhandled.get()
        ),
        (6, 1, 1)
    );
}

#[tokio::test]
async fn a_panic_or_an_error_costs_its_own_event_only() {
    let (io, log) = logging();
    io.sockets()
        .on("panic", async |socket: Socket| {
            if socket.is_connected() {
                panic!("on purpose");
            }
        })
        .unwrap()
        .on("panic at once", |_: Socket| -> std::future::Ready<()> { panic!("on purpose") })
        .unwrap()
        .on("fail", async || Err::<(), _>("on purpose"))
        .unwrap()
        .on("fine", async |log: State<Log>| log.add("fine"))
        .unwrap();
    let (mut peer, _) = Peer::joined(&io);
    for event in ["panic", "panic at once", "fail", "fine"] {
        assert_eq!(peer.send(&format!(r#"2["{event}"]"#)), Flow::Continue);
    }
    quiet(&io).await;
    assert_eq!(log.take(), ["fine"]);
    assert_eq!(
        (io.hub().counters().handler_panics.get(), io.hub().counters().handler_errors.get()),
        (2, 1)
    );
}

#[tokio::test]
async fn a_sockets_own_handler_takes_the_place_of_the_namespaces() {
    let (io, log) = logging();
    io.sockets()
        .on_connect(async |socket: Socket| socket.on("a", async |log: State<Log>| log.add("own")).map(|_| ()))
        .unwrap()
        .on("a", async |log: State<Log>| log.add("namespace"))
        .unwrap()
        .on("b", async |log: State<Log>| log.add("namespace"))
        .unwrap();
    let (mut peer, _) = Peer::joined(&io);
    assert_eq!(peer.send(r#"2["a"]"#), Flow::Continue);
    assert_eq!(peer.send(r#"2["b"]"#), Flow::Continue);
    quiet(&io).await;
    assert_eq!(log.take(), ["own", "namespace"]);
}

#[tokio::test]
async fn acks_of_the_server_bear_the_clients_id_and_are_sent_once() {
    let io = server();
    io.of("/n")
        .on("double", async |Data(n): Data<u32>, ack: Ack| ack.send(&(n * 2)))
        .unwrap()
        .on("echo", async |raw: Raw, first: Ack, second: Ack| {
            first.send_payload(&raw.arguments());
            assert!(!second.is_wanted());
            second.send(&"again")
        })
        .unwrap()
        .on("silent", async |ack: Ack| drop(ack))
        .unwrap();
    let mut peer = Peer::open(&io);
    peer.join("0/n,");
    for packet in [
        r#"2/n,17["double",21]"#,
        r#"2/n,18["echo",1,"two"]"#,
        r#"2/n,19["silent"]"#,
        r#"2/n,["double",1]"#,
        r#"51-/n,20["echo",{"_placeholder":true,"num":0}]"#,
    ] {
        assert_eq!(peer.send(packet), Flow::Continue);
    }
    assert_eq!(peer.send_binary(b"bytes"), Flow::Continue);
    quiet(&io).await;
    assert_eq!(
        peer.got(),
        ["3/n,17[42]", r#"3/n,18[1,"two"]"#, r#"61-/n,20[{"_placeholder":true,"num":0}]"#]
    );
}

#[tokio::test]
async fn emitting_a_reserved_name_is_an_error() {
    let io = server();
    assert!(matches!(
        io.emit("disconnect", &()),
        Err(EmitError::Encode(EncodeError::Reserved(_)))
    ));
    assert!(io.send(&"fine").is_ok());
}
