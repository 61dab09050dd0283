//! The table of keys: every key of the configuration, declared once.
//!
//! A doc comment here is at once the rustdoc of the value and the comment above the key in the default file; a default is TOML.

use std::{net::SocketAddr, time::Duration};

use super::{
    forms::{
        AdapterKind, Advertise, ClusterName, CookieName, CookiePath, Endpoint, FilePath, Form, HttpPath, LogFilter, Name, NatsUrls,
        Origins, Positive, RedisUrl, Secret, Size, Transports,
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
        /// How long a shutdown waits for what is under way before it cuts it off.
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
        /// How long a connection may exist without having joined a namespace.
        connect_timeout: Positive = "45s";
    }

    /// Which web pages of other origins may connect. Off unless origins are named.
    ["cors"] cors: CorsSection {
        /// The allowed origins; ["*"] for all of them.
        origins: Origins = [];
        /// Whether pages may send cookies with their requests. Not together with "*".
        credentials: bool = false;
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
        /// Where Redis or Valkey is; "rediss://" for TLS.
        url: RedisUrl = "redis://127.0.0.1:6379";
        /// The user, if the URL does not name one.
        username: Name = "";
        /// The password, if the URL does not have one.
        password: Secret = "";
        /// A PEM file with the certificate authorities that may have signed the server's certificate, instead of the public ones.
        tls_ca: FilePath = "";
    }

    /// Used when adapter.kind is "nats".
    ["adapter.nats"] nats: NatsSection {
        /// Where NATS is; "tls://" for TLS.
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
        /// A secret that all nodes share; messages between nodes are then authenticated. Empty: they are not.
        secret: Secret = "";
        /// Where other nodes reach this node's internal listener.
        advertise: Advertise = "";
        /// How often a node tells the others that it lives.
        heartbeat: Positive = "1s";
        /// How long a node may be silent before the others stop waiting for it.
        suspect_after: Positive = "2500ms";
        /// How long a node may be silent before it is no longer a member.
        remove_after: Positive = "10s";
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
