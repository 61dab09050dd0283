//! Clients that say they are somebody else, in the headers in which nodes tell each other who a client is, and in those of proxies that nobody
//! has configured: whichever node they reach, they are who they are.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use axum::extract::ConnectInfo;
use fanfare::{
    Server,
    cluster::Secret,
    hub::Socket,
    node::{Origins, ServerConfig},
};
use fanfare_adapters::memory::{self, MemoryBus};
use http::request::Parts;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::dsl::{application, metric, request, start, upgrade, within};

const SPOOFED: [&str; 10] = [
    "fanfare-signature: v1 0 AAAAAAAAAAAAAAAA 1 AAAA AAAAAAAAAAAAAAAAAAAAAA",
    "fanfare-client: 203.0.113.9",
    "fanfare-host: evil.example",
    "fanfare-release: 1",
    "fanfare-held: 1",
    "X-Forwarded-For: 203.0.113.9",
    "X-Forwarded-Host: evil.example",
    "X-Forwarded-Proto: https",
    "X-Real-IP: 203.0.113.9",
    "Forwarded: for=203.0.113.9;host=evil.example;proto=https",
];

/// Who a client was taken for, and the names of its headers.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    address: Option<IpAddr>,
    headers: Vec<String>,
}

/// What an application has seen, in the order in which it did.
type Sights = Arc<Mutex<Vec<Seen>>>;

fn note(sights: &Sights, request: &Parts) {
    let connected = request.extensions.get::<ConnectInfo<SocketAddr>>();
    sights.lock().unwrap().push(Seen {
        address: connected.map(|ConnectInfo(address)| address.ip()),
        headers: request.headers.keys().map(ToString::to_string).collect(),
    });
}

/// A node in an application that looks at every request of a session.
struct Watching {
    server: Server,
    sights: Sights,
    public: SocketAddr,
    internal: SocketAddr,
    _serving: [AbortOnDropHandle<()>; 2],
}

impl Watching {
    async fn start(bus: &MemoryBus) -> Self {
        let [public, internal] = [listen().await, listen().await];
        let addresses = [&public, &internal].map(|listener| listener.local_addr().unwrap());
        let mut config = ServerConfig {
            origins: Origins::SameHost,
            ..ServerConfig::default()
        };
        config.cluster.secrets = vec![Secret::new("a secret of the cluster")];
        config.cluster.advertise = addresses[1].to_string();
        let sights = Sights::default();
        let [asked, answered, connected] = [(); 3].map(|()| Arc::clone(&sights));
        let server = Server::builder()
            .config(config)
            .adapter(Arc::new(bus.adapter(memory::Config::default())))
            .allow_request(move |request| {
                note(&asked, request);
                std::future::ready(Ok(()))
            })
            .headers(move |_, request| note(&answered, request))
            .build()
            .unwrap();
        application(server.io());
        let on_connect = move |socket: Socket| {
            let handshake = socket.handshake();
            assert!(!handshake.secure());
            connected.lock().unwrap().push(Seen {
                address: handshake.address(),
                headers: handshake.headers().map(|(name, _)| name.to_owned()).collect(),
            });
            std::future::ready(())
        };
        server.io().sockets().on_connect(on_connect).unwrap();
        let serve = |listener, router: axum::Router| {
            let service = router.into_make_service_with_connect_info::<SocketAddr>();
            AbortOnDropHandle::new(tokio::spawn(async move { axum::serve(listener, service).await.unwrap() }))
        };
        Self {
            _serving: [serve(public, server.router()), serve(internal, server.internal_router())],
            server,
            sights,
            public: addresses[0],
            internal: addresses[1],
        }
    }

    /// Nobody was seen as what they said; forgets what was seen, and tells how much it was.
    fn was_not_fooled(&self) -> usize {
        let seen = std::mem::take(&mut *self.sights.lock().unwrap());
        for seen in &seen {
            assert_eq!(seen.address, Some(Ipv4Addr::LOCALHOST.into()), "{seen:?}");
            let claims = seen.headers.iter().filter(|name| name.starts_with("fanfare-"));
            assert_eq!(claims.count(), 0, "{seen:?}");
        }
        seen.len()
    }

