//! Configuration as used: every layer's own `Config`.

use std::{collections::BTreeSet, sync::Arc};

use fanfare_adapters::{
    Adapter, memory,
    nats::{self, NatsAdapter},
    redis::{self, RedisAdapter},
};

use super::{
    forms::{AdapterKind, ParserKind, Transports},
    settings::{ClusterSection, CookieSection, EngineSection, Settings},
};
use crate::{
    broker::{Delivery, Rules},
    cluster, engine,
    hub::{self, JsonParser, MsgpackParser, recovery::Recovery},
    node, telemetry,
};

/// What a node is.
#[derive(Debug, Clone)]
pub struct Config {
    /// Listeners and what they serve.
    pub node: node::Config,
    /// What joins the nodes.
    pub adapter: AdapterConfig,
    /// What clients may do.
    pub rules: Rules,
    /// Log and traces.
    pub telemetry: telemetry::Config,
}

/// What joins the nodes. Secrets are masked in its `Debug`.
#[derive(Debug, Clone)]
pub enum AdapterConfig {
    /// A bus inside this process.
    Memory(memory::Config),
    /// Redis pub/sub.
    Redis(redis::Config),
    /// NATS core pub/sub.
    Nats(nats::Config),
}

impl AdapterConfig {
    /// Starts the adapter, which connects in the background. A memory adapter takes its place on `bus`. Needs a tokio runtime.
    ///
    /// # Errors
    /// A key cannot be used. A configuration that was loaded has no such key, unless a file that it names has changed since.
    pub fn start(self, bus: &memory::MemoryBus) -> Result<Arc<dyn Adapter>, redis::ConfigError> {
        Ok(match self {
            Self::Memory(config) => Arc::new(bus.adapter(config)),
            Self::Redis(config) => Arc::new(RedisAdapter::start(config)?),
            Self::Nats(config) => Arc::new(NatsAdapter::start(config)?),
        })
    }
}

impl Config {
    /// Puts the typed values where they are used.
    pub(super) fn new(settings: Settings, rules: Rules) -> Self {
        let adapter = adapter(&settings);
        let hub = hub_config(&settings, &rules);
        let engine = engine_config(&settings);
        let Settings {
            server,
            internal,
            engine: _,
            socketio: _,
            recovery: _,
            handshake: _,
            limits,
            timeouts,
            origins,
            cors,
            cookie,
            adapter: _,
            redis: _,
            nats: _,
            cluster,
            forward,
            ready,
            log,
            telemetry,
        } = settings;
        Self {
            node: node::Config {
                listen: server.listen,
                internal_listen: internal.listen,
                drain: server.drain,
                shutdown_grace: server.shutdown_grace,
                max_connections: limits.connections.0,
                max_connections_per_address: limits.connections_per_address.or_none(),
                header_timeout: timeouts.header.0,
                send_timeout: timeouts.send.0,
                server: node::ServerConfig {
                    path: server.path.0,
                    add_trailing_slash: server.add_trailing_slash,
                    hub,
                    engine,
                    cluster_networks: cluster.networks.0.clone(),
                    cluster: cluster_config(cluster),
                    forward: node::ForwardConfig {
                        connect_timeout: forward.connect_timeout.0,
                        max_upgrades: forward.max_upgrades.0,
                    },
                    origins: origins.allow.0,
                    trusted_proxies: server.trusted_proxies.0,
                    cors: node::CorsConfig {
                        origins: cors.origins.0,
                        credentials: cors.credentials,
                        methods: cors.methods.0,
                        allowed_headers: cors.allowed_headers.0,
                        exposed_headers: cors.exposed_headers.0,
                        max_age: Some(cors.max_age).filter(|age| !age.is_zero()),
                    },
                    cookie: cookie_config(cookie),
                    serve_client: server.serve_client,
                    http_compression: server.http_compression.0.map(|threshold| node::HttpCompression { threshold }),
                    drain_spread: server.drain_spread,
                    ready: node::ReadyConfig {
                        grace: ready.grace,
                        when_deaf: ready.when_deaf,
                    },
                    body_timeout: timeouts.body.0,
                },
            },
            adapter,
            rules,
            telemetry: telemetry::Config {
                filter: log.level.0,
                format: log.format,
                otlp_endpoint: telemetry.otlp_endpoint.0,
            },
        }
    }
}

fn hub_config(settings: &Settings, rules: &Rules) -> hub::Config {
    let Settings {
        engine,
        socketio,
        limits,
        timeouts,
        cluster,
        ..
    } = settings;
    let mut config = hub::Config {
        connect_timeout: engine.connect_timeout.0,
        ack_bytes: limits.ack_bytes.0,
        request_timeout: cluster.request_timeout.0,
        expose_credentials: socketio.expose_credentials,
        max_namespaces: limits.namespaces_per_connection.0,
        max_rooms: limits.rooms_per_socket.0,
        max_child_namespaces: limits.child_namespaces.0,
        cleanup_empty_child_namespaces: socketio.cleanup_empty_child_namespaces,
        parser: match socketio.parser {
            ParserKind::Json => Arc::new(JsonParser),
            ParserKind::Msgpack => Arc::new(MsgpackParser),
        },
        connection_state_recovery: recovery(settings, rules),
        max_auth_bytes: limits.auth_bytes.0,
        events_per_second: limits.events_per_second.0,
        queue_events: limits.queued_events.0,
        queue_bytes: limits.queued_bytes.0,
        stall_timeout: timeouts.stall.0,
        attachment_timeout: timeouts.attachment.0,
        ..hub::Config::default()
    };
    config.limits.max_attachments = limits.attachments.0;
    config.limits.max_depth = limits.json_depth.0;
    config.take_messages_of(engine.max_http_buffer_size.0);
    config
}

