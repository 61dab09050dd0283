//! What clients can hold of a node that hands their requests to another one, the owner of their sessions: memory, which is bounded by what
//! each of them may have under way, and the connection between the two nodes, which all of them share and none can block or break.
//!
//! Both nodes are processes of their own, over a Redis server. A well-behaved client goes through the same node all the while, and has to
//! get what it is sent.

use std::{
    net::SocketAddr,
    sync::{Arc, LazyLock},
    time::Duration,
};

use fanfare::{
    cluster::Secret,
    hub::{Data, EmitError, Socket},
    node::Node,
    protocol::socketio::value::Payload,
};
use fanfare_adapters::redis::{self, RedisAdapter};
use tokio::{io::AsyncReadExt as _, net::TcpStream, task::JoinSet};

mod client;
mod posts;
mod stopped;
mod websockets;

use self::client::poll;
use crate::dsl::{Answer, Backend, NodeProcess, Polling, application, loopback, metric, request, serve, until_empty, within};

/// Tells this executable that it is a node, and where Redis is.
const ROLE: &str = "FANFARE_TEST_FORWARDING_NODE";
/// The test that becomes one then.
const ENTRY: &str = concat!(module_path!(), "::who_does_not_read_costs_little_and_holds_up_nobody");

/// Hostile clients at one time: as many as would have shared a window of 16 MiB among themselves, 64 KiB each, and some more.
const CLIENTS: usize = 300;

/// What one of them may hold of the node between it and its session, in KiB, however much there is to send: of a body 21 KiB that the other
/// end has not taken (2 GiB, the largest window of a connection, shared by the 100 000 requests that it may have), one piece of 16 KiB
/// beyond, and hyper's buffer of 16 KiB for each way; of a WebSocket 16 KiB for each way. The rest is for tasks, tables, and what the allocator
/// cannot give back because of them.
const EACH: u64 = 192;

/// A message that no buffer on a narrow way takes, in bytes.
const FLOOD: usize = 400_000;

/// Longer than any test: what ends a client that holds on is something else.
const LONG: Duration = Duration::from_secs(600);

/// Serves, in a process that is to be a node.
async fn is_node() -> bool {
    #[expect(clippy::disallowed_methods, reason = "of a test, not of a node")]
    let Ok(url) = std::env::var(ROLE) else {
        return false;
    };
    let adapter = RedisAdapter::start(redis::Config::new(url)).unwrap();
    let mut config = loopback();
    (config.header_timeout, config.send_timeout) = (LONG, LONG);
    config.server.body_timeout = LONG;
    config.server.cluster.secrets = vec![Secret::new("a secret of the cluster")];
    // One that is stopped is still a member, and was heard a moment ago.
    (config.server.cluster.suspect_after, config.server.cluster.remove_after) = (LONG, LONG * 2);
    config.server.forward.connect_timeout = Duration::from_secs(5);
    let engine = &mut config.server.engine;
    (engine.ping_interval, engine.upgrade_timeout, engine.pause_timeout) = (LONG, LONG, LONG);
    (engine.write_timeout, engine.message_timeout, engine.outbox_bytes) = (LONG, LONG, 8 << 20);
    let node = Node::start(config, Arc::new(adapter)).await.unwrap();
    application(node.io());
    node.io().sockets().on("flood", flood).unwrap();
    serve(node).await;
    true
}

/// So many messages that are each more than a narrow way takes.
async fn flood(socket: Socket, Data(count): Data<usize>) -> Result<(), EmitError> {
    static EVENT: LazyLock<Payload> = LazyLock::new(|| Payload::event("flood", &"x".repeat(FLOOD)).unwrap());
    for _ in 0..count {
        socket.emit_payload(&EVENT)?;
    }
    Ok(())
}

/// Two nodes.
struct Pair {
    /// Where the sessions are.
    owner: NodeProcess,
    /// Where clients arrive.
    edge: NodeProcess,
    #[expect(dead_code, reason = "ends after the nodes")]
    backend: Backend,
}

impl Pair {
    async fn start() -> Self {
        let backend = Backend::redis().await;
        let url = backend.url("redis");
        let pair = Self {
            owner: NodeProcess::start(ENTRY, (ROLE, &url)),
            edge: NodeProcess::start(ENTRY, (ROLE, &url)),
            backend,
        };
        within("the nodes to find each other", async {
            for node in [&pair.owner, &pair.edge] {
                while metric(node.internal, "fanfare_cluster_peers").await == 0 {
                    tokio::task::yield_now().await;
                }
            }
        })
        .await;
        pair
    }

    /// So many sessions at the owner.
    async fn sessions(&self, count: usize) -> Vec<Polling> {
        let mut opening = JoinSet::new();
        for _ in 0..count {
            opening.spawn(Polling::connect(self.owner.public));
        }
        opening.join_all().await
    }

