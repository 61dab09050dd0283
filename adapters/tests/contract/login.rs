//! Passwords.

use std::sync::Arc;

use fanfare_adapters::{
    Adapter, Delivery,
    nats::{self, NatsAdapter},
    redis::{self, RedisAdapter},
};

use crate::{
    server::Server,
    world::{Kind, Node, eventually, topic},
};

const USER: &str = "default";
const RIGHT: &str = "right-p:ss";
const WRONG: &str = "wrong-p:ss";

async fn guarded(kind: Kind) -> Server {
    let mut server = Server::new(kind, Some((USER, RIGHT)));
    server.start().await;
    server
}

fn by_key(kind: Kind, server: &Server, password: &str) -> Arc<dyn Adapter> {
    let (user, password) = (Some(USER.to_owned()), Some(password.to_owned()));
    let port = server.port;
    match kind {
        Kind::Redis => {
            let config = redis::Config {
                username: user,
                password,
                ..redis::Config::new(format!("redis://127.0.0.1:{port}"))
            };
            Arc::new(RedisAdapter::start(config).expect("a valid configuration"))
        }
        _ => {
            let config = nats::Config {
                user,
                password,
                ..nats::Config::new(format!("nats://127.0.0.1:{port}"))
            };
            Arc::new(NatsAdapter::start(config).expect("a valid configuration"))
        }
    }
}

fn by_url(kind: Kind, server: &Server, password: &str) -> Arc<dyn Adapter> {
    let address = format!("{USER}:{}@127.0.0.1:{}", password.replace(':', "%3A"), server.port);
    match kind {
        Kind::Redis => Arc::new(RedisAdapter::start(redis::Config::new(format!("redis://{address}"))).expect("a valid configuration")),
        _ => Arc::new(NatsAdapter::start(nats::Config::new(format!("nats://{address}"))).expect("a valid configuration")),
    }
}

pub async fn a_wrong_password_is_said_and_never_shown(kind: Kind) {
    let server = guarded(kind).await;
    for adapter in [by_key(kind, &server, WRONG), by_url(kind, &server, WRONG)] {
        let fault = eventually("the refusal is known", || adapter.fault(), Option::is_some)
            .await
            .expect("known");
        let said = ["WRONGPASS", "authorization violation"]
            .iter()
            .any(|words| fault.to_lowercase().contains(&words.to_lowercase()));
        assert!(said, "{fault}");
        assert!(!format!("{fault} {adapter:?}").contains(WRONG));
        assert_eq!(adapter.counters().connects, 0);
    }
}

pub async fn the_right_password_opens_by_url_and_by_key(kind: Kind) {
    let server = guarded(kind).await;
    for adapter in [by_key(kind, &server, RIGHT), by_url(kind, &server, RIGHT)] {
        let mut node = Node::new(adapter);
        assert_eq!(node.next().await, Delivery::Connected);
        node.subscribe(topic("a")).await;
        node.publish("a", "in");
        assert_eq!(node.message().await.1, "in");
    }
}
