//! Asking many clients at once, and asking which sockets there are.

use futures_util::StreamExt;

use super::*;
use crate::hub::{AckError, BroadcastAckError, Dispatch, FetchError, Missing, Query, Scope, Socket, Target};

fn missing(sockets: usize) -> Missing {
    Missing {
        sockets,
        ..Missing::default()
    }
}

#[tokio::test(start_paused = true)]
async fn every_client_is_asked_under_one_id_and_its_first_argument_counts() {
    let io = server();
    let (mut a, _) = Peer::joined(&io);
    let (mut b, _) = Peer::joined(&io);
    let (c, c_id) = Peer::joined(&io);
    let begun = tokio::time::Instant::now();
    let answers = io.except(c_id).timeout(LONG).emit_with_ack::<u8>("n", &1);
    assert_eq!(
        (a.got(), b.got(), c.got()),
        (vec![r#"20["n",1]"#.to_owned()], vec![r#"20["n",1]"#.to_owned()], vec![])
    );
    assert_eq!(a.send(r#"30[7,"more"]"#), Flow::Continue);
    assert_eq!(a.send(r#"30[8]"#), Flow::Continue, "a second answer is ignored");
    assert_eq!(b.send("30[9]"), Flow::Continue);
    let mut answers = answers.await.unwrap();
    answers.sort_unstable();
    assert_eq!((answers, begun.elapsed()), (vec![7, 9], Duration::ZERO));
    let counters = io.hub().counters();
    assert_eq!((counters.acks_in.get(), counters.acks_unknown.get()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_is_not_waited_for() {
    let io = server();
    let (mut a, _) = Peer::joined(&io);
    let (b, _) = Peer::joined(&io);
    let answers = io.timeout(LONG).emit_with_ack::<u8>("n", &());
    assert_eq!(a.send("30[1]"), Flow::Continue);
    let begun = tokio::time::Instant::now();
    let waiting = tokio::spawn(answers.into_future());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!waiting.is_finished());
    b.close(CloseReason::TransportClose);
    assert_eq!(waiting.await.unwrap().unwrap(), [1]);
    assert_eq!(begun.elapsed(), Duration::from_secs(1), "at once, not at the timeout");
    let nobody = io.of("/empty").emit_with_ack::<u8>("n", &()).await.unwrap();
    assert!(nobody.is_empty(), "nobody is there to answer");
}

#[tokio::test(start_paused = true)]
async fn a_timeout_gives_what_has_come_and_says_how_many_are_missing() {
    let io = server();
    let (mut a, _) = Peer::joined(&io);
    let (mut b, _) = Peer::joined(&io);
    let (mut c, _) = Peer::joined(&io);
    let begun = tokio::time::Instant::now();
    let answers = io.emit_with_ack::<u8>("n", &());
    assert_eq!(a.send("30[1]"), Flow::Continue);
    assert_eq!(b.send(r#"30["no number"]"#), Flow::Continue);
    let error = answers.await.unwrap_err();
    assert_eq!(begun.elapsed(), Duration::from_secs(10), "the default of acks, not a millisecond");
    let text = "operation has timed out: 1 sockets did not answer in time, 1 answers cannot be decoded";
    assert_eq!(error.to_string(), text);
    assert!(matches!(
        error,
        BroadcastAckError::Partial { answers, missing: lacking, unreadable: 1 } if answers == [1] && lacking == missing(1)
    ));
    assert_eq!(c.send("30[1]"), Flow::Continue, "too late");
    let counters = io.hub().counters();
    assert_eq!((counters.acks_timed_out.get(), counters.acks_unknown.get()), (1, 1));
    assert!(matches!(
        io.emit_with_ack::<u8>("connect", &()).await,
        Err(BroadcastAckError::Emit(_))
    ));
}

#[tokio::test(start_paused = true)]
async fn answers_can_be_taken_as_they_come_and_are_forgotten_with_the_request() {
    let io = server();
    let (mut a, _) = Peer::joined(&io);
    let (mut b, _) = Peer::joined(&io);
    let mut answers = io.timeout(LONG).emit_with_ack::<u8>("n", &()).stream().unwrap();
    assert_eq!(answers.missing(), missing(2));
    assert_eq!(a.send("30[1]"), Flow::Continue);
    assert_eq!(answers.next().await.unwrap().unwrap(), 1);
    assert_eq!(answers.missing(), missing(1));
    drop(answers);
    assert_eq!(b.send("30[2]"), Flow::Continue);
    assert_eq!(io.hub().counters().acks_unknown.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn answers_that_nobody_takes_are_bounded() {
    let io = server_with(Config {
        ack_bytes: 1000,
        ..Config::default()
    });
    let (mut a, _) = Peer::joined(&io);
    let (mut b, _) = Peer::joined(&io);
    let answers = io.emit_with_ack::<String>("n", &());
    let long = "x".repeat(600);
    for peer in [&mut a, &mut b] {
        assert_eq!(peer.send(&format!(r#"30["{long}"]"#)), Flow::Continue);
    }
    let Err(BroadcastAckError::Partial {
        answers, missing: lacking, ..
    }) = answers.await
    else {
        panic!("one answer is too much")
    };
    assert_eq!((answers, lacking), (vec![long], missing(1)));
}

#[tokio::test]
async fn sockets_are_told_with_handshake_rooms_and_data() {
    let io = server();
    io.sockets()
        .on_connect(async |socket: Socket| {
            socket.set_data(&7).unwrap();
            socket.join("room").unwrap();
        })
        .unwrap();
    let mut peer = Peer::open(&io);
    let id = peer.join(r#"0{"token":1}"#);
    let (other, other_id) = Peer::joined(&io);
    quiet(&io).await;
    let found = io.to(id.clone()).fetch_sockets().await.unwrap();
    let [socket] = &*found else { panic!("{found:?}") };
    assert_eq!((&**socket.id(), socket.rooms()), (&*id, &[id.as_str().into(), "room".into()][..]));
    assert_eq!((socket.data::<u8>().unwrap(), &socket.handshake().auth["token"]), (7, &1.into()));
    assert_eq!(
        (&*socket.handshake().url, &*socket.handshake().headers["host"]),
        ("/socket.io/?EIO=4", "localhost")
    );
    assert_eq!(io.to("room").all_sockets().await.unwrap().len(), 2);
    assert_eq!((io.sockets().count(), io.sockets().rooms()["room"]), (2, 2));

    socket.leave("room");
    socket.join("elsewhere");
    assert_eq!(
        io.sockets().rooms().into_iter().collect::<Vec<_>>(),
        [("elsewhere".into(), 1), ("room".into(), 1)]
    );
    socket.emit("e", &1).unwrap();
    let answer = socket.timeout(LONG).emit_with_ack::<(u8, u8)>("ask", &());
    assert_eq!(peer.got(), [r#"2["e",1]"#, r#"20["ask"]"#]);
    assert_eq!(peer.send("30[1,2]"), Flow::Continue);
    assert_eq!(answer.await.unwrap(), (1, 2), "one answer, with all its arguments");
    let unanswered = socket.timeout(LONG).emit_with_ack::<()>("ask", &());
    socket.disconnect(false);
    assert!(matches!(unanswered.await, Err(AckError::Disconnected)));
    assert_eq!(io.all_sockets().await.unwrap().into_iter().collect::<Vec<_>>(), [other_id.into()]);
    drop(other);
}

/// A node that has another one beside it, which cannot be asked.
#[derive(Debug)]
struct Beside(Arc<Hub>);

impl Dispatch for Beside {
    fn dispatch(&self, command: crate::hub::Command, scope: Scope) -> Result<(), crate::hub::NotDispatched> {
        self.0.dispatch(command, scope)
    }

    fn request(&self, query: Query, scope: Scope, deadline: std::time::Instant) -> crate::hub::Replies {
        let replies = self.0.request(query, Scope::Local, deadline);
        replies.without((scope == Scope::Cluster).then(|| "two".into()))
    }
}

#[tokio::test]
async fn a_part_is_not_taken_for_the_whole() {
    let hub = server().hub().clone();
    let io = Io::new(Arc::clone(&hub), Arc::new(Beside(hub)));
    let (mut peer, _) = Peer::joined(&io);
    let answers = io.emit_with_ack::<u8>("n", &());
    assert_eq!(peer.send("30[1]"), Flow::Continue);
    let text = "operation has timed out: 0 sockets did not answer in time, nodes that were not heard: two, 0 answers cannot be decoded";
    let error = answers.await.unwrap_err();
    assert_eq!(error.to_string(), text);
    assert!(matches!(error, BroadcastAckError::Partial { answers, .. } if answers == [1]));
    assert!(matches!(io.fetch_sockets().await, Err(FetchError::Partial { sockets, .. }) if sockets.len() == 1));
    assert_eq!(
        io.local().fetch_sockets().await.unwrap().len(),
        1,
        "who asks this node alone gets all"
    );

    let query = Query::Sockets {
        target: Target::namespace("/nowhere".into()),
    };
    let mut replies = io.hub().request(query, Scope::Cluster, std::time::Instant::now());
    assert!(replies.next().await.is_none());
    assert!(replies.missing().is_none());
}
