//! A method of the [`Builder`] for each option, by the reference's name.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use super::{Builder, CookieConfig, CorsConfig, ForwardConfig, HttpCompression, Network, Origins};
use crate::{
    engine::{PerMessageDeflate, Transport},
    hub::{Parser, recovery::Recovery},
};

/// Makes a method of each line: `option(argument: type) => place = value`, the place being in the [`ServerConfig`](super::ServerConfig).
/// Without a value the argument is it.
macro_rules! options {
    ($(
        $(#[$doc:meta])*
        $option:ident($argument:ident: $type:ty) => $($place:ident).+ $(= $value:expr)?;
    )*) => {$(
        $(#[$doc])*
        #[must_use]
        pub fn $option(mut self, $argument: $type) -> Self {
            self.config.$($place).+ = options!(@ $argument $($value)?);
            self
        }
    )*};
    (@ $argument:ident) => { $argument };
    (@ $argument:ident $value:expr) => { $value };
}

/// Options of Engine.IO, by the reference's names.
///
/// ```
/// use std::time::Duration;
///
/// use fanfare::{Server, node::CorsConfig};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = Server::builder()
///     .path("/live")
///     .ping_interval(Duration::from_secs(10))
///     .ping_timeout(Duration::from_secs(5))
///     .max_http_buffer_size(100_000)
///     .cors(CorsConfig { origins: vec!["https://example.org".into()], credentials: true, ..CorsConfig::default() })
///     .build()?;
/// # server.close(Duration::ZERO).await;
/// # Ok(())
/// # }
/// ```
impl Builder {
    options! {
        /// Whether only what is below the path is served. Without it the bare path (`/socket.io`) is, too. Default `true`.
        add_trailing_slash(only_below: bool) => add_trailing_slash;

        /// From a client's pong to the next ping. Default 25 s; above zero, at most a year, as all times here.
        ping_interval(interval: Duration) => engine.ping_interval;

        /// How long a client may take to answer a ping before it counts as gone. Default 20 s; above zero.
        ping_timeout(timeout: Duration) => engine.ping_timeout;

        /// How long an upgrade from polling to WebSocket may take before it is given up; the session goes on over polling. Default 10 s;
        /// above zero.
        upgrade_timeout(timeout: Duration) => engine.upgrade_timeout;
    }

    /// Bytes of the largest message (WebSocket) or body (polling) that is taken from a client; a client that sends more is disconnected.
    /// A packet may have so much and so many attachments of that size. Default 1 000 000; above zero.
    #[must_use]
    pub fn max_http_buffer_size(mut self, bytes: usize) -> Self {
        self.config.engine.max_http_buffer_size = bytes;
        self.config.hub.take_messages_of(bytes);
        self
    }

    options! {
        /// The transports that clients may use; at least one. Default polling and WebSocket.
        ///
        /// ```
        /// use fanfare::{Server, engine::Transport};
        ///
        /// let server = Server::builder().transports([Transport::WebSocket]);
        /// # drop(server);
        /// ```
        transports(transports: impl IntoIterator<Item = Transport>) => engine.transports = transports.into_iter().collect();

        /// Whether clients that poll are told that they may upgrade. Default `true`.
        allow_upgrades(allow: bool) => engine.allow_upgrades;

        /// Whether clients of Socket.IO 1 and 2 are served, which speak Engine.IO 3. Default `false`.
        allow_eio3(allow: bool) => engine.allow_eio3;

        /// Whether polling by script tags and forms (JSONP) is spoken, which goes past CORS. Needs the polling transport. Default `false`.
        jsonp(allow: bool) => engine.jsonp;

        /// A text message that every session gets right behind its `open` packet. Default none.
        initial_packet(text: impl Into<String>) => engine.initial_packet = Some(text.into());

        /// Compression of answers to polls; `None` for none. Default from 1024 bytes on.
        http_compression(compression: impl Into<Option<HttpCompression>>) => http_compression = compression.into();

        /// Compression of messages on WebSockets whose clients offer it; `None` for none, the default.
        ///
        /// ```
        /// use fanfare::{Server, engine::PerMessageDeflate};
        ///
        /// let server = Server::builder().per_message_deflate(PerMessageDeflate { threshold: 4096 });
        /// # drop(server);
        /// ```
        per_message_deflate(compression: impl Into<Option<PerMessageDeflate>>) => engine.per_message_deflate = compression.into();

        /// The affinity cookie, set with every handshake. Default none.
        cookie(cookie: impl Into<Option<CookieConfig>>) => cookie = cookie.into();

        /// Which web pages of other origins may read answers. Default none: no CORS headers.
        cors(cors: CorsConfig) => cors;
    }
}

/// Options of Socket.IO, by the reference's names.
impl Builder {
    options! {
        /// How long a connection may exist without having joined a namespace. Default 45 s; above zero.
        connect_timeout(timeout: Duration) => hub.connect_timeout;

        /// Whether the JavaScript client is served below the path. Default `true`.
        serve_client(serve: bool) => serve_client;

        /// Whether and how clients get back the session of a connection that broke. Default `None`: not at all.
        ///
        /// ```
        /// use fanfare::{Server, hub::recovery::Recovery};
        ///
        /// let server = Server::builder().connection_state_recovery(Recovery::default());
        /// # drop(server);
        /// ```
        connection_state_recovery(recovery: impl Into<Option<Recovery>>) => hub.connection_state_recovery = recovery.into();

        /// Whether a namespace that came to be because a client asked for it ([`Io::of_dynamic`](crate::hub::Io::of_dynamic)) is removed when
        /// its last socket has left. Default `false`.
        cleanup_empty_child_namespaces(remove: bool) => hub.cleanup_empty_child_namespaces;

        /// How packets are written; clients need the same parser. Default [`JsonParser`](crate::hub::JsonParser).
        ///
        /// ```
        /// use fanfare::{Server, hub::MsgpackParser};
        ///
        /// let server = Server::builder().parser(MsgpackParser);
        /// # drop(server);
        /// ```
        parser(parser: impl Parser + 'static) => hub.parser = Arc::new(parser);
    }
}

/// Bounds, and what stands around the reference's options: it has none of these.
impl Builder {
    options! {
        /// Which web pages may open sessions and upgrade them. Default all, as in the reference.
        origins(origins: Origins) => origins;

        /// The networks of the proxies in front of the server, whose `X-Forwarded-*` headers are believed. Default none.
        trusted_proxies(networks: impl IntoIterator<Item = Network>) => trusted_proxies = networks.into_iter().collect();

        /// Where nodes are; other addresses are neither asked nor let in where only nodes may ask. Default private and loopback networks.
        cluster_networks(networks: impl IntoIterator<Item = Network>) => cluster_networks = networks.into_iter().collect();

        /// How requests for sessions of other nodes are handed to them.
        forward(forward: ForwardConfig) => forward;

        /// How many namespaces one connection may be in; a CONNECT beyond is refused. Default 32; at least one.
        max_namespaces(namespaces: usize) => hub.max_namespaces;

        /// How many namespaces may exist because clients asked for them; a CONNECT that would make one more is refused. Default 10 000.
        max_child_namespaces(namespaces: usize) => hub.max_child_namespaces;

        /// How many rooms one socket may be in; a join beyond is an error, and counted. Default 10 000; at least one.
        max_rooms(rooms: usize) => hub.max_rooms;
    }

    /// How many binary attachments a packet may have; a client that sends more is disconnected. Default 10.
    #[must_use]
    pub fn max_attachments(mut self, attachments: usize) -> Self {
        self.config.hub.limits.max_attachments = attachments;
        self.config.hub.take_messages_of(self.config.engine.max_http_buffer_size);
        self
    }

    options! {
        /// How deep arrays and objects of a packet may nest; a client that nests deeper is disconnected. Default 64; 1 to 127.
        max_depth(levels: usize) => hub.limits.max_depth;

        /// How long an emitted event's ack is waited for unless the caller says otherwise. Default 10 s; above zero.
        ack_timeout(timeout: Duration) => hub.ack_timeout;

        /// How many bytes of clients' answers to one broadcast are held until they are taken; further answers count as missing. Default
        /// 16 MiB; above zero.
        ack_bytes(bytes: usize) => hub.ack_bytes;

        /// How long other nodes are waited for unless the caller says otherwise. Default 6 s; above zero.
        request_timeout(timeout: Duration) => hub.request_timeout;

        /// Whether `fetch_sockets` tells cookies and authorization headers of clients, and the `pid` by which a session is taken over. Default
        /// `false`: they are withheld.
        expose_credentials(expose: bool) => hub.expose_credentials;

        /// Bytes of JSON that a client may send as its auth for a namespace, which are kept as long as its socket; a CONNECT with more is
        /// refused. Default 64 KiB; above zero.
        max_auth_bytes(bytes: usize) => hub.max_auth_bytes;

        /// How many events a second a client may send into one namespace: see
        /// [`events_per_second`](crate::hub::Config::events_per_second). Default unbounded.
        events_per_second(events: impl Into<Option<NonZeroU32>>) => hub.events_per_second = events.into();

        /// How many sessions the server has at one time; a handshake beyond is answered 503. Default 1 000 000.
        max_sessions(sessions: usize) => engine.max_sessions;

        /// The same for the sessions of one client address: see
        /// [`max_sessions_per_address`](crate::engine::Config::max_sessions_per_address). Default unbounded; at least one.
        max_sessions_per_address(sessions: usize) => engine.max_sessions_per_address;

        /// Bytes that may wait to be sent to one client; a client that is further behind is disconnected. Default 1 MiB; above zero.
        outbox_bytes(bytes: usize) => engine.outbox_bytes;

        /// Over how long the sessions are closed at the end, so that their clients do not all come back at once. Default 5 s.
        drain_spread(spread: Duration) => drain_spread;
    }
}