/// Recovery, if there is a namespace that it is for.
fn recovery(settings: &Settings, rules: &Rules) -> Option<Recovery> {
    let section = &settings.recovery;
    let namespaces = rules.namespaces.iter();
    let recoverable = namespaces.filter(|namespace| namespace.delivery == Delivery::Recoverable);
    let names: BTreeSet<String> = recoverable.map(|namespace| namespace.name.to_string()).collect();
    (!names.is_empty()).then(|| Recovery {
        max_disconnection_duration: section.max_disconnection_duration.0,
        skip_middlewares: section.skip_middlewares,
        handshake_keep: settings.handshake.keep.0.clone(),
        namespaces: Some(names),
        max_events: section.max_events.0,
        max_bytes: section.max_bytes.0,
        replay_rate: section.replay_rate.rate(),
        node_replay_rate: section.node_replay_rate.rate(),
        replay_timeout: section.replay_timeout.0,
    })
}

fn engine_config(settings: &Settings) -> engine::Config {
    let Settings {
        server,
        engine: section,
        limits,
        timeouts,
        ..
    } = settings;
    let EngineSection {
        ping_interval,
        ping_timeout,
        upgrade_timeout,
        max_http_buffer_size,
        outbox_bytes,
        transports: Transports { polling, websocket },
        allow_upgrades,
        allow_eio3,
        jsonp,
        initial_packet,
        connect_timeout: _,
    } = section;
    let offered = [(*polling, engine::Transport::Polling), (*websocket, engine::Transport::WebSocket)];
    engine::Config {
        ping_interval: ping_interval.0,
        ping_timeout: ping_timeout.0,
        upgrade_timeout: upgrade_timeout.0,
        max_http_buffer_size: max_http_buffer_size.0,
        outbox_bytes: outbox_bytes.0,
        outbox_entries: limits.outbox_messages.0,
        transports: offered.into_iter().filter_map(|(on, transport)| on.then_some(transport)).collect(),
        allow_upgrades: *allow_upgrades,
        allow_eio3: *allow_eio3,
        jsonp: *jsonp,
        per_message_deflate: server
            .per_message_deflate
            .0
            .map(|threshold| engine::PerMessageDeflate { threshold }),
        initial_packet: initial_packet.0.clone(),
        write_timeout: timeouts.write.0,
        message_timeout: timeouts.message.0,
        farewell_timeout: timeouts.farewell.0,
        // The hub ends a pause that lasts too long; this is for one that it has forgotten.
        pause_timeout: timeouts.stall.0 * 2,
        close_timeout: timeouts.close.0,
        max_sessions: limits.sessions.0,
        max_sessions_per_address: limits.sessions_per_address.or_none(),
        ..engine::Config::default()
    }
}

fn cluster_config(section: ClusterSection) -> cluster::Config {
    let ClusterSection {
        name,
        node,
        secret,
        second_secret,
        networks: _,
        advertise,
        heartbeat,
        suspect_after,
        remove_after,
        request_timeout: _,
    } = section;
    cluster::Config {
        name: name.0,
        node: node.0,
        secrets: [&secret, &second_secret]
            .into_iter()
            .filter_map(|secret| secret.reveal())
            .map(cluster::Secret::new)
            .collect(),
        advertise: advertise.0.unwrap_or_default(),
        heartbeat: heartbeat.0,
        suspect_after: suspect_after.0,
        remove_after: remove_after.0,
        ..cluster::Config::default()
    }
}

fn cookie_config(section: CookieSection) -> Option<node::CookieConfig> {
    let CookieSection {
        enabled,
        name,
        path,
        same_site,
        secure,
    } = section;
    enabled.then_some(node::CookieConfig {
        name: name.0,
        path: path.0,
        same_site,
        secure,
    })
}

/// The adapter of the chosen kind.
fn adapter(settings: &Settings) -> AdapterConfig {
    let (queue_bytes, outage_age, inbox_bytes) = (
        settings.adapter.queue_bytes.0,
        settings.adapter.outage_age.0,
        settings.adapter.inbox_bytes.0,
    );
    match settings.adapter.kind {
        AdapterKind::Memory => AdapterConfig::Memory(memory::Config { inbox_bytes }),
        AdapterKind::Redis => AdapterConfig::Redis(redis::Config {
            url: settings.redis.url.0.clone(),
            username: settings.redis.username.0.clone(),
            password: settings.redis.password.reveal().map(str::to_owned),
            sentinel_username: settings.redis.sentinel_username.0.clone(),
            sentinel_password: settings.redis.sentinel_password.reveal().map(str::to_owned),
            tls_ca: settings.redis.tls_ca.0.clone(),
            queue_bytes,
            outage_age,
            inbox_bytes,
        }),
        AdapterKind::Nats => AdapterConfig::Nats(nats::Config {
            urls: settings.nats.url.0.clone(),
            user: settings.nats.user.0.clone(),
            password: settings.nats.password.reveal().map(str::to_owned),
            token: settings.nats.token.reveal().map(str::to_owned),
            creds_file: settings.nats.credentials_file.0.clone(),
            tls_ca: settings.nats.tls_ca.0.clone(),
            tls: false,
            queue_bytes,
            outage_age,
            inbox_bytes,
        }),
    }
}
