//! Every operation, on sockets of all nodes.

use std::collections::BTreeSet;

use fanfare::hub::{Io, ServerEvent, Socket};
use serde_bytes::ByteBuf;

use super::{Bus, Cluster, over_every_bus};

over_every_bus!(everything_reaches_the_sockets_of_all_nodes);
over_every_bus!(all_nodes_answer);

const READY: &str = r#"42["ready"]"#;

/// Client `n` and `n + 3` are on node `n`, in the rooms `all`, `node n` and `first` or `second`.
fn register(number: usize, io: &Io) {
    let count = std::sync::atomic::AtomicUsize::new(0);
    let count = std::sync::Arc::new(count);
    io.sockets()
        .on_connect(move |socket: Socket| {
            let nth = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            async move {
                socket.set_data(&(number, nth)).unwrap();
                let which = if nth == 0 { "first" } else { "second" };
                socket.join(["all", &format!("node {number}"), which]).unwrap().await;
                socket.emit("ready", &())
            }
        })
        .unwrap()
        .on("emit", async |socket: Socket| socket.emit("answer", &socket.rooms().len()))
        .unwrap()
        .on_server_event("where?", move |event: ServerEvent| async move { event.answer(&number).unwrap() })
        .unwrap();
}

async fn everything_reaches_the_sockets_of_all_nodes(bus: Bus) {
    let mut cluster = Cluster::start(bus, register, READY).await;
    let io = cluster.io(0).clone();
    io.emit("e", &"everybody").unwrap();
    cluster.hear(0..6, r#"42["e","everybody"]"#).await;
    io.to("node 1").emit("e", &"a room").unwrap();
    io.to(["node 1", "second", "all"]).except("node 2").emit("e", &"once").unwrap();
    io.except(["first", "node 0"]).compress(false).emit("e", &"the rest").unwrap();
    io.local().emit("e", &"here").unwrap();
    io.emit("file", &("x", ByteBuf::from(vec![0, 255]))).unwrap();
    cluster.hear([1, 4], r#"42["e","a room"]"#).await;
    cluster.hear([0, 1, 3, 4], r#"42["e","once"]"#).await;
    cluster.hear([4, 5], r#"42["e","the rest"]"#).await;
    cluster.hear([0, 3], r#"42["e","here"]"#).await;
    for client in 0..6 {
        cluster.hear([client], r#"451-["file","x",{"_placeholder":true,"num":0}]"#).await;
        assert_eq!(cluster.clients[client].binary().await, [0, 255]);
    }

    // What one caller does is done in that order.
    io.to("first").sockets_join(["new", "other"]);
    io.to("new").emit("e", &"joined").unwrap();
    io.to("node 2").sockets_leave("new");
    io.to("new").emit("e", &"left").unwrap();
    cluster.hear(0..3, r#"42["e","joined"]"#).await;
    cluster.hear(0..2, r#"42["e","left"]"#).await;
    io.in_("other").except("node 0").disconnect_sockets(true);
    for client in [1, 2] {
        assert_eq!(cluster.clients[client].text().await, "41");
        assert_eq!(cluster.clients[client].closed().await, 1005);
    }
    io.emit("e", &"who is left").unwrap();
    cluster.hear([0, 3, 4, 5], r#"42["e","who is left"]"#).await;
    cluster.stop().await;
}

async fn all_nodes_answer(bus: Bus) {
    let mut cluster = Cluster::start(bus, register, READY).await;
    let io = cluster.io(0).clone();
    let found = io.fetch_sockets().await.unwrap();
    let data: BTreeSet<(usize, usize)> = found.iter().map(|socket| socket.data().unwrap()).collect();
    assert_eq!(data, (0..3).flat_map(|node| [(node, 0), (node, 1)]).collect());
    for socket in &found {
        let (node, _) = socket.data::<(usize, usize)>().unwrap();
        assert!(socket.rooms().contains(&format!("node {node}").as_str().into()) && socket.rooms().len() == 4);
        assert!(socket.handshake().headers.contains_key("host"));
    }
    assert_eq!(io.to("second").except("node 1").count_sockets().await, Ok(2));
    assert_eq!(io.fetch_rooms().await.unwrap()["all"], 6);
    let mut answers = io.server_side_emit_with_ack::<usize>("where?", &()).await.unwrap();
    answers.sort_unstable();
    assert_eq!(answers, [1, 2]);

    // Clients of all nodes answer, and one that goes is not waited for.
    let far = found
        .iter()
        .find(|socket| socket.data::<(usize, usize)>().unwrap() == (2, 0))
        .unwrap()
        .clone();
    let votes = io.to("first").emit_with_ack::<String>("vote", &());
    for client in 0..3 {
        let packet = cluster.clients[client].text().await;
        let id = packet.strip_prefix("42").unwrap().strip_suffix(r#"["vote"]"#).unwrap().to_owned();
        if client == 2 {
            far.disconnect(true);
        } else {
            cluster.clients[client].send(&format!(r#"43{id}["{client}"]"#)).await;
        }
    }
    let mut votes = votes.await.unwrap();
    votes.sort_unstable();
    assert_eq!(votes, ["0", "1"]);
    assert_eq!(io.count_sockets().await, Ok(5));
    cluster.stop().await;
}
