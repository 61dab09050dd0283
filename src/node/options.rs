//! A method of the [`Builder`] for each option, by the reference's name, and what is refused of them.

use std::{fmt, num::NonZeroU32, sync::Arc, time::Duration};

use super::{BuildError, Builder, Config, CookieConfig, CorsConfig, HttpCompression, Network, Origins, ServerConfig};
use crate::{
    engine::Transport,
    hub::{Parser, recovery::Recovery},
};

/// No interval is longer: an instant that far away can still be told.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

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
    /// Whether only what is below the path is served. Without it the bare path (`/socket.io`) is, too. Default `true`.
    #[must_use]
    pub const fn add_trailing_slash(mut self, only_below: bool) -> Self {
        self.config.add_trailing_slash = only_below;
        self
    }

    /// From a client's pong to the next ping. Default 25 s; above zero, at most a year, as all times here.
    #[must_use]
    pub const fn ping_interval(mut self, interval: Duration) -> Self {
        self.config.engine.ping_interval = interval;
        self
    }

    /// How long a client may take to answer a ping before it counts as gone. Default 20 s; above zero.
    #[must_use]
    pub const fn ping_timeout(mut self, timeout: Duration) -> Self {
        self.config.engine.ping_timeout = timeout;
        self
    }

    /// How long an upgrade from polling to WebSocket may take before it is given up; the session goes on over polling. Default 10 s;
    /// above zero.
    #[must_use]
    pub const fn upgrade_timeout(mut self, timeout: Duration) -> Self {
        self.config.engine.upgrade_timeout = timeout;
        self
    }

    /// Bytes of the largest message (WebSocket) or body (polling) that is taken from a client; a client that sends more is disconnected.
    /// A packet may have so much and so many attachments of that size. Default 1 000 000; above zero.
    #[must_use]
    pub fn max_http_buffer_size(mut self, bytes: usize) -> Self {
        self.config.engine.max_http_buffer_size = bytes;
        self.config.hub.take_messages_of(bytes);
        self
    }

    /// The transports that clients may use; at least one. Default polling and WebSocket.
    ///
    /// ```
    /// use fanfare::{Server, engine::Transport};
    ///
    /// let server = Server::builder().transports([Transport::WebSocket]);
    /// # drop(server);
    /// ```
    #[must_use]
    pub fn transports(mut self, transports: impl IntoIterator<Item = Transport>) -> Self {
        self.config.engine.transports = transports.into_iter().collect();
        self
    }

    /// Whether clients that poll are told that they may upgrade. Default `true`.
    #[must_use]
    pub const fn allow_upgrades(mut self, allow: bool) -> Self {
        self.config.engine.allow_upgrades = allow;
        self
    }

    /// Whether clients of Socket.IO 1 and 2 are served, which speak Engine.IO 3. Default `false`.
    #[must_use]
    pub const fn allow_eio3(mut self, allow: bool) -> Self {
        self.config.engine.allow_eio3 = allow;
        self
    }

    /// Whether polling by script tags and forms (JSONP) is spoken, which goes past CORS. Needs the polling transport. Default `false`.
    #[must_use]
    pub const fn jsonp(mut self, allow: bool) -> Self {
        self.config.engine.jsonp = allow;
        self
    }

    /// A text message that every session gets right behind its `open` packet. Default none.
    #[must_use]
    pub fn initial_packet(mut self, text: impl Into<String>) -> Self {
        self.config.engine.initial_packet = Some(text.into());
        self
    }

    /// Compression of answers to polls; `None` for none. Default from 1024 bytes on.
    #[must_use]
    pub fn http_compression(mut self, compression: impl Into<Option<HttpCompression>>) -> Self {
        self.config.http_compression = compression.into();
        self
    }

    /// The affinity cookie, set with every handshake. Default none.
    #[must_use]
    pub fn cookie(mut self, cookie: impl Into<Option<CookieConfig>>) -> Self {
        self.config.cookie = cookie.into();
        self
    }

    /// Which web pages of other origins may read answers. Default none: no CORS headers.
    #[must_use]
    pub fn cors(mut self, cors: CorsConfig) -> Self {
        self.config.cors = cors;
        self
    }
}

