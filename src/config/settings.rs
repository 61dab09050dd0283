//! The table of keys: every key of the configuration, declared once.
//!
//! A doc comment here is at once the rustdoc of the value and the comment above the key in the default file; a default is TOML.

use std::{net::SocketAddr, time::Duration};

use super::{
    forms::{
        AdapterKind, Advertise, AllowedOrigins, Attachments, Bound, ClusterName, Compression, CookieName, CookiePath, Count, Depth,
        Endpoint, FilePath, Form, HandshakeKeys, HttpPath, LogFilter, Name, NatsUrls, Networks, NodeName, Origins, ParserKind, Positive,
        RedisUrl, Secret, Size, Tokens, Transports,
    },
    reader::Reader,
};
use crate::{
    node::{SameSite, WhenDeaf},
    telemetry::LogFormat,
};

/// A table of the file.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) path: &'static str,
    pub(super) doc: &'static [&'static str],
    pub(super) keys: &'static [Key],
}

/// A key of the file.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) path: &'static str,
    pub(super) name: &'static str,
    pub(super) doc: &'static [&'static str],
    pub(super) expected: &'static str,
    /// TOML.
    pub(super) default: &'static str,
}

impl Key {
    /// The environment variable that stands for the key at `path`.
    pub(super) fn variable(path: &str) -> String {
        format!("FANFARE_{}", path.to_ascii_uppercase().replace('.', "__"))
    }
}

