//! What the command line says of the server.

use std::{sync::Arc, time::Duration};

use clap::{Parser, ValueEnum};
use fanfare::{
    engine,
    hub::{self, JsonParser, MsgpackParser, recovery::Recovery},
    node::{CookieConfig, ServerConfig},
};

#[derive(Debug, Parser)]
pub(crate) struct Flags {
    /// The port on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    pub(crate) port: u16,
    /// Where the transports answer
    #[arg(long, default_value = "/socket.io")]
    pub(crate) path: String,
    /// From a pong to the next ping, in milliseconds
    #[arg(long, default_value_t = 25_000)]
    ping_interval: u64,
    /// From a ping to the end of a client that does not answer, in milliseconds
    #[arg(long, default_value_t = 20_000)]
    ping_timeout: u64,
    /// Serve clients of Engine.IO 3, too
    #[arg(long)]
    allow_eio3: bool,
    /// Serve polls by script tags and forms, too
    #[arg(long)]
    jsonp: bool,
    /// How long a connection may be without a namespace, in milliseconds
    #[arg(long, default_value_t = 45_000)]
    connect_timeout: u64,
    /// The largest message or body that is taken, in bytes
    #[arg(long, default_value_t = 1_000_000)]
    max_payload: usize,
    /// From how many bytes on messages are compressed on WebSockets whose clients offer it; without it none are
    #[arg(long)]
    per_message_deflate: Option<usize>,
    /// Sessions of one client address at one time
    #[arg(long, default_value_t = usize::MAX)]
    max_sessions_per_address: usize,
    /// How packets are written
    #[arg(long, value_enum, default_value_t = PacketParser::Json)]
    parser: PacketParser,
    /// How long a session waits for a client that lost its connection, in milliseconds; without it none does
    #[arg(long)]
    recovery: Option<u64>,
    /// Join other nodes over the Redis of this URL
    #[arg(long)]
    pub(crate) redis: Option<String>,
    /// Set the affinity cookie
    #[arg(long)]
    cookie: bool,
    /// Let in who has this in the header `x-api-key`, and nobody else
    #[arg(long)]
    pub(crate) api_key: Option<String>,
    /// Over how long clients are sent away at the end, in milliseconds
    #[arg(long, default_value_t = 0)]
    drain: u64,
    /// Echo Engine.IO messages, without Socket.IO
    #[arg(long)]
    pub(crate) bare: bool,
}

/// How packets are written.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum PacketParser {
    Json,
    Msgpack,
}

impl Flags {
    pub(crate) fn engine(&self) -> engine::Config {
        engine::Config {
            ping_interval: Duration::from_millis(self.ping_interval),
            ping_timeout: Duration::from_millis(self.ping_timeout),
            allow_eio3: self.allow_eio3,
            jsonp: self.jsonp,
            per_message_deflate: self.per_message_deflate.map(|threshold| engine::PerMessageDeflate { threshold }),
            max_http_buffer_size: self.max_payload,
            max_sessions_per_address: self.max_sessions_per_address,
            ..engine::Config::default()
        }
    }

    pub(crate) fn server(&self) -> ServerConfig {
        ServerConfig {
            path: self.path.clone(),
            engine: self.engine(),
            hub: self.hub(),
            cookie: self.cookie.then(CookieConfig::default),
            drain_spread: Duration::from_millis(self.drain),
            ..ServerConfig::default()
        }
    }

    fn hub(&self) -> hub::Config {
        hub::Config {
            connect_timeout: Duration::from_millis(self.connect_timeout),
            parser: match self.parser {
                PacketParser::Json => Arc::new(JsonParser),
                PacketParser::Msgpack => Arc::new(MsgpackParser),
            },
            connection_state_recovery: self.recovery.map(|milliseconds| Recovery {
                max_disconnection_duration: Duration::from_millis(milliseconds),
                ..Recovery::default()
            }),
            ..hub::Config::default()
        }
    }
}