/// Options of Socket.IO, by the reference's names.
impl Builder {
    /// How long a connection may exist without having joined a namespace. Default 45 s; above zero.
    #[must_use]
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.config.hub.connect_timeout = timeout;
        self
    }

    /// Whether the JavaScript client is served below the path. Default `true`.
    #[must_use]
    pub const fn serve_client(mut self, serve: bool) -> Self {
        self.config.serve_client = serve;
        self
    }

    /// Whether and how clients get back the session of a connection that broke. Default `None`: not at all.
    ///
    /// ```
    /// use fanfare::{Server, hub::recovery::Recovery};
    ///
    /// let server = Server::builder().connection_state_recovery(Recovery::default());
    /// # drop(server);
    /// ```
    #[must_use]
    pub fn connection_state_recovery(mut self, recovery: impl Into<Option<Recovery>>) -> Self {
        self.config.hub.connection_state_recovery = recovery.into();
        self
    }

    /// Whether a namespace that came to be because a client asked for it ([`Io::of_dynamic`](crate::hub::Io::of_dynamic)) is removed when
    /// its last socket has left. Default `false`.
    #[must_use]
    pub const fn cleanup_empty_child_namespaces(mut self, remove: bool) -> Self {
        self.config.hub.cleanup_empty_child_namespaces = remove;
        self
    }

    /// How packets are written; clients need the same parser. Default [`JsonParser`](crate::hub::JsonParser).
    ///
    /// ```
    /// use fanfare::{Server, hub::MsgpackParser};
    ///
    /// let server = Server::builder().parser(MsgpackParser);
    /// # drop(server);
    /// ```
    #[must_use]
    pub fn parser(mut self, parser: impl Parser + 'static) -> Self {
        self.config.hub.parser = Arc::new(parser);
        self
    }
}

/// Bounds, and what stands around the reference's options: it has none of these.
impl Builder {
    /// Which web pages may open sessions and upgrade them. Default all, as in the reference.
    #[must_use]
    pub fn origins(mut self, origins: Origins) -> Self {
        self.config.origins = origins;
        self
    }

    /// The networks of the proxies in front of the server, whose `X-Forwarded-*` headers are believed. Default none.
    #[must_use]
    pub fn trusted_proxies(mut self, networks: impl IntoIterator<Item = Network>) -> Self {
        self.config.trusted_proxies = networks.into_iter().collect();
        self
    }

    /// How many namespaces one connection may be in; a CONNECT beyond is refused. Default 32; at least one.
    #[must_use]
    pub const fn max_namespaces(mut self, namespaces: usize) -> Self {
        self.config.hub.max_namespaces = namespaces;
        self
    }

    /// How many namespaces may exist because clients asked for them; a CONNECT that would make one more is refused. Default 10 000.
    #[must_use]
    pub const fn max_child_namespaces(mut self, namespaces: usize) -> Self {
        self.config.hub.max_child_namespaces = namespaces;
        self
    }

    /// How many rooms one socket may be in; a join beyond is an error, and counted. Default 10 000; at least one.
    #[must_use]
    pub const fn max_rooms(mut self, rooms: usize) -> Self {
        self.config.hub.max_rooms = rooms;
        self
    }

    /// How many binary attachments a packet may have; a client that sends more is disconnected. Default 10.
    #[must_use]
    pub fn max_attachments(mut self, attachments: usize) -> Self {
        self.config.hub.limits.max_attachments = attachments;
        self.config.hub.take_messages_of(self.config.engine.max_http_buffer_size);
        self
    }

    /// How deep arrays and objects of a packet may nest; a client that nests deeper is disconnected. Default 64; 1 to 127.
    #[must_use]
    pub const fn max_depth(mut self, levels: usize) -> Self {
        self.config.hub.limits.max_depth = levels;
        self
    }

    /// How long an emitted event's ack is waited for unless the caller says otherwise. Default 10 s; above zero.
    #[must_use]
    pub const fn ack_timeout(mut self, timeout: Duration) -> Self {
        self.config.hub.ack_timeout = timeout;
        self
    }