    /// A client of which every request goes through the edge, and some have.
    async fn bystander(&self) -> Bystander {
        let session = Polling::connect(self.owner.public).await;
        let bystander = Bystander {
            session,
            edge: self.edge.public,
        };
        bystander.is_served().await;
        bystander
    }

    /// Polls that wait at the owner for what comes.
    async fn parked(&self, sessions: &[Polling]) -> Vec<TcpStream> {
        let name = "fanfare_forwarded_here_total";
        let before = metric(self.owner.internal, name).await;
        let mut polls = Vec::new();
        for session in sessions {
            polls.push(poll(session, self.edge.public).await);
        }
        within("the polls to reach the owner", async {
            while metric(self.owner.internal, name).await < before + sessions.len() as u64 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        polls
    }

    /// Waits until the edge has handed on so many requests since its start.
    async fn until(&self, outcome: &str, count: u64) {
        let name = format!("fanfare_forwarded_total{{outcome=\"{outcome}\"}}");
        self.until_edge(&name, |value| value >= count).await;
    }

    async fn until_edge(&self, name: &str, is: impl Fn(u64) -> bool) {
        within(name, async {
            while !is(metric(self.edge.internal, name).await) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    async fn answered(&self) -> u64 {
        metric(self.edge.internal, "fanfare_forwarded_total{outcome=\"answered\"}").await
    }

    /// Waits until no client is there, and none holds anything of the edge.
    async fn until_edge_is_empty(&self) {
        until_empty(self.edge.internal).await;
        self.until_edge("fanfare_forwarded_upgrades", |carried| carried == 0).await;
    }

    /// Runs `clients` twice; they tell when they all hold as much as they can. The node may hold no more than `EACH` KiB for each of them
    /// then, and after the second time as little as after the first, in which it takes what it keeps for good.
    async fn measure<T>(&self, clients: impl AsyncFn() -> T) {
        let idle = self.edge.resident();
        drop(clients().await);
        self.until_edge_is_empty().await;
        let before = self.edge.resident();
        drop(clients().await);
        let peak = self.edge.peak();
        self.until_edge_is_empty().await;
        let after = self.edge.resident();
        let told = format!("resident: {idle} KiB, with {CLIENTS} clients up to {peak} KiB, {before} and {after} KiB after them");
        assert!(peak < idle + EACH * CLIENTS as u64, "{told}");
        assert!(after * 100 <= before * 120, "{told}");
        assert_eq!(
            metric(self.edge.internal, "fanfare_sessions_opened_total").await,
            0,
            "all were the owner's"
        );
        println!("{told}");
    }
}

/// A client that behaves well.
struct Bystander {
    session: Polling,
    edge: SocketAddr,
}

impl Bystander {
    /// Asks for events and gets them all, small ones and one that is larger than a window.
    async fn is_served(&self) {
        let large = "x".repeat(100_000);
        for round in 0..10 {
            for event in [format!(r#"42["echo",{round}]"#), format!(r#"42["echo","{large}"]"#)] {
                let post = self.request("POST", event.as_bytes()).await;
                assert_eq!((post.status, post.text()), (200, "ok"));
                let answer = self.request("GET", b"").await;
                assert_eq!((answer.status, answer.text()), (200, &*event));
            }
        }
    }

    async fn request(&self, method: &str, body: &[u8]) -> Answer {
        request(self.edge, method, &self.session.target(), &["Content-Type: text/plain"], body).await
    }
}

/// The answer to a request, of which the head has come with the length of the body.
async fn answer(mut stream: TcpStream) -> Answer {
    let mut bytes = Vec::new();
    within("an answer", async {
        loop {
            let read = stream.read_buf(&mut bytes).await.unwrap();
            assert!(read > 0, "no answer but {:?}", String::from_utf8_lossy(&bytes));
            if bytes.windows(4).any(|four| four == b"\r\n\r\n") {
                let answer = Answer::parse(&bytes);
                let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
                if answer.body.len() == length {
                    return answer;
                }
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_read_costs_little_and_holds_up_nobody() {
    if is_node().await {
        return;
    }
    let pair = Pair::start().await;
    let bystander = pair.bystander().await;
    pair.measure(async || {
        let sessions = pair.sessions(CLIENTS).await;
        let before = pair.answered().await;
        let mut polls = Vec::new();
        for session in &sessions {
            session.send(r#"42["flood",1]"#).await;
            polls.push(poll(session, pair.edge.public).await);
        }
        // The heads of the answers are all there; their bodies are under way.
        pair.until("answered", before + CLIENTS as u64).await;
        bystander.is_served().await;
        polls
    })
    .await;
}
