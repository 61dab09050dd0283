//! Every operation that changes something or sends something, on sockets of all nodes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use fanfare::hub::{Data, EmitError, Io, Raw, Socket};
use futures_util::future::join_all;
use serde_bytes::ByteBuf;

use super::{Bus, Cluster, over_every_bus};
use crate::dsl::{Dialect, Polling, application, request, within};

over_every_bus!(everything_reaches_the_sockets_of_all_nodes);
over_every_bus!(what_a_socket_sends_reaches_the_others);
over_every_bus!(flags_hold_on_all_nodes);

pub(super) const READY: &str = r#"42["ready"]"#;

/// Client `n` and `n + 3` are on node `n`, in the rooms `all`, `node n` and `first` or `second`; who comes later is in `third`.
pub(super) fn register(number: usize, io: &Io) {
    application(io);
    let count = Arc::new(AtomicUsize::new(0));
    io.sockets()
        .on_connect(move |socket: Socket| {
            let nth = count.fetch_add(1, Ordering::Relaxed);
            async move {
                socket.set_data(&(number, nth)).unwrap();
                let which = ["first", "second", "third"][nth.min(2)];
                socket.join(["all", &format!("node {number}"), which]).unwrap().await;
                socket.emit("ready", &())
            }
        })
        .unwrap()
        .on("tell", tell)
        .unwrap()
        .on("tell here", async |socket: Socket| socket.local().emit("e", &"here"))
        .unwrap();
}

/// To the others in these rooms that are in none of those.
async fn tell(socket: Socket, Data((rooms, except)): Data<(Vec<String>, Vec<String>)>, event: Raw) -> Result<(), EmitError> {
    socket.to(rooms).except(except).emit_payload(event.payload().clone())
}