    /// How many bytes of clients' answers to one broadcast are held until they are taken; further answers count as missing. Default
    /// 16 MiB; above zero.
    #[must_use]
    pub const fn ack_bytes(mut self, bytes: usize) -> Self {
        self.config.hub.ack_bytes = bytes;
        self
    }

    /// How long other nodes are waited for unless the caller says otherwise. Default 5 s; above zero.
    #[must_use]
    pub const fn request_timeout(mut self, timeout: Duration) -> Self {
        self.config.hub.request_timeout = timeout;
        self
    }

    /// Whether `fetch_sockets` tells cookies and authorization headers of clients. Default `false`: they are withheld.
    #[must_use]
    pub const fn expose_credentials(mut self, expose: bool) -> Self {
        self.config.hub.expose_credentials = expose;
        self
    }

    /// Bytes of JSON that a client may send as its auth for a namespace, which are kept as long as its socket; a CONNECT with more is
    /// refused. Default 64 KiB; above zero.
    #[must_use]
    pub const fn max_auth_bytes(mut self, bytes: usize) -> Self {
        self.config.hub.max_auth_bytes = bytes;
        self
    }

    /// How many events a second a client may send into one namespace: see
    /// [`events_per_second`](crate::hub::Config::events_per_second). Default unbounded.
    #[must_use]
    pub fn events_per_second(mut self, events: impl Into<Option<NonZeroU32>>) -> Self {
        self.config.hub.events_per_second = events.into();
        self
    }

    /// How many sessions the server has at one time; a handshake beyond is answered 503. Default 1 000 000.
    #[must_use]
    pub const fn max_sessions(mut self, sessions: usize) -> Self {
        self.config.engine.max_sessions = sessions;
        self
    }

    /// The same for the sessions of one client address: see
    /// [`max_sessions_per_address`](crate::engine::Config::max_sessions_per_address). Default unbounded; at least one.
    #[must_use]
    pub const fn max_sessions_per_address(mut self, sessions: usize) -> Self {
        self.config.engine.max_sessions_per_address = sessions;
        self
    }

    /// Bytes that may wait to be sent to one client; a client that is further behind is disconnected. Default 1 MiB; above zero.
    #[must_use]
    pub const fn outbox_bytes(mut self, bytes: usize) -> Self {
        self.config.engine.outbox_bytes = bytes;
        self
    }

    /// Over how long the sessions are closed at the end, so that their clients do not all come back at once. Default 5 s.
    #[must_use]
    pub const fn drain_spread(mut self, spread: Duration) -> Self {
        self.config.drain_spread = spread;
        self
    }
}

/// Looks at the values that would make a server that serves nobody, or whose clock runs over.
pub(super) fn check(config: &ServerConfig) -> Result<(), BuildError> {
    let ServerConfig {
        engine,
        hub,
        drain_spread,
        ready,
        body_timeout,
        ..
    } = config;
    let recovery = hub.connection_state_recovery.as_ref();
    let of_recovery = recovery.map(|recovery| {
        [
            (
                "connection_state_recovery.max_disconnection_duration",
                recovery.max_disconnection_duration,
            ),
            ("connection_state_recovery.replay_timeout", recovery.replay_timeout),
        ]
    });
    let times = [
        ("ping_interval", engine.ping_interval),
        ("ping_timeout", engine.ping_timeout),
        ("upgrade_timeout", engine.upgrade_timeout),
        ("write_timeout", engine.write_timeout),
        ("message_timeout", engine.message_timeout),
        ("farewell_timeout", engine.farewell_timeout),
        ("pause_timeout", engine.pause_timeout),
        ("close_timeout", engine.close_timeout),
        ("body_timeout", *body_timeout),
        ("connect_timeout", hub.connect_timeout),
        ("ack_timeout", hub.ack_timeout),
        ("request_timeout", hub.request_timeout),
        ("stall_timeout", hub.stall_timeout),
        ("attachment_timeout", hub.attachment_timeout),
    ];
    for (option, time) in times.into_iter().chain(of_recovery.into_iter().flatten()) {
        ensure(
            !time.is_zero() && time <= LONGEST,
            option,
            time,
            "a time above zero, at most a year",
        )?;
    }
    for (option, time) in [("drain_spread", *drain_spread), ("ready.grace", ready.grace)] {
        ensure(time <= LONGEST, option, time, "a time of at most a year")?;
    }
    for (option, count) in [
        ("max_http_buffer_size", engine.max_http_buffer_size),
        ("outbox_bytes", engine.outbox_bytes),
        ("outbox_entries", engine.outbox_entries),
        ("max_sessions_per_address", engine.max_sessions_per_address),
        ("max_namespaces", hub.max_namespaces),
        ("max_rooms", hub.max_rooms),
        ("max_depth", hub.limits.max_depth),
        ("max_bytes", hub.limits.max_bytes),
        ("max_auth_bytes", hub.max_auth_bytes),
        ("ack_bytes", hub.ack_bytes),
        ("queue_events", hub.queue_events),
        ("queue_bytes", hub.queue_bytes),
    ] {
        ensure(count > 0, option, count, "a number above zero")?;
    }
    let transports = &engine.transports;
    let once = transports
        .iter()
        .enumerate()
        .all(|(n, one)| !transports.iter().skip(n + 1).any(|other| other == one));
    ensure(
        once && !transports.is_empty(),
        "transports",
        transports,
        "at least one transport, and each once",
    )?;
    let polls = transports.contains(&Transport::Polling);
    ensure(
        polls || !engine.jsonp,
        "jsonp",
        engine.jsonp,
        "false, or polling among the transports",
    )
}

