//! TLS.

use std::{path::PathBuf, sync::Arc};

use fanfare_adapters::{
    Adapter, Delivery,
    nats::{self, NatsAdapter},
    redis::{self, RedisAdapter},
};

use crate::{
    server::Server,
    world::{Kind, Node, eventually, topic},
};

fn adapter(kind: Kind, server: &Server, tls_ca: Option<PathBuf>) -> Arc<dyn Adapter> {
    let port = server.port;
    match kind {
        Kind::Redis => {
            let config = redis::Config {
                tls_ca,
                ..redis::Config::new(format!("rediss://127.0.0.1:{port}"))
            };
            Arc::new(RedisAdapter::start(config).expect("a valid configuration"))
        }
        _ => {
            let config = nats::Config {
                tls_ca,
                ..nats::Config::new(format!("tls://127.0.0.1:{port}"))
            };
            Arc::new(NatsAdapter::start(config).expect("a valid configuration"))
        }
    }
}

pub async fn a_server_is_trusted_by_its_authority_alone(kind: Kind) {
    let mut server = Server::new(kind, None);
    let authority = server.identify().await;
    server.start().await;

    let mut node = Node::new(adapter(kind, &server, Some(authority)));
    assert_eq!(node.next().await, Delivery::Connected);
    node.subscribe(topic("a")).await;
    node.publish("a", "sealed");
    assert_eq!(node.message().await.1, "sealed");

    // The system's authorities do not know this server.
    let stranger = adapter(kind, &server, None);
    let fault = eventually("the distrust is known", || stranger.fault(), Option::is_some)
        .await
        .expect("known");
    assert!(fault.to_lowercase().contains("certificate"), "{fault}");
    assert_eq!(stranger.counters().connects, 0);
}