    async fn spoofed(&self) -> u64 {
        metric(self.internal, "fanfare_spoofed_headers_total").await
    }
}

async fn listen() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap()
}

#[tokio::test]
async fn whatever_a_client_says_it_is_who_it_is_at_whichever_node() {
    let bus = MemoryBus::new();
    let (owner, edge) = (Watching::start(&bus).await, Watching::start(&bus).await);
    within("the nodes to find each other", async {
        while metric(edge.internal, "fanfare_cluster_peers").await == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;

    // The session itself: asked for, answered, connected.
    let open = request(owner.public, "GET", "/socket.io/?EIO=4&transport=polling", &SPOOFED, b"").await;
    let sid = open.text().split('"').nth(3).unwrap().to_owned();
    let target = format!("/socket.io/?EIO=4&transport=polling&sid={sid}");
    let text = [&SPOOFED[..], &["Content-Type: text/plain"]].concat();
    assert_eq!(request(owner.public, "POST", &target, &text, b"40").await.text(), "ok");
    assert!(request(owner.public, "GET", &target, &SPOOFED, b"").await.text().starts_with("40{"));
    assert_eq!(owner.was_not_fooled(), 5);
    assert_eq!((owner.spoofed().await, edge.spoofed().await), (3, 0));

    // The same through the other node: a request is what it is, and asks for the release of no poll.
    assert_eq!(request(edge.public, "POST", &target, &text, br#"42["echo",1]"#).await.text(), "ok");
    let answer = request(edge.public, "GET", &target, &SPOOFED, b"").await;
    assert_eq!((answer.text(), answer.header("fanfare-held")), (r#"42["echo",1]"#, None));
    let seen = owner.sights.lock().unwrap().clone();
    let forwarded = ["x-forwarded-for", "x-forwarded-host", "x-real-ip", "forwarded"];
    assert!(
        seen.iter()
            .all(|seen| !seen.headers.iter().any(|name| forwarded.contains(&&**name))),
        "{seen:?}"
    );
    assert_eq!((owner.was_not_fooled(), edge.was_not_fooled()), (2, 0));
    assert_eq!((owner.spoofed().await, edge.spoofed().await), (3, 2));

    // An upgrade is for the host that it was sent to, whatever host it names.
    let query = format!("EIO=4&transport=websocket&sid={sid}");
    let evil = [&SPOOFED[..], &["Origin: http://evil.example"]].concat();
    for node in [&owner, &edge] {
        let refused = upgrade(node.public, &query, &evil).await;
        assert_eq!((refused.status, refused.text()), (400, "Forbidden by the origins rule"));
    }
    let own = format!("Origin: http://{}", edge.public);
    assert_eq!(upgrade(edge.public, &query, &[&SPOOFED[..], &[&own]].concat()).await.status, 101);
    // Both have asked their applications, and the owner has answered.
    assert_eq!((owner.was_not_fooled(), edge.was_not_fooled()), (2, 1));
    assert_eq!((owner.spoofed().await, edge.spoofed().await), (4, 4));
    for node in [owner, edge] {
        node.server.close(std::time::Duration::from_secs(10)).await;
    }
}

#[tokio::test]
async fn the_public_listener_knows_no_path_of_the_internal_one() {
    let node = start().await;
    // Of no session: a poll of one would wait.
    let target = "/sessions/socket.io/?EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAAAAAAAAAA";
    for (method, path) in [
        ("GET", "/livez"),
        ("GET", "/readyz"),
        ("GET", "/metrics"),
        ("GET", "/identity"),
        ("GET", target),
        ("POST", target),
    ] {
        assert_eq!(
            request(node.public_addr(), method, path, &SPOOFED, b"").await.status,
            404,
            "{method} {path}"
        );
        assert_ne!(
            request(node.internal_addr(), method, path, &[], b"").await.status,
            404,
            "{method} {path}"
        );
    }
    node.shutdown().await;
}