async fn everything_reaches_the_sockets_of_all_nodes(bus: Bus, dialect: Dialect) {
    let mut cluster = Cluster::start(bus, dialect, register, READY).await;
    let io = cluster.io(0).clone();
    io.emit("e", &"everybody").unwrap();
    cluster.hear(0..6, r#"42["e","everybody"]"#).await;
    io.send(&("a", 1)).unwrap();
    cluster.hear(0..6, r#"42["message","a",1]"#).await;
    io.to("node 1").emit("e", &"a room").unwrap();
    io.to(["node 1", "second", "all"]).except("node 2").emit("e", &"once").unwrap();
    io.except(["first", "node 0"]).emit("e", &"the rest").unwrap();
    io.local().emit("e", &"here").unwrap();
    io.emit("file", &("x", ByteBuf::from(vec![0, 255]))).unwrap();
    cluster.hear([1, 4], r#"42["e","a room"]"#).await;
    cluster.hear([0, 1, 3, 4], r#"42["e","once"]"#).await;
    cluster.hear([4, 5], r#"42["e","the rest"]"#).await;
    cluster.hear([0, 3], r#"42["e","here"]"#).await;
    cluster
        .hear_file(0..6, r#"451-["file","x",{"_placeholder":true,"num":0}]"#, &[0, 255])
        .await;

    // What one caller does is done in that order.
    io.to("first").sockets_join(["new", "other"]);
    io.to("new").emit("e", &"joined").unwrap();
    io.to("node 2").sockets_leave("new");
    io.to("new").emit("e", &"left").unwrap();
    cluster.hear(0..3, r#"42["e","joined"]"#).await;
    cluster.hear(0..2, r#"42["e","left"]"#).await;

    // Who leaves the namespace may come again; who loses the connection may not.
    io.to("node 1").except("first").disconnect_sockets(false);
    cluster.hear([4], "41").await;
    let before = cluster.clients[4].id().to_owned();
    cluster.clients[4].enter().await;
    assert_ne!(cluster.clients[4].id(), before);
    cluster.hear([4], READY).await;
    io.in_("other").except("node 0").disconnect_sockets(true);
    for client in [1, 2] {
        assert_eq!(cluster.clients[client].text().await, "41");
        assert_eq!(cluster.clients[client].closed().await, 1005);
    }
    io.emit("e", &"who is left").unwrap();
    cluster.hear([0, 3, 4, 5], r#"42["e","who is left"]"#).await;
    cluster.stop().await;
}

async fn what_a_socket_sends_reaches_the_others(bus: Bus, dialect: Dialect) {
    let mut cluster = Cluster::start(bus, dialect, register, READY).await;
    let others = r#"42["others","all but me",{"a":[1.5,null]}]"#;
    cluster.clients[4].send(others).await;
    cluster.hear([0, 1, 2, 3, 5], others).await;
    let everyone = r#"42["everyone","me too"]"#;
    cluster.clients[0].send(everyone).await;
    cluster.hear(0..6, everyone).await;
    let file = r#"451-["others",{"_placeholder":true,"num":0},"x"]"#;
    cluster.clients[2].send_with(file, &[&[0, 255, 7]]).await;
    cluster.hear_file([0, 1, 3, 4, 5], file, &[0, 255, 7]).await;

    let tell = r#"42["tell",[["node 0","second"],["node 2"]]]"#;
    cluster.clients[3].send(tell).await;
    cluster.hear([0, 4], tell).await;
    let private = format!(r#"42["tell",[["{}"],[]]]"#, cluster.clients[1].id());
    cluster.clients[5].send(&private).await;
    cluster.hear([1], &private).await;
    cluster.clients[5].send(r#"42["tell here"]"#).await;
    cluster.hear([2], r#"42["e","here"]"#).await;

    // Had anybody got what was not for them, it would come before this.
    let io = cluster.io(1).clone();
    io.emit("e", &"the last").unwrap();
    cluster.hear(0..6, r#"42["e","the last"]"#).await;
    cluster.stop().await;
}

/// What a client can tell of flags, on other nodes than that of the sender too: who does not listen gets no volatile event, and the answer
/// to a poll is packed for the sake of events that may be.
async fn flags_hold_on_all_nodes(bus: Bus, dialect: Dialect) {
    let cluster = Cluster::start(bus, dialect, register, READY).await;
    let io = cluster.io(0).clone();
    let mut pollers = Vec::new();
    for node in &cluster.nodes {
        let poller = Polling::open(node.public_addr()).await;
        poller.send(&dialect.polled("40")).await;
        assert_eq!(dialect.read_poll(&poller.receive_some(2).await[1]), READY);
        pollers.push(poller);
    }
    let receive = async |poller: &Polling| {
        let packets = poller.receive().await.into_iter();
        packets.map(|packet| dialect.read_poll(&packet)).collect::<Vec<_>>()
    };

    // Nobody polls.
    io.to("third").volatile().emit("e", &"lost").unwrap();
    for node in &cluster.nodes {
        within("the event to be dropped", async {
            while node.io().hub().counters().volatile_dropped.get() == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
    io.to("third").emit("e", &"kept").unwrap();
    for poller in &pollers {
        assert_eq!(receive(poller).await, [r#"42["e","kept"]"#]);
    }
    // Somebody polls, sooner or later.
    let heard = join_all(pollers.iter().map(receive));
    let emitted = async {
        loop {
            io.to("third").volatile().emit("e", &"here").unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let heard = tokio::select! {
        heard = within("the polls to be answered", heard) => heard,
        () = emitted => unreachable!("it does not end"),
    };
    // One that is answered late has several.
    let all_here = |packets: &Vec<String>| !packets.is_empty() && packets.iter().all(|packet| packet == r#"42["e","here"]"#);
    assert!(heard.iter().all(all_here), "{heard:?}");
    // What was on its way then may find the next poll.
    io.to("third").emit("e", &"enough").unwrap();
    for poller in &pollers {
        within("what was on its way", async {
            while receive(poller).await.last().is_none_or(|packet| packet != r#"42["e","enough"]"#) {}
        })
        .await;
    }

    let picture = "x".repeat(5000);
    for (compress, coding) in [(false, None), (true, Some("gzip"))] {
        io.compress(compress).emit("e", &picture).unwrap();
        for (poller, node) in pollers.iter().zip(&cluster.nodes) {
            let answer = request(node.public_addr(), "GET", &poller.target(), &["Accept-Encoding: gzip"], b"").await;
            assert_eq!(answer.header("content-encoding"), coding);
        }
    }
    for poller in &pollers {
        poller.send("1").await;
    }
    cluster.stop().await;
}
