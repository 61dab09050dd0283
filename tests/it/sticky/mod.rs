//! Polling behind a balancer that does not keep clients on their nodes: a request goes to the node that owns its session, whichever node it
//! has reached.

mod carried;
mod crowd;

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use fanfare::{
    cluster::Secret,
    node::{Config, CorsConfig, RunningNode},
};
use fanfare_adapters::memory::MemoryBus;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::dsl::{Answer, Polling, WebSocket, acquainted, exchange, metric, request, settle, start_on, until_empty, within};

const UNKNOWN: &str = r#"{"code":1,"message":"Session ID unknown"}"#;

fn secret(config: &mut Config) {
    config.server.cluster.secrets = vec![Secret::new("a secret of the cluster")];
}

/// Nodes of one secret that know each other.
async fn nodes(count: usize, configure: impl Fn(&mut Config)) -> Vec<RunningNode> {
    let bus = MemoryBus::new();
    let mut nodes = Vec::new();
    for _ in 0..count {
        let configure = |config: &mut Config| {
            secret(config);
            configure(config);
        };
        nodes.push(start_on(&bus, configure).await.0);
    }
    acquainted(&nodes).await;
    nodes
}

/// The nodes' addresses, beginning with that of this one.
fn addresses(nodes: &[RunningNode], first: usize) -> Vec<SocketAddr> {
    let all = nodes.iter().cycle().skip(first).take(nodes.len());
    all.map(RunningNode::public_addr).collect()
}

async fn outcome(node: &RunningNode, outcome: &str) -> u64 {
    metric(node.internal_addr(), &format!("fanfare_forwarded_total{{outcome=\"{outcome}\"}}")).await
}

async fn sum(nodes: &[RunningNode], name: &str) -> u64 {
    let mut sum = 0;
    for node in nodes {
        sum += metric(node.internal_addr(), name).await;
    }
    sum
}