/// The same for what a node has around its server.
pub(super) fn check_node(config: &Config) -> Result<(), BuildError> {
    for (option, time) in [("header_timeout", config.header_timeout), ("send_timeout", config.send_timeout)] {
        ensure(
            !time.is_zero() && time <= LONGEST,
            option,
            time,
            "a time above zero, at most a year",
        )?;
    }
    for (option, time) in [("drain", config.drain), ("shutdown_grace", config.shutdown_grace)] {
        ensure(time <= LONGEST, option, time, "a time of at most a year")?;
    }
    for (option, count) in [
        ("max_connections", config.max_connections),
        ("max_connections_per_address", config.max_connections_per_address),
    ] {
        ensure(count > 0, option, count, "a number above zero")?;
    }
    Ok(())
}

fn ensure(fits: bool, option: &'static str, found: impl fmt::Debug, expected: &'static str) -> Result<(), BuildError> {
    if fits {
        return Ok(());
    }
    let found = format!("{found:?}");
    Err(BuildError::Option { option, found, expected })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{hub::MsgpackParser, node::Server};

    /// What the server makes of an option.
    async fn built(options: impl FnOnce(Builder) -> Builder) -> Result<(), String> {
        match options(Server::builder()).build() {
            Ok(server) => {
                server.close(Duration::ZERO).await;
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    #[tokio::test]
    async fn nonsense_is_refused_and_named() {
        let zero = Duration::ZERO;
        let refused = [
            ("ping_interval is 0ns; expected a time", built(|b| b.ping_interval(zero)).await),
            ("ping_timeout is 0ns; expected a time", built(|b| b.ping_timeout(zero)).await),
            ("upgrade_timeout is 0ns; expected a time", built(|b| b.upgrade_timeout(zero)).await),
            ("connect_timeout is 0ns; expected a time", built(|b| b.connect_timeout(zero)).await),
            ("ping_interval is ", built(|b| b.ping_interval(Duration::MAX)).await),
            ("drain_spread is ", built(|b| b.drain_spread(Duration::MAX)).await),
            (
                "max_http_buffer_size is 0; expected a number",
                built(|b| b.max_http_buffer_size(0)).await,
            ),
            ("outbox_bytes is 0; expected a number", built(|b| b.outbox_bytes(0)).await),
            ("max_namespaces is 0; expected a number", built(|b| b.max_namespaces(0)).await),
            ("max_rooms is 0; expected a number", built(|b| b.max_rooms(0)).await),
            ("max_depth is 0; expected a number", built(|b| b.max_depth(0)).await),
            ("max_auth_bytes is 0; expected a number", built(|b| b.max_auth_bytes(0)).await),
            ("ack_bytes is 0; expected a number", built(|b| b.ack_bytes(0)).await),
            ("ack_timeout is 0ns; expected a time", built(|b| b.ack_timeout(zero)).await),
            ("request_timeout is 0ns; expected a time", built(|b| b.request_timeout(zero)).await),
            ("max_sessions_per_address is 0", built(|b| b.max_sessions_per_address(0)).await),
            ("transports is []; expected at least one", built(|b| b.transports([])).await),
            (
                "transports is [Polling, Polling]; expected",
                built(|b| b.transports([Transport::Polling; 2])).await,
            ),
            (
                "jsonp is true; expected false, or polling",
                built(|b| b.jsonp(true).transports([Transport::WebSocket])).await,
            ),
            ("server.path is \"live\"; expected a path", built(|b| b.path("live")).await),
        ];
        for (expected, outcome) in refused {
            let told = outcome.expect_err(expected);
            assert!(told.starts_with(expected), "{told}\n{expected}");
        }
    }

    #[test]
    fn a_node_is_refused_by_the_same_measure() {
        let told = |change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            check_node(&config).map_err(|error| error.to_string())
        };
        assert_eq!(told(|_| {}), Ok(()));
        for (change, expected) in [
            ((|c| c.header_timeout = Duration::ZERO) as fn(&mut Config), "header_timeout is 0ns"),
            (|c| c.send_timeout = Duration::MAX, "send_timeout is "),
            (|c| c.drain = Duration::MAX, "drain is "),
            (|c| c.shutdown_grace = Duration::MAX, "shutdown_grace is "),
            (|c| c.max_connections = 0, "max_connections is 0"),
            (|c| c.max_connections_per_address = 0, "max_connections_per_address is 0"),
        ] {
            let told = told(change).expect_err(expected);
            assert!(told.starts_with(expected), "{told}");
        }
    }

    #[tokio::test]
    async fn every_option_that_makes_sense_is_taken() {
        let all = |builder: Builder| {
            builder
                .add_trailing_slash(false)
                .ping_interval(Duration::from_millis(1))
                .ping_timeout(LONGEST)
                .upgrade_timeout(Duration::from_secs(1))
                .connect_timeout(Duration::from_secs(1))
                .max_http_buffer_size(1)
                .transports([Transport::WebSocket])
                .allow_upgrades(false)
                .allow_eio3(true)
                .initial_packet("hello")
                .http_compression(None)
                .cookie(CookieConfig::default())
                .cors(CorsConfig::default())
                .serve_client(false)
                .parser(MsgpackParser)
                .origins(Origins::SameHost)
                .trusted_proxies(["10.0.0.0/8".parse().unwrap()])
                .connection_state_recovery(Recovery::default())
                .cleanup_empty_child_namespaces(true)
                .max_child_namespaces(0)
                .max_namespaces(1)
                .max_rooms(1)
                .max_attachments(0)
                .max_depth(1)
                .max_auth_bytes(2)
                .ack_bytes(3)
                .ack_timeout(Duration::from_secs(4))
                .request_timeout(Duration::from_secs(5))
                .expose_credentials(true)
                .events_per_second(NonZeroU32::MIN)
                .max_sessions(1)
                .max_sessions_per_address(1)
                .outbox_bytes(1)
                .drain_spread(Duration::ZERO)
        };
        assert_eq!(built(all).await, Ok(()));
        let config = all(Server::builder()).config;
        assert_eq!((config.hub.limits.max_bytes, config.hub.limits.max_attachments), (1, 0));
        let hub = config.hub;
        assert_eq!((hub.max_auth_bytes, hub.ack_bytes, hub.expose_credentials), (2, 3, true));
        assert_eq!((hub.ack_timeout.as_secs(), hub.request_timeout.as_secs()), (4, 5));
        let grown = Server::builder().max_attachments(3).max_http_buffer_size(1000).config;
        assert_eq!(grown.hub.limits.max_bytes, 4000, "a text and three attachments");
        let grown = Server::builder().max_http_buffer_size(1000).max_attachments(3).config;
        assert_eq!(grown.hub.limits.max_bytes, 4000, "in whatever order");
    }
}
