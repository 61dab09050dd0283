//! Every question to the sockets, clients and applications of all nodes.

use std::{collections::BTreeSet, time::Duration};

use fanfare::hub::{BroadcastAckError, Io, RemoteSocket, ServerEvent};
use tokio::time::Instant;

use super::{
    Bus, Cluster,
    operations::{READY, register},
    over_every_bus,
};
use crate::dsl::Dialect;

over_every_bus!(sockets_of_all_nodes_are_known);
over_every_bus!(clients_of_all_nodes_answer);
over_every_bus!(applications_of_all_nodes_answer);

async fn sockets_of_all_nodes_are_known(bus: Bus, dialect: Dialect) {
    let mut cluster = Cluster::start(bus, dialect, register, READY).await;
    let io = cluster.io(0).clone();
    let found = io.fetch_sockets().await.unwrap();
    assert_eq!(found.len(), 6);
    for (number, client) in cluster.clients.iter().enumerate() {
        let socket = of(&found, client.id());
        let (node, nth) = (number % 3, number / 3);
        assert_eq!(socket.data::<(usize, usize)>().unwrap(), (node, nth));
        let rooms: BTreeSet<_> = socket.rooms().iter().map(|room| &**room).collect();
        let which = if nth == 0 { "first" } else { "second" };
        assert_eq!(rooms, [client.id(), "all", &*format!("node {node}"), which].into());
        let handshake = socket.handshake();
        assert_eq!(handshake.headers["host"], cluster.nodes[node].public_addr().to_string());
        assert_eq!((&*handshake.address, &*handshake.query["transport"]), ("127.0.0.1", "websocket"));
    }
    let few = io.to(["node 1", "second"]).except("node 0").fetch_sockets().await.unwrap();
    let few: BTreeSet<_> = few.iter().map(|socket| &**socket.id()).collect();
    assert_eq!(few, [1, 4, 5].map(|client| cluster.clients[client].id()).into());
    assert_eq!(io.local().all_sockets().await.unwrap().len(), 2);
    assert_eq!(io.count_sockets().await, Ok(6));
    assert_eq!(io.to("second").except("node 1").count_sockets().await, Ok(2));
    let rooms = io.fetch_rooms().await.unwrap();
    let rooms: Vec<_> = rooms.iter().map(|(room, count)| (&**room, *count)).collect();
    assert_eq!(
        rooms,
        [("all", 6), ("first", 3), ("node 0", 2), ("node 1", 2), ("node 2", 2), ("second", 3)]
    );

    // One that was found is reached where it is.
    let far = of(&found, cluster.clients[5].id()).clone();
    far.emit("e", &"you").unwrap();
    far.join("new");
    io.to("new").emit("e", &"new").unwrap();
    cluster.hear([5], r#"42["e","you"]"#).await;
    cluster.hear([5], r#"42["e","new"]"#).await;
    assert_eq!(io.to("new").all_sockets().await.unwrap(), [far.id().clone()].into());
    far.leave("new");
    assert_eq!(io.to("new").count_sockets().await, Ok(0));
    let answer = far.emit_with_ack::<String>("well?", &());
    cluster.answer(5, "well?", r#""well""#).await;
    assert_eq!(answer.await.unwrap(), "well");
    far.disconnect(true);
    cluster.hear([5], "41").await;
    assert_eq!(cluster.clients[5].closed().await, 1005);
    assert_eq!(io.count_sockets().await, Ok(5));
    cluster.stop().await;
}

fn of<'a>(found: &'a [RemoteSocket], id: &str) -> &'a RemoteSocket {
    found.iter().find(|socket| &**socket.id() == id).unwrap()
}

async fn clients_of_all_nodes_answer(bus: Bus, dialect: Dialect) {
    let mut cluster = Cluster::start(bus, dialect, register, READY).await;
    let io = cluster.io(0).clone();
    let votes = io.to("all").except("node 1").emit_with_ack::<usize>("vote", &(1, "two"));
    for client in [5, 0, 3, 2] {
        cluster.answer(client, r#"vote",1,"two"#, &client.to_string()).await;
    }
    let mut votes = votes.await.unwrap();
    votes.sort_unstable();
    assert_eq!(votes, [0, 2, 3, 5]);

    // One that goes is not waited for.
    let found = io.fetch_sockets().await.unwrap();
    let votes = io.to("first").emit_with_ack::<String>("vote", &());
    for client in 0..2 {
        cluster.answer(client, "vote", &format!(r#""{client}""#)).await;
    }
    of(&found, cluster.clients[2].id()).disconnect(true);
    let mut votes = votes.await.unwrap();
    votes.sort_unstable();
    assert_eq!(votes, ["0", "1"]);

    // One that is silent is, as long as was said, and counted.
    let start = Instant::now();
    let timeout = Duration::from_millis(700);
    let votes = io.to("second").timeout(timeout).emit_with_ack::<u8>("vote", &());
    for client in [3, 5] {
        cluster.answer(client, "vote", "7").await;
    }
    match votes.await {
        Err(BroadcastAckError::Partial { answers, missing, .. }) => {
            assert_eq!((answers, missing.sockets, missing.nodes), (vec![7, 7], 1, vec![]));
        }
        other => panic!("{other:?}"),
    }
    // By default it is ten seconds.
    assert!(
        start.elapsed() >= timeout && start.elapsed() < Duration::from_secs(8),
        "{:?}",
        start.elapsed()
    );
    cluster.stop().await;
}

async fn applications_of_all_nodes_answer(bus: Bus, dialect: Dialect) {
    let register = |number: usize, io: &Io| {
        register(number, io);
        let local = io.local();
        io.sockets()
            .on_server_event("where?", move |event: ServerEvent| {
                let answered = event.arg::<String>(0).map(|from| format!("{from} {number}"));
                async move { event.answer(&answered.unwrap()).unwrap() }
            })
            .unwrap()
            .on_server_event("news", move |event: ServerEvent| {
                assert!(!event.is_asked());
                local.clone().emit("e", &(event.arg::<String>(0).unwrap(), number)).unwrap();
                async {}
            })
            .unwrap();
    };
    let mut cluster = Cluster::start(bus, dialect, register, READY).await;
    for from in 0..3 {
        let io = cluster.io(from).clone();
        let others = [0, 1, 2].into_iter().filter(|node| *node != from);
        let mut answers = io.server_side_emit_with_ack::<String>("where?", &"from").await.unwrap();
        answers.sort_unstable();
        assert!(answers.into_iter().eq(others.clone().map(|node| format!("from {node}"))));
        io.server_side_emit("news", &format!("of {from}")).unwrap();
        for node in others {
            cluster.hear([node, node + 3], &format!(r#"42["e","of {from}",{node}]"#)).await;
        }
    }
    // Had the sender been told, too, that would come before this.
    cluster.io(0).emit("e", &"the last").unwrap();
    cluster.hear(0..6, r#"42["e","the last"]"#).await;
    cluster.stop().await;
}

impl Cluster {
    /// The client is asked this next, and answers.
    async fn answer(&mut self, client: usize, question: &str, with: &str) {
        let packet = self.clients[client].text().await;
        let id = packet
            .strip_prefix("42")
            .and_then(|rest| rest.strip_suffix(&format!(r#"["{question}"]"#)));
        let id = id.unwrap_or_else(|| panic!("client {client}: {packet}"));
        let answer = format!("43{id}[{with}]");
        self.clients[client].send(&answer).await;
    }
}