async fn stop(nodes: Vec<RunningNode>) {
    for node in nodes {
        within("a node to stop", node.shutdown()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_goes_on_wherever_its_requests_arrive() {
    const CLIENTS: usize = 12;
    const EVENTS: usize = 100;
    let nodes = nodes(3, |_| {}).await;
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let client = Polling::connect_at(&addresses(&nodes, number % 3)).await;
        clients.spawn(async move {
            let mut next = 0;
            let mut own = 0;
            while next < EVENTS || own < EVENTS {
                if own < EVENTS {
                    client.send(&format!(r#"42{own}["ack",{own}]"#)).await;
                }
                for packet in client.receive().await {
                    if packet.starts_with("43") {
                        assert_eq!(packet, format!("43{own}[{own}]"));
                        own += 1;
                    } else {
                        assert_eq!(packet, format!(r#"42["tick",{next}]"#));
                        next += 1;
                    }
                }
            }
        });
    }
    let io = nodes[0].io().clone();
    for number in 0..EVENTS {
        io.emit("tick", &number).unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    within("all clients to have everything", async {
        while let Some(ended) = clients.join_next().await {
            ended.unwrap();
        }
    })
    .await;
    let (all, handed) = (
        sum(&nodes, "fanfare_session_requests_total").await,
        sum(&nodes, "fanfare_forwarded_here_total").await,
    );
    // A request that was handed on was counted where it has arrived, and where it was answered.
    assert!(handed * 10 >= (all - handed) * 6, "{handed} of {all}");
    for node in &nodes {
        assert_eq!(
            outcome(node, "mute").await + outcome(node, "broken").await + outcome(node, "refused").await,
            0
        );
        assert!(metric(node.internal_addr(), "fanfare_forward_added_seconds_count").await > 0);
    }
    stop(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_reaches_its_session_through_another_node() {
    const EVENTS: usize = 200;
    let nodes = nodes(2, |_| {}).await;
    let polling = Polling::connect_at(&addresses(&nodes, 0)).await;
    let elsewhere = nodes[1].public_addr();
    let mut websocket = WebSocket::dial(elsewhere, &format!("&sid={}", polling.sid)).await;
    websocket.send("2probe").await;
    assert_eq!(websocket.text().await, "3probe");
    websocket.send("5").await;
    for number in 0..EVENTS {
        websocket.send(&format!(r#"42["echo",{number}]"#)).await;
        nodes[0].io().emit("tick", &number).unwrap();
    }
    let (mut echoes, mut ticks) = (0, 0);
    while echoes < EVENTS || ticks < EVENTS {
        let packet = websocket.text().await;
        if packet == format!(r#"42["echo",{echoes}]"#) {
            echoes += 1;
        } else {
            assert_eq!(packet, format!(r#"42["tick",{ticks}]"#));
            ticks += 1;
        }
    }
    assert_eq!((outcome(&nodes[1], "upgraded").await, outcome(&nodes[0], "upgraded").await), (1, 0));
    // The end of either side is that of the other.
    drop(websocket);
    until_empty(nodes[0].internal_addr()).await;
    stop(nodes).await;
}

#[tokio::test]
async fn a_node_that_shuts_down_carries_no_websocket_any_longer() {
    let mut nodes = nodes(2, |_| {}).await;
    let polling = Polling::connect(nodes[0].public_addr()).await;
    let mut websocket = WebSocket::dial(nodes[1].public_addr(), &format!("&sid={}", polling.sid)).await;
    websocket.send("2probe").await;
    assert_eq!(websocket.text().await, "3probe");
    websocket.send("5").await;
    websocket.send(r#"42["echo",1]"#).await;
    assert_eq!(websocket.text().await, r#"42["echo",1]"#);
    stop(nodes.split_off(1)).await;
    assert_eq!(websocket.closed().await, 1006);
    until_empty(nodes[0].internal_addr()).await;
    stop(nodes).await;
}

#[tokio::test]
async fn no_more_websockets_are_carried_than_may_be() {
    let nodes = nodes(2, |config| config.server.forward.max_upgrades = 1).await;
    let (first, second) = (
        Polling::connect(nodes[0].public_addr()).await,
        Polling::connect(nodes[0].public_addr()).await,
    );
    let elsewhere = nodes[1].public_addr();
    let mut websocket = WebSocket::dial(elsewhere, &format!("&sid={}", first.sid)).await;
    let query = format!("EIO=4&transport=websocket&sid={}", second.sid);
    assert_eq!(crate::dsl::upgrade(elsewhere, &query, &[]).await.status, 503);
    assert_eq!(outcome(&nodes[1], "crowded").await, 1);
    websocket.send("2probe").await;
    assert_eq!(websocket.text().await, "3probe", "the first goes on");
    drop(websocket);
    within("the place to be free", async {
        while crate::dsl::upgrade(elsewhere, &query, &[]).await.status != 101 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    stop(nodes).await;
}

/// The answers to the same request where the session is, and elsewhere.
async fn both_ways(nodes: &[RunningNode], method: &str, query: &str, headers: &[&str], body: &[u8]) -> [Answer; 2] {
    let mut answers = Vec::new();
    for node in nodes {
        let session = Polling::connect(nodes[0].public_addr()).await;
        let target = format!("/socket.io/?EIO=4&{query}&sid={}", session.sid);
        answers.push(request(node.public_addr(), method, &target, headers, body).await);
    }
    answers.try_into().unwrap()
}

#[tokio::test]
async fn answers_are_the_same_wherever_a_request_arrives() {
    let nodes = nodes(2, |config| {
        config.server.engine.max_http_buffer_size = 50_000;
        config.server.cors = CorsConfig {
            origins: vec!["http://page.example".into()],
            ..CorsConfig::default()
        };
    })
    .await;
    let large = [b"42[\"nothing\",\"".to_vec(), b"x".repeat(49_980), b"\"]".to_vec()].concat();
    let text = "Content-Type: text/plain;charset=UTF-8";
    for (method, query, headers, body, status) in [
        ("POST", "transport=polling", &[text][..], &b"42[\"nothing\"]"[..], 200),
        (
            "POST",
            "transport=polling",
            &[text, "Origin: http://page.example"],
            b"42[\"nothing\"]",
            200,
        ),
        ("POST", "transport=polling", &[text], &large, 200),
        ("POST", "transport=polling", &[text], &[b'4'; 50_001], 413),
        ("POST", "transport=polling", &[text], b"nonsense", 200),
        (
            "POST",
            "transport=polling",
            &[text, "Content-Encoding: gzip"],
            b"42[\"nothing\"]",
            415,
        ),
        ("PUT", "transport=polling", &[], b"", 500),
        ("POST", "transport=carrier-pigeon", &[text], b"4", 400),
        ("GET", "transport=websocket", &[], b"", 400),
    ] {
        let [here, elsewhere] = both_ways(&nodes, method, query, headers, body).await;
        assert_eq!(here.status, status, "{method} {query} {}", here.text());
        let without_dates = |answer: &Answer| {
            (
                answer.status,
                answer.body.clone(),
                answer.header("content-type").map(str::to_owned),
                answer.header("access-control-allow-origin").map(str::to_owned),
            )
        };
        assert_eq!(without_dates(&here), without_dates(&elsewhere), "{method} {query}");
        assert_eq!(elsewhere.header("fanfare-held"), None);
    }
    // A body of which nobody knows the length.
    let session = Polling::connect(nodes[0].public_addr()).await;
    let chunked = format!(
        "POST {} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{text}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n42[\"e\r\n4\r\ncho\"\r\n1\r\n]\r\n0\r\n\r\n",
        session.target()
    );
    let answer = Answer::parse(&exchange(nodes[1].public_addr(), chunked.as_bytes()).await);
    assert_eq!((answer.status, answer.text()), (200, "ok"));
    assert_eq!(session.receive().await, [r#"42["echo"]"#]);
    // A page may ask before it asks, wherever the session is.
    let asked = ["Origin: http://page.example", "Access-Control-Request-Method: POST"];
    let [here, elsewhere] = both_ways(&nodes, "OPTIONS", "transport=polling", &asked, b"").await;
    assert_eq!((here.status, elsewhere.status), (204, 204));
    stop(nodes).await;
}

#[tokio::test]
async fn a_client_that_aborts_its_poll_is_gone_at_its_owner_too() {
    let nodes = nodes(2, |_| {}).await;
    let session = Polling::connect(nodes[0].public_addr()).await;
    let mut poll = TcpStream::connect(nodes[1].public_addr()).await.unwrap();
    let head = format!("GET {} HTTP/1.1\r\nHost: test\r\n\r\n", session.target());
    poll.write_all(head.as_bytes()).await.unwrap();
    within("the poll to reach the owner", async {
        while metric(nodes[0].internal_addr(), "fanfare_forwarded_here_total").await == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    drop(poll);
    let aborted = Instant::now();
    until_empty(nodes[0].internal_addr()).await;
    // Its bound is a second; what a busy machine adds is no matter of the node's.
    assert!(aborted.elapsed() < Duration::from_secs(10), "{:?}", aborted.elapsed());
    stop(nodes).await;
}

/// Parks a poll through another node, or as another node would.
async fn parked(owner: &RunningNode, at: SocketAddr, target: &str) -> TcpStream {
    let before = metric(owner.internal_addr(), "fanfare_forwarded_here_total").await;
    let mut poll = TcpStream::connect(at).await.unwrap();
    poll.write_all(format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n").as_bytes())
        .await
        .unwrap();
    within("the poll to reach the owner", async {
        while metric(owner.internal_addr(), "fanfare_forwarded_here_total").await == before {
            tokio::task::yield_now().await;
        }
    })
    .await;
    poll
}

#[tokio::test]
async fn a_session_outlives_the_nodes_that_its_polls_come_through() {
    let nodes = nodes(1, |_| {}).await;
    let session = Polling::connect(nodes[0].public_addr()).await;
    // A node dies in the middle of a poll: as a connection between nodes that breaks.
    let mut poll = parked(&nodes[0], nodes[0].internal_addr(), &format!("/sessions{}", session.target())).await;
    // Its balancer may be quicker than the news.
    let connections = async |count: u64| {
        within("the connections to be so many", async {
            while metric(nodes[0].internal_addr(), "fanfare_http_connections").await != count {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    };
    connections(0).await;
    let again = tokio::spawn(async move { session.receive().await });
    connections(1).await;
    settle(nodes[0].public_addr()).await;
    poll.shutdown().await.unwrap();
    // The owner closes the connection, too, when it has noticed.
    within("the owner to notice", poll.read_to_end(&mut Vec::new())).await.unwrap();
    nodes[0].io().emit("still", &"here").unwrap();
    let heard = within("the second poll to be answered", again).await.unwrap();
    assert_eq!(heard, [r#"42["still","here"]"#]);
    stop(nodes).await;
}

#[tokio::test]
async fn what_a_node_had_for_a_client_when_it_died_comes_through_another() {
    let nodes = nodes(2, |_| {}).await;
    let session = Polling::connect(nodes[0].public_addr()).await;
    let poll = |number: usize| format!("{}&t={number}", session.target());
    let dying = parked(&nodes[0], nodes[0].internal_addr(), &format!("/sessions{}", poll(1))).await;
    nodes[0].io().emit("first", &1).unwrap();
    within("the answer to leave its owner", dying.peek(&mut [0])).await.unwrap();
    drop(dying);
    nodes[0].io().emit("second", &2).unwrap();
    // As a balancer sends it again, and then the client its next one.
    for (number, expected) in [(1, r#"42["first",1]"#), (2, r#"42["second",2]"#)] {
        let answer = request(nodes[1].public_addr(), "GET", &poll(number), &[], b"").await;
        assert_eq!((answer.status, answer.text()), (200, expected));
    }
    assert_eq!(metric(nodes[0].internal_addr(), "fanfare_polls_repeated_total").await, 1);
    stop(nodes).await;
}

#[tokio::test]
async fn requests_are_handed_on_while_the_backend_is_away() {
    let bus = MemoryBus::new();
    let ((owner, one), (here, two)) = (start_on(&bus, secret).await, start_on(&bus, secret).await);
    let nodes = vec![owner, here];
    acquainted(&nodes).await;
    one.set_connected(false);
    two.set_connected(false);
    let session = Polling::connect_at(&addresses(&nodes, 0)).await;
    session.send(r#"42["echo",1]"#).await;
    assert_eq!(session.receive().await, [r#"42["echo",1]"#]);
    assert!(metric(nodes[0].internal_addr(), "fanfare_forwarded_here_total").await > 0);
    stop(nodes).await;
}

#[tokio::test]
async fn a_node_that_shuts_down_answers_the_polls_of_others_sessions() {
    let mut nodes = nodes(2, |_| {}).await;
    let session = Polling::connect(nodes[0].public_addr()).await;
    let mut poll = parked(&nodes[0], nodes[1].public_addr(), &session.target()).await;
    let stopping = Instant::now();
    stop(nodes.split_off(1)).await;
    // Far below the grace of ten seconds, at the end of which it would have been cut off.
    assert!(stopping.elapsed() < Duration::from_secs(8), "{:?}", stopping.elapsed());
    let mut answer = Vec::new();
    poll.read_to_end(&mut answer).await.unwrap();
    let answer = Answer::parse(&answer);
    assert_eq!((answer.status, answer.text()), (200, "6"));
    nodes[0].io().emit("still", &"here").unwrap();
    assert_eq!(session.receive().await, [r#"42["still","here"]"#]);
    stop(nodes).await;
}

#[tokio::test]
async fn an_owner_that_says_nothing_costs_a_503_and_one_that_is_gone_an_unknown_session() {
    // Connections to it are made, and that is all.
    let mute = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let bus = MemoryBus::new();
    let here = start_on(&bus, |config| {
        secret(config);
        config.server.forward.connect_timeout = Duration::from_millis(300);
    })
    .await
    .0;
    let owner = start_on(&bus, |config| {
        secret(config);
        config.server.cluster.advertise = mute.local_addr().unwrap().to_string();
    })
    .await
    .0;
    within("the owner to be known", async {
        while metric(here.internal_addr(), "fanfare_cluster_peers").await == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let session = Polling::connect(owner.public_addr()).await;
    let ask = async |sid: &str| {
        let target = format!("/socket.io/?EIO=4&transport=polling&sid={sid}");
        request(here.public_addr(), "GET", &target, &[], b"").await
    };
    let asked = Instant::now();
    assert_eq!(ask(&session.sid).await.status, 503);
    assert!(asked.elapsed() >= Duration::from_millis(300));
    assert_eq!(outcome(&here, "mute").await, 1);
    // Of a node that is not there nobody is asked.
    let unknown = ask("AAAAAAAAAAAAAAAAAAAA").await;
    assert_eq!((unknown.status, unknown.text()), (400, UNKNOWN));
    owner.shutdown().await;
    within("the owner to have left", async {
        while metric(here.internal_addr(), "fanfare_cluster_peers").await > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let gone = ask(&session.sid).await;
    assert_eq!((gone.status, gone.text()), (400, UNKNOWN));
    assert_eq!(outcome(&here, "mute").await, 1);
    here.shutdown().await;
}

#[tokio::test]
async fn what_was_handed_on_is_not_handed_on_again_and_clients_cannot_claim_it() {
    let nodes = nodes(2, |_| {}).await;
    let session = Polling::connect(nodes[0].public_addr()).await;
    let target = format!("/sessions{}", session.target());
    // As if another node had taken this one for the owner.
    let answer = request(nodes[1].internal_addr(), "GET", &target, &[], b"").await;
    assert_eq!((answer.status, answer.text()), (400, UNKNOWN));
    assert_eq!(outcome(&nodes[1], "answered").await, 0);
    assert_eq!(request(nodes[0].public_addr(), "GET", &target, &[], b"").await.status, 404);
    let forged = "fanfare-signature: v1 0 AAAAAAAAAAAAAAAA 1 AAAA AAAAAAAAAAAAAAAAAAAAAA";
    assert_eq!(request(nodes[0].internal_addr(), "GET", &target, &[forged], b"").await.status, 403);
    stop(nodes).await;
}

#[tokio::test]
async fn nodes_serve_each_other_while_their_secret_is_changed() {
    let bus = MemoryBus::new();
    let with = |secrets: &'static [&str]| {
        move |config: &mut Config| config.server.cluster.secrets = secrets.iter().map(|secret| Secret::new(*secret)).collect()
    };
    let nodes = vec![
        start_on(&bus, with(&["old", "new"])).await.0,
        start_on(&bus, with(&["new", "old"])).await.0,
    ];
    acquainted(&nodes).await;
    for first in [0, 1] {
        let session = Polling::open_at(&addresses(&nodes, first)).await;
        session.send("40").await;
        assert_eq!(outcome(&nodes[1 - first], "answered").await, 1);
    }
    stop(nodes).await;
}
