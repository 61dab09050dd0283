//! The server that real clients are held against: a small application of the library. Its counterpart on the reference is
//! `reference/server.mjs`; both take the same flags, print `listening http://…` and speak the same events.
//!
//! With `--bare` it echoes the messages of bare Engine.IO sessions, as the official suites of that protocol ask for.

mod echo;
mod stories;

use std::{error::Error, net::Ipv4Addr, sync::Arc, time::Duration};

use clap::{Parser, ValueEnum};
use fanfare::{
    engine::{self, Engine, id::NodeTag},
    hub::{self, JsonParser, MsgpackParser},
    node::{self, CookieConfig, Node, ServerConfig},
};
use fanfare_adapters::{
    Adapter,
    memory::{self, MemoryBus},
    redis::{self, RedisAdapter},
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

/// How long the end may take.
const GRACE: Duration = Duration::from_secs(5);

/// How packets are written.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum PacketParser {
    Json,
    Msgpack,
}

#[derive(Debug, Parser)]
struct Flags {
    /// The port on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Where the transports answer
    #[arg(long, default_value = "/socket.io")]
    path: String,
    /// From a pong to the next ping, in milliseconds
    #[arg(long, default_value_t = 25_000)]
    ping_interval: u64,
    /// From a ping to the end of a client that does not answer, in milliseconds
    #[arg(long, default_value_t = 20_000)]
    ping_timeout: u64,
    /// How long a connection may be without a namespace, in milliseconds
    #[arg(long, default_value_t = 45_000)]
    connect_timeout: u64,
    /// The largest message or body that is taken, in bytes
    #[arg(long, default_value_t = 1_000_000)]
    max_payload: usize,
    /// How packets are written
    #[arg(long, value_enum, default_value_t = PacketParser::Json)]
    parser: PacketParser,
    /// Join other nodes over the Redis of this URL
    #[arg(long)]
    redis: Option<String>,
    /// Set the affinity cookie
    #[arg(long)]
    cookie: bool,
    /// Serve clients of Engine.IO 3, too
    #[arg(long)]
    allow_eio3: bool,
    /// Echo Engine.IO messages, without Socket.IO
    #[arg(long)]
    bare: bool,
}

impl Flags {
    fn engine(&self) -> engine::Config {
        engine::Config {
            ping_interval: Duration::from_millis(self.ping_interval),
            ping_timeout: Duration::from_millis(self.ping_timeout),
            max_http_buffer_size: self.max_payload,
            allow_eio3: self.allow_eio3,
            ..engine::Config::default()
        }
    }

    fn hub(&self) -> hub::Config {
        hub::Config {
            connect_timeout: Duration::from_millis(self.connect_timeout),
            parser: match self.parser {
                PacketParser::Json => Arc::new(JsonParser),
                PacketParser::Msgpack => Arc::new(MsgpackParser),
            },
            ..hub::Config::default()
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let flags = Flags::parse();
    let mut terminate = signal(SignalKind::terminate())?;
    if flags.bare {
        let engine = Engine::new(flags.engine(), NodeTag::random(), Arc::new(echo::Echo));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, flags.port)).await?;
        println!("listening http://{}", listener.local_addr()?);
        let router = node::engine_router(&flags.path, engine)?;
        tokio::select! {
            served = axum::serve(listener, router) => served?,
            _ = terminate.recv() => {}
        }
        return Ok(());
    }
    let config = node::Config {
        listen: (Ipv4Addr::LOCALHOST, flags.port).into(),
        internal_listen: (Ipv4Addr::LOCALHOST, 0).into(),
        shutdown_grace: GRACE,
        server: ServerConfig {
            path: flags.path.clone(),
            engine: flags.engine(),
            hub: flags.hub(),
            cookie: flags.cookie.then(CookieConfig::default),
            ..ServerConfig::default()
        },
        ..node::Config::default()
    };
    let adapter: Arc<dyn Adapter> = match flags.redis {
        Some(url) => Arc::new(RedisAdapter::start(redis::Config::new(url))?),
        None => Arc::new(MemoryBus::new().adapter(memory::Config::default())),
    };
    let node = Node::start_with(config, adapter, stories::register).await?;
    println!("listening http://{}", node.public_addr());
    terminate.recv().await;
    node.shutdown().await;
    Ok(())
}
