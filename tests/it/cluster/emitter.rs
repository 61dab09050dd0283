//! A process that is no node emits to the sockets of all nodes.

use std::time::Duration;

use fanfare::{
    cluster::{Config, Emitter, EmitterError, Secret},
    hub::Io,
};

use super::{Bus, Cluster, over_every_bus};
use crate::dsl::{Dialect, fanfare, metric, within};

over_every_bus!(sockets_of_all_nodes_are_reached);

fn register(number: usize, io: &Io) {
    io.sockets()
        .on_connect(move |socket: fanfare::hub::Socket| async move {
            socket.join(format!("node {number}")).unwrap().await;
            socket.emit("ready", &())
        })
        .unwrap();
}

async fn sockets_of_all_nodes_are_reached(bus: Bus, dialect: Dialect) {
    let adapter = bus.adapter();
    let stranger = bus.adapter();
    let mut cluster = Cluster::start(bus, dialect, register, r#"42["ready"]"#).await;
    let mut emitter = Emitter::new(Config::default(), adapter).unwrap();
    within("the emitter to be connected", emitter.connected()).await;
    within("it to be told so again", emitter.connected()).await;
    emitter.of("/").emit("e", &(1, "two")).unwrap();
    cluster.hear(0..6, r#"42["e",1,"two"]"#).await;
    emitter
        .of("")
        .to(["node 1", "node 2"])
        .except("node 2")
        .emit("e", &"a room")
        .unwrap();
    cluster.hear([1, 4], r#"42["e","a room"]"#).await;
    emitter.of("/").to("node 0").sockets_join("new").unwrap();
    emitter.of("/").to("new").volatile().compress(false).emit("e", &"new").unwrap();
    cluster.hear([0, 3], r#"42["e","new"]"#).await;
    emitter.of("/").sockets_leave("new").unwrap();
    emitter.of("/").to("new").emit("e", &"nobody").unwrap();
    assert!(matches!(emitter.of("/").emit("connect", &()), Err(EmitterError::Encode(_))));
    emitter.of("/").to("node 2").disconnect_sockets(true).unwrap();
    for client in [2, 5] {
        assert_eq!(cluster.clients[client].text().await, "41");
    }
    assert_eq!(
        metric(cluster.nodes[0].internal_addr(), "fanfare_cluster_peers").await,
        2,
        "it is no member"
    );

    // One of another cluster is not heard.
    let other = Config {
        name: "another".to_owned(),
        secrets: vec![Secret::new("of another")],
        ..Config::default()
    };
    let mut stranger = Emitter::new(other, stranger).unwrap();
    within("the stranger to be connected", stranger.connected()).await;
    stranger.of("/").emit("e", &"stranger").unwrap();
    stranger.close(Duration::from_secs(5)).await;
    emitter.of("/").emit("e", &"the last").unwrap();
    assert!(emitter.close(Duration::from_secs(5)).await >= 8);
    cluster.hear([0, 1, 3, 4], r#"42["e","the last"]"#).await;
    cluster.stop().await;
}

/// The binary, as a script would call it. It ends by itself: its waits are bounded.
async fn fanfare_emit(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = fanfare(&["emit"]);
    command.args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = within("the command to end", output).await.unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_emits_to_a_running_cluster() {
    let bus = Bus::redis().await;
    let Bus::Redis(port, _) = bus else { unreachable!() };
    let url = format!("redis://127.0.0.1:{port}");
    let mut cluster = Cluster::start(bus, Dialect::Json, register, r#"42["ready"]"#).await;
    let over = ["--adapter", "redis", "--redis-url", &url];
    let with = |more: &[&'static str]| over.iter().copied().chain(more.iter().copied()).collect::<Vec<_>>();
    let sent = fanfare_emit(&with(&[
        "--to",
        "node 1",
        "--to",
        "node 2",
        "--except",
        "node 2",
        "e",
        "1",
        r#"{"two":[]}"#,
    ]))
    .await;
    assert_eq!(sent, (Some(0), String::new()));
    assert_eq!(fanfare_emit(&with(&["e"])).await, (Some(0), String::new()));
    cluster.hear([1, 4], r#"42["e",1,{"two":[]}]"#).await;
    cluster.hear(0..6, r#"42["e"]"#).await;

    for (arguments, told) in [
        (with(&["e", "two"]), "ARGS: two is no JSON: expected ident"),
        (with(&["connect"]), "\"connect\" is reserved"),
        (vec!["e"], "adapter.kind: no backend is configured; expected redis or nats"),
        (vec!["--adapter", "redis", "--redis-url", "http://h", "e"], "adapter.redis.url"),
    ] {
        let (code, error) = fanfare_emit(&arguments).await;
        assert_eq!(code, Some(64), "{error}");
        assert!(error.contains(told), "{error}");
    }
    cluster.stop().await;
}

#[tokio::test]
async fn a_backend_that_is_away_is_named() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("nats://{nobody}");
    let (code, error) = fanfare_emit(&["--adapter", "nats", "--nats-url", &url, "e"]).await;
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("the backend cannot be reached: "), "{error}");
}
