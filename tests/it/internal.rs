//! What nodes ask of each other's internal listeners, and who else is refused there.

use std::{
    future::IntoFuture as _,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use axum::{Extension, extract::ConnectInfo};
use fanfare::{
    Server,
    cluster::Secret,
    node::{Config, Network, RunningNode, ServerConfig, WhenDeaf},
};
use fanfare_adapters::memory::MemoryBus;
use tokio::{io::AsyncReadExt as _, net::TcpListener};

use crate::dsl::{Answer, exchange, metric, request, start_on, start_with, within};

fn secret(config: &mut Config) {
    config.server.cluster.secrets = vec![Secret::new("a secret of the cluster")];
}

async fn refused(internal: SocketAddr, reason: &str) -> u64 {
    metric(internal, &format!("fanfare_internal_refused_total{{reason=\"{reason}\"}}")).await
}

async fn verified(node: &RunningNode) -> u64 {
    metric(node.internal_addr(), "fanfare_advertise_verified").await
}

async fn until(what: &str, node: &RunningNode, name: &str) {
    within(what, async {
        while metric(node.internal_addr(), name).await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

async fn identity(internal: SocketAddr, headers: &[&str]) -> Answer {
    request(internal, "GET", "/identity", headers, b"").await
}

#[tokio::test]
async fn a_node_finds_out_that_it_is_where_it_says() {
    for configure in [|_: &mut Config| {}, secret] {
        let node = start_with(configure).await;
        until("the node to reach itself", &node, "fanfare_advertise_verified").await;
        node.shutdown().await;
    }
}

#[tokio::test]
async fn a_node_that_advertises_another_s_address_is_told_so() {
    let other = start_with(secret).await;
    let node = start_with(|config| {
        secret(config);
        config.server.cluster.advertise = other.internal_addr().to_string();
    })
    .await;
    let target = "fanfare_internal_refused_total{reason=\"target\"}";
    until("the other one to refuse", &other, target).await;
    assert_eq!((verified(&node).await, refused(node.internal_addr(), "target").await), (0, 0));
    for node in [node, other] {
        node.shutdown().await;
    }
}

#[tokio::test]
async fn an_address_outside_the_networks_is_neither_asked_nor_let_in() {
    let elsewhere = |config: &mut Config| {
        secret(config);
        config.server.cluster_networks = vec!["192.0.2.0/24".parse::<Network>().unwrap()];
    };
    let bus = MemoryBus::new();
    let (node, _adapter) = start_on(&bus, |config| {
        elsewhere(config);
        config.server.cluster.heartbeat = Duration::from_millis(20);
        config.server.cluster.suspect_after = Duration::from_millis(100);
        config.server.cluster.remove_after = Duration::from_secs(60);
        config.server.ready.grace = Duration::ZERO;
        config.server.ready.when_deaf = WhenDeaf::Alone;
    })
    .await;
    let (peer, _) = start_on(&bus, secret).await;
    until("the peer to be known", &node, "fanfare_cluster_peers").await;
    // Deaf, it would ask its peer whether it is alone; and itself, whether it is where it says.
    bus.set_connected(false);
    within("the node to want to ask", async {
        while metric(node.internal_addr(), "fanfare_peers_outside_total").await == 0 {
            request(node.internal_addr(), "GET", "/readyz", &[], b"").await;
        }
    })
    .await;
    assert_eq!((verified(&node).await, refused(peer.internal_addr(), "outside").await), (0, 0));
    // Who signs is looked at, wherever it asks from.
    let answer = identity(node.internal_addr(), &["fanfare-signature: v1 0 AAAAAAAAAAAAAAAA 1 AAAA AA"]).await;
    assert_eq!(
        (answer.status, answer.text()),
        (403, "the request comes from an address outside cluster.networks")
    );
    assert_eq!(refused(node.internal_addr(), "outside").await, 1);
    for node in [node, peer] {
        node.shutdown().await;
    }
}

#[tokio::test]
async fn who_claims_to_be_a_node_and_is_not_is_refused_and_counted() {
    let node = start_with(secret).await;
    let internal = node.internal_addr();
    let own = identity(internal, &[]).await;
    assert_eq!(own.status, 200, "from this machine, without a claim");
    let tag: serde_json::Value = serde_json::from_slice(&own.body).unwrap();
    let tag = tag["tag"].as_str().unwrap();
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
    let claim = |time: u128, target: &str| format!("v1 {time} AAAAAAAAAAAAAAAA 1 {target} AAAAAAAAAAAAAAAAAAAAAA");
    for (claim, reason, told) in [
        ("nonsense".to_owned(), "malformed", "the header fanfare-signature cannot be read"),
        (claim(now, tag), "forged", "the request is not signed with a secret of this cluster"),
        (
            claim(now - 60_000, tag),
            "late",
            "the signature's time is more than 30 seconds from this node's",
        ),
        (
            claim(now, if tag == "AAAA" { "BBBB" } else { "AAAA" }),
            "target",
            "the request is signed for another node",
        ),
    ] {
        let answer = identity(internal, &[&format!("fanfare-signature: {claim}")]).await;
        assert_eq!(answer.status, 403, "{reason}");
        assert!(answer.text().starts_with(told), "{}", answer.text());
        assert_eq!(refused(internal, reason).await, 1, "{reason}");
    }
    assert_eq!(
        request(node.public_addr(), "GET", "/identity", &[], b"").await.status,
        404,
        "clients know nothing of it"
    );
    node.shutdown().await;
}

/// What a node asks itself at its start, byte for byte, recorded where it believes itself to be.
async fn recorded() -> (RunningNode, Vec<u8>) {
    let recorder = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let node = start_with(|config| {
        secret(config);
        config.server.cluster.advertise = recorder.local_addr().unwrap().to_string();
    })
    .await;
    let mut asked = Vec::new();
    within("the node to ask itself", async {
        let (mut stream, _) = recorder.accept().await.unwrap();
        while !asked.ends_with(b"\r\n\r\n") {
            stream.read_buf(&mut asked).await.unwrap();
        }
    })
    .await;
    (node, asked)
}

#[tokio::test]
async fn what_a_node_has_signed_holds_for_that_and_once() {
    let (node, asked) = recorded().await;
    let other = start_with(secret).await;
    let elsewhere = start_with(|config| {
        secret(config);
        config.server.cluster_networks = vec!["192.0.2.0/24".parse::<Network>().unwrap()];
    })
    .await;
    let text = String::from_utf8(asked.clone()).unwrap();
    let (head, _) = text.split_once("\r\n\r\n").unwrap();
    let signature = head.lines().find_map(|line| line.strip_prefix("fanfare-signature: ")).unwrap();
    let time: u64 = signature.split(' ').nth(1).unwrap().parse().unwrap();
    let late = text.replace(&time.to_string(), &(time - 31_000).to_string());
    let with = |line: &str, body: &str| format!("{head}\r\n{line}\r\n\r\n{body}");
    let mut forged = 0;
    for (at, altered, reason) in [
        (&node, late, "late"),
        (&node, text.replace("/identity", "/sessions/socket.io/?EIO=4"), "forged"),
        (&node, text.replace("GET ", "HEAD "), "forged"),
        (&node, with("Content-Length: 1", "4"), "forged"),
        (&node, with("Transfer-Encoding: chunked", "1\r\n4\r\n0\r\n\r\n"), "forged"),
        (&node, with("fanfare-client: 203.0.113.9", ""), "forged"),
        (&other, text.clone(), "target"),
        (&elsewhere, text.clone(), "outside"),
    ] {
        let internal = at.internal_addr();
        let answer = Answer::parse(&exchange(internal, closing(&altered).as_bytes()).await);
        assert_eq!(answer.status, 403, "{altered}");
        forged += u64::from(reason == "forged");
        let counted = if reason == "forged" { forged } else { 1 };
        assert_eq!(refused(internal, reason).await, counted, "{altered}");
    }
    // None of them has used it up.
    for (status, counted) in [(200, 0), (403, 1), (403, 2)] {
        let answer = Answer::parse(&exchange(node.internal_addr(), closing(&text).as_bytes()).await);
        assert_eq!((answer.status, refused(node.internal_addr(), "repeated").await), (status, counted));
    }
    for node in [node, other, elsewhere] {
        node.shutdown().await;
    }
}

/// The same request on a connection that ends with it: that is not signed.
fn closing(request: &str) -> String {
    request.replacen("\r\n", "\r\nConnection: close\r\n", 1)
}

/// Requests of this machine's own need no signature, so the listener is one that takes its clients for others.
#[tokio::test]
async fn who_has_not_signed_is_refused_and_counted_from_wherever_else_it_asks() {
    let mut config = ServerConfig::default();
    config.cluster.secrets = vec![Secret::new("a secret of the cluster")];
    let server = Server::builder().config(config).build().unwrap();
    for (from, reason) in [("10.0.0.9", "unsigned"), ("203.0.113.9", "outside")] {
        let peer = SocketAddr::from((from.parse::<IpAddr>().unwrap(), 4711));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let internal = listener.local_addr().unwrap();
        let router = server.internal_router().layer(Extension(ConnectInfo(peer)));
        let serving = tokio::spawn(axum::serve(listener, router).into_future());
        let claims = [
            "fanfare-client: 127.0.0.1",
            "X-Forwarded-For: 127.0.0.1",
            "Forwarded: for=127.0.0.1",
        ];
        for (path, counted) in [("/identity", 1), ("/sessions/socket.io/?EIO=4&transport=polling", 2)] {
            let answer = request(internal, "GET", path, &claims, b"").await;
            assert_eq!(
                (answer.status, refused(internal, reason).await),
                (403, counted),
                "{path} from {from}"
            );
        }
        // Probes are for everybody.
        assert_eq!(request(internal, "GET", "/livez", &[], b"").await.status, 200);
        serving.abort();
    }
    server.close(Duration::from_secs(10)).await;
}