/// Makes of the declarations below: a struct for each section, one of all sections, the function that reads them, and the table.
macro_rules! settings {
    ($(
        $(#[doc = $section_doc:literal])*
        [$path:literal] $field:ident: $Section:ident {
            $( $(#[doc = $doc:literal])* $key:ident: $form:ty = $default:tt; )*
        }
    )*) => {
        /// Configuration as typed: every key with its value.
        #[derive(Debug, Clone)]
        pub(super) struct Settings {
            $( $(#[doc = $section_doc])* pub(super) $field: $Section, )*
        }
        $(
            $(#[doc = $section_doc])*
            #[derive(Debug, Clone)]
            pub(super) struct $Section {
                $( $(#[doc = $doc])* pub(super) $key: $form, )*
            }

            impl $Section {
                fn read(reader: &mut Reader<'_>) -> Option<Self> {
                    // Every key is read before the first that is missing ends this, so that all mistakes are found.
                    $( let $key = reader.value::<$form>(concat!($path, ".", stringify!($key)), stringify!($default)); )*
                    Some(Self { $( $key: $key? ),* })
                }
            }
        )*
        impl Settings {
            /// Reads every key. `None`, and at least one mistake in the reader, when a key has no value of its form.
            pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
                $( let $field = $Section::read(reader); )*
                Some(Self { $( $field: $field? ),* })
            }
        }

        /// The table: sections and keys in the order of the default file.
        pub(super) const SECTIONS: &[Section] = &[ $( Section {
            path: $path,
            doc: &[ $( $section_doc ),* ],
            keys: &[ $( Key {
                path: concat!($path, ".", stringify!($key)),
                name: stringify!($key),
                doc: &[ $( $doc ),* ],
                expected: <$form as Form>::EXPECTED,
                default: stringify!($default),
            } ),* ],
        } ),* ];
    };
}

/// Every key of the table.
pub(super) fn keys() -> impl Iterator<Item = &'static Key> {
    SECTIONS.iter().flat_map(|section| section.keys)
}

settings! {
    /// The public listener: where clients connect.
    ["server"] server: ServerSection {
        /// The address that clients connect to.
        listen: SocketAddr = "0.0.0.0:3000";
        /// The path of the transports, and below it of the client bundle (socket.io.js).
        path: HttpPath = "/socket.io";
        /// Whether only what is below the path is served; without it the bare path (/socket.io) is, too.
        add_trailing_slash: bool = true;
        /// Whether the JavaScript client is served, for example as /socket.io/socket.io.js.
        serve_client: bool = true;
        /// From how many bytes on answers to polls are compressed.
        http_compression: Compression = 1024;
        /// From how many bytes on messages are compressed on WebSockets whose clients offer it (permessage-deflate), for example 1024. Each
        /// is compressed once for all who get it; it saves bytes, and costs CPU time where few get the same.
        per_message_deflate: Compression = false;
        /// The networks of the proxies in front of the node, whose X-Forwarded-For, -Proto and -Host are believed.
        trusted_proxies: Networks = [];
        /// How long open sessions go on at a shutdown while new ones are refused: as long as balancers take to learn of it.
        drain: Duration = "0s";
        /// Over how long sessions are closed then, one after the other, so that their clients do not all come back at once.
        drain_spread: Duration = "5s";
        /// How long a shutdown then waits for what is under way before it cuts it off.
        shutdown_grace: Duration = "10s";
    }

    /// The internal listener: /livez, /readyz and /metrics, for orchestrators and operators, never for clients.
    ["internal"] internal: InternalSection {
        /// The address of the internal listener. Keep it on loopback or on a private network.
        listen: SocketAddr = "127.0.0.1:3001";
    }

    /// Engine.IO: the connection of one client.
    ["engine"] engine: EngineSection {
        /// How often the server pings a client.
        ping_interval: Positive = "25s";
        /// How long after a ping the client may take to answer before it counts as gone.
        ping_timeout: Positive = "20s";
        /// How long an upgrade from polling to WebSocket may take before it is given up.
        upgrade_timeout: Positive = "10s";
        /// The largest message, in bytes, that a client may send; one that sends more is disconnected.
        max_http_buffer_size: Size = "1MB";
        /// Bytes that may wait to be sent to one client; a client that is further behind is disconnected.
        outbox_bytes: Size = "1MiB";
        /// The transports that clients may use.
        transports: Transports = ["polling", "websocket"];
        /// Whether clients that poll are told that they may upgrade to WebSocket.
        allow_upgrades: bool = true;
        /// Whether clients of Socket.IO 1 and 2 are served (Engine.IO 3).
        allow_eio3: bool = false;
        /// Whether polling by script tags (JSONP) is spoken, as the oldest browsers need it.
        jsonp: bool = false;
        /// A message that every client gets right after the handshake, in the same answer.
        initial_packet: Name = "";
        /// How long a connection may exist without having joined a namespace.
        connect_timeout: Positive = "45s";
    }

    /// Socket.IO: what is said over a connection.
    ["socketio"] socketio: SocketIoSection {
        /// How packets are written; clients need the same parser, and all nodes of a cluster.
        parser: ParserKind = "json";
        /// Whether a namespace that came to be by a pattern (name = "/tenant-*") goes when its last client has left.
        cleanup_empty_child_namespaces: bool = false;
        /// Whether whoever lists the clients sees their cookies and Authorization headers, and the pid by which a session is taken over;
        /// without it these are withheld.
        expose_credentials: bool = false;
    }

    /// How clients of a namespace with delivery = "recoverable" get back their session when their connection broke: with the rooms they
    /// were in, and the events that they missed.
    ["recovery"] recovery: RecoverySection {
        /// How long a session waits for its client.
        max_disconnection_duration: Positive = "2m";
        /// Whether a client that comes back is let in without further questions; not where it needs a token.
        skip_middlewares: bool = false;
        /// The most events that are replayed to one client; one that has missed more begins anew.
        max_events: Count = 10000;
        /// The most bytes of events that are replayed to one client.
        max_bytes: Size = "16MiB";
        /// The most bytes of events a second that are replayed to one client.
        replay_rate: Size = "4MiB";
        /// The same for all clients of the node together.
        node_replay_rate: Size = "64MiB";
        /// How long a replay may take; a client for which it takes longer begins anew.
        replay_timeout: Positive = "1m";
    }

    /// What is remembered of the request with which a session began, in namespaces with delivery = "recoverable".
    ["handshake"] handshake: HandshakeSection {
        /// What is kept with the session beside the client's address and the time, and goes with it from connection to connection, for
        /// example ["headers.user-agent", "query.device", "auth.app"]; together at most 4 KiB. Name no secrets.
        keep: HandshakeKeys = [];
    }

    /// How much one client may take of the node. Who takes more is refused, or is disconnected where it says so.
    ["limits"] limits: LimitsSection {
        /// Namespaces that one connection may be in.
        namespaces_per_connection: Count = 32;
        /// Namespaces that may come to be by patterns (name = "/tenant-*"); clients that ask for one more are refused.
        child_namespaces: Count = 10000;
        /// Rooms that one socket may be in. The reference has no such bound.
        rooms_per_socket: Count = 256;
        /// Binary attachments of one packet; a client that sends more is disconnected.
        attachments: Attachments = 10;
        /// How deep arrays and objects may nest in a packet; a client that nests deeper is disconnected.
        json_depth: Depth = 64;
        /// Bytes of JSON that a client may send as its auth for a namespace, which are kept as long as it is in there; more is refused.
        auth_bytes: Size = "64KiB";
        /// Events a second that a client may send into one namespace, after a second's worth at once. One that sends more is read from
        /// more slowly, and is disconnected when it keeps on for longer than timeouts.stall.
        events_per_second: Bound = 0;
        /// Events of one client that may wait to be handled before it is not read from.
        queued_events: Count = 256;
        /// Bytes of events of one client that may wait to be handled before it is not read from.
        queued_bytes: Size = "1MiB";
        /// Bytes of the clients' answers to one broadcast that are held until they are taken; further answers count as missing.
        ack_bytes: Size = "16MiB";
        /// Messages that may wait to be sent to one client, beside engine.outbox_bytes; a client that is further behind is disconnected.
        outbox_messages: Count = 16384;
        /// Sessions of the whole node. A client that would open one more is told to try elsewhere (503).
        sessions: Count = 1000000;
        /// Sessions from one address (of IPv6, from one /64 network).
        sessions_per_address: Bound = 0;
        /// Connections of the whole node that speak HTTP at one time; further ones wait. WebSockets do not count here.
        connections: Count = 100000;
        /// The same from one address (of IPv6, from one /64 network); further ones are refused.
        connections_per_address: Bound = 0;
    }

    /// How long the node waits for a client that owes it something. One that takes longer is disconnected.
    ["timeouts"] timeouts: TimeoutsSection {
        /// The head of an HTTP request.
        header: Positive = "30s";
        /// The body of a POST.
        body: Positive = "30s";
        /// A WebSocket message, from its first byte to its last.
        message: Positive = "60s";
        /// The next binary attachment of a packet that has begun.
        attachment: Positive = "60s";
        /// That it takes something of what waits to be sent to it.
        write: Positive = "20s";
        /// That its kernel acknowledges what was sent.
        send: Positive = "30s";
        /// That its events are handled which made the node stop reading, or that it sends fewer of them.
        stall: Positive = "30s";
        /// The next poll of a client whose session has been closed.
        close: Positive = "30s";
        /// The last bytes and the close handshake of a WebSocket.
        farewell: Positive = "2s";
    }

    /// Which web pages may open sessions. Requests that name no origin come from no page, and may.
    ["origins"] origins: OriginsSection {
        /// "same-host": pages of the host that the request is for; with a list, those and no others.
        allow: AllowedOrigins = "same-host";
    }

    /// Which web pages of other origins may read answers. They must be allowed to connect, too: see origins.allow.
    ["cors"] cors: CorsSection {
        /// The allowed origins; ["*"] for all of them.
        origins: Origins = [];
        /// Whether pages may send cookies with their requests. Not together with "*".
        credentials: bool = false;
        /// The methods that pages may use. Empty: GET, HEAD, PUT, PATCH, POST and DELETE.
        methods: Tokens = [];
        /// The headers that pages may send. Empty: those that they ask for.
        allowed_headers: Tokens = [];
        /// The headers of answers that pages may read, beside those that they always may.
        exposed_headers: Tokens = [];
        /// How long browsers may keep what they were told of all this. Zero: as long as they like.
        max_age: Duration = "0s";
    }

    /// The affinity cookie, by which a balancer keeps a client on its node. Its value names the node, not the session.
    ["cookie"] cookie: CookieSection {
        /// Whether the cookie is set.
        enabled: bool = false;
        /// The name of the cookie.
        name: CookieName = "io";
        /// The path for which browsers send it.
        path: CookiePath = "/";
        /// Its SameSite attribute; "none" forces Secure.
        same_site: SameSite = "lax";
        /// Whether it is sent over TLS only.
        secure: bool = false;
    }

    /// What joins the nodes. To swap adapters, change kind; the tables of the others are ignored.
    ["adapter"] adapter: AdapterSection {
        /// The backend. "memory" is this process alone.
        kind: AdapterKind = "memory";
        /// Bytes that may wait to be published; above it messages for other nodes are dropped and counted.
        queue_bytes: Size = "1MiB";
        /// How old a message may get that waits for the backend before it is dropped and counted.
        outage_age: Positive = "1s";
        /// Bytes of received messages that may wait for this node; above it they are dropped and counted.
        inbox_bytes: Size = "64MiB";
    }

    /// Used when adapter.kind is "redis".
    ["adapter.redis"] redis: RedisSection {
        /// Where Redis or Valkey is: "redis://host:port", "redis-sentinel://host:port,host:port/master" or
        /// "redis-cluster://host:port,host:port"; "rediss…" for TLS.
        url: RedisUrl = "redis://127.0.0.1:6379";
        /// The user, if the URL does not name one.
        username: Name = "";
        /// The password, if the URL does not have one.
        password: Secret = "";
        /// The user at the sentinels, if they want one.
        sentinel_username: Name = "";
        /// The password at the sentinels, if they want one; that of the URL is for the servers alone.
        sentinel_password: Secret = "";
        /// A PEM file with the certificate authorities that may have signed the server's certificate, instead of the public ones.
        tls_ca: FilePath = "";
    }

    /// Used when adapter.kind is "nats".
    ["adapter.nats"] nats: NatsSection {
        /// Where NATS is; "tls://" for TLS. Of a cluster some servers, separated by commas: the others are learnt from them.
        url: NatsUrls = "nats://127.0.0.1:4222";
        /// The user, if the URL does not name one.
        user: Name = "";
        /// The password, if the URL does not have one.
        password: Secret = "";
        /// A token, instead of user and password.
        token: Secret = "";
        /// A credentials file (JWT and key), instead of user and password.
        credentials_file: FilePath = "";
        /// A PEM file with the certificate authorities that may have signed the server's certificate, instead of the public ones.
        tls_ca: FilePath = "";
    }

    /// This node among the others.
    ["cluster"] cluster: ClusterSection {
        /// Clusters that share a backend are told apart by this name.
        name: ClusterName = "fanfare";
        /// What other nodes call this one in logs, and where they miss it; empty: by its tag, which is another one at each start.
        node: NodeName = "";
        /// A secret that all nodes share; messages between nodes are then authenticated. Empty: they are not.
        secret: Secret = "";
        /// A second secret that is believed and signs nothing: while the secret is changed, node by node.
        second_secret: Secret = "";
        /// Where nodes are: other addresses are neither asked, whatever a peer says, nor let in where only nodes may ask.
        networks: Networks = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "fc00::/7", "::1"];
        /// Where other nodes reach this node's internal listener.
        advertise: Advertise = "";
        /// How often a node tells the others that it lives.
        heartbeat: Positive = "1s";
        /// How long a node may be silent before the others stop waiting for it.
        suspect_after: Positive = "2500ms";
        /// How long a node may be silent before it is no longer a member.
        remove_after: Positive = "10s";
        /// How long other nodes are waited for that were asked something, for example which clients they have.
        request_timeout: Positive = "6s";
    }

    /// Requests for sessions of other nodes, which polling clients make behind a balancer that does not keep them on their node.
    ["forward"] forward: ForwardSection {
        /// How long the node that owns a session may take to be connected with, or to say that it lives; the client is answered 503 then.
        connect_timeout: Positive = "1s";
        /// WebSockets at one time that are carried to sessions of other nodes; one beyond is answered 503.
        max_upgrades: Count = 10000;
    }

    /// When the node says on /readyz that it should get no new clients.
    ["ready"] ready: ReadySection {
        /// How long a node may not hear its own messages from the backend before that counts.
        grace: Duration = "30s";
        /// What it then does: not ready if another node still hears its own ("alone"), not ready ("always"), or ready and degraded ("never").
        when_deaf: WhenDeaf = "alone";
    }

    /// The log, on stderr.
    ["log"] log: LogSection {
        /// How much is logged.
        level: LogFilter = "info";
        /// How it is written: for people or as one JSON object a line.
        format: LogFormat = "text";
    }

    /// Traces.
    ["telemetry"] telemetry: TelemetrySection {
        /// Where traces are sent, by OTLP over gRPC. Empty: nowhere.
        otlp_endpoint: Endpoint = "";
    }
}
