//! No key is declared and then forgotten: each changes the configuration as used.

use super::{settings::keys, tests::file};

/// For each key another value than its default, and what else must be set for it to matter.
const CHANGES: &[(&str, &str)] = &[
    ("server.listen", "\"127.0.0.1:9\""),
    ("server.path", "\"/live\""),
    ("server.add_trailing_slash", "false"),
    ("server.serve_client", "false"),
    ("server.http_compression", "false"),
    ("server.per_message_deflate", "1024"),
    ("server.trusted_proxies", "[\"10.0.0.0/8\"]"),
    ("server.drain", "\"1s\""),
    ("server.drain_spread", "\"1s\""),
    ("server.shutdown_grace", "\"1s\""),
    ("internal.listen", "\"127.0.0.1:9\""),
    ("engine.ping_interval", "\"1s\""),
    ("engine.ping_timeout", "\"1s\""),
    ("engine.upgrade_timeout", "\"1s\""),
    ("engine.max_http_buffer_size", "1"),
    ("engine.outbox_bytes", "\"2MiB\""),
    ("engine.transports", "[\"websocket\"]"),
    ("engine.allow_upgrades", "false"),
    ("engine.allow_eio3", "true"),
    ("engine.jsonp", "true"),
    ("engine.initial_packet", "\"hello\""),
    ("engine.connect_timeout", "\"1s\""),
    ("socketio.parser", "\"msgpack\""),
    ("socketio.cleanup_empty_child_namespaces", "true"),
    ("socketio.expose_credentials", "true"),
    (
        "recovery.max_disconnection_duration",
        "\"1m\"\n[[namespace]]\nname = \"/\"\ndelivery = \"recoverable\"",
    ),
    (
        "recovery.skip_middlewares",
        "true\n[[namespace]]\nname = \"/\"\ndelivery = \"recoverable\"",
    ),
    ("recovery.max_events", "1\n[[namespace]]\nname = \"/\"\ndelivery = \"recoverable\""),
    ("recovery.max_bytes", "1\n[[namespace]]\nname = \"/\"\ndelivery = \"recoverable\""),
    ("recovery.replay_rate", "1\n[[namespace]]\nname = \"/\"\ndelivery = \"recoverable\""),
    (
        "recovery.node_replay_rate",
        "1\n[[namespace]]\nname = \"/\"\ndelivery = \"recoverable\"",
    ),
    (
        "recovery.replay_timeout",
        "\"1s\"\n[[namespace]]\nname = \"/\"\ndelivery = \"recoverable\"",
    ),
    (
        "handshake.keep",
        "[\"headers.user-agent\"]\n[[namespace]]\nname = \"/\"\ndelivery = \"recoverable\"",
    ),
    ("limits.namespaces_per_connection", "1"),
    ("limits.child_namespaces", "1"),
    ("limits.rooms_per_socket", "1"),
    ("limits.attachments", "0"),
    ("limits.json_depth", "127"),
    ("limits.auth_bytes", "1"),
    ("limits.events_per_second", "10"),
    ("limits.queued_events", "1"),
    ("limits.queued_bytes", "1"),
    ("limits.ack_bytes", "1"),
    ("limits.outbox_messages", "1"),
    ("limits.sessions", "1"),
    ("limits.sessions_per_address", "1"),
    ("limits.connections", "1"),
    ("limits.connections_per_address", "1"),
    ("timeouts.header", "\"1s\""),
    ("timeouts.body", "\"1s\""),
    ("timeouts.message", "\"1s\""),
    ("timeouts.attachment", "\"1s\""),
    ("timeouts.write", "\"1s\""),
    ("timeouts.send", "\"1s\""),
    ("timeouts.stall", "\"1s\""),
    ("timeouts.close", "\"1s\""),
    ("timeouts.farewell", "\"1s\""),
    ("origins.allow", "\"any\""),
    ("cors.origins", "[\"*\"]\norigins.allow = \"any\""),
    ("cors.credentials", "true"),
    ("cors.methods", "[\"GET\"]"),
    ("cors.allowed_headers", "[\"X-Token\"]"),
    ("cors.exposed_headers", "[\"X-Node\"]"),
    ("cors.max_age", "\"10m\""),
    ("cookie.enabled", "true"),
    ("cookie.name", "\"node\"\ncookie.enabled = true"),
    ("cookie.path", "\"/live\"\ncookie.enabled = true"),
    ("cookie.same_site", "\"strict\"\ncookie.enabled = true"),
    ("cookie.secure", "true\ncookie.enabled = true"),
    ("adapter.kind", "\"redis\""),
    ("adapter.queue_bytes", "1\nadapter.kind = \"nats\""),
    ("adapter.outage_age", "\"2s\"\nadapter.kind = \"nats\""),
    ("adapter.inbox_bytes", "1"),
    ("adapter.redis.url", "\"redis://other\"\nadapter.kind = \"redis\""),
    ("adapter.redis.username", "\"me\"\nadapter.kind = \"redis\""),
    ("adapter.redis.password", "\"p\"\nadapter.kind = \"redis\""),
    (
        "adapter.redis.sentinel_username",
        "\"me\"\nadapter.kind = \"redis\"\nadapter.redis.url = \"redis-sentinel://h/m\"",
    ),
    (
        "adapter.redis.sentinel_password",
        "\"p\"\nadapter.kind = \"redis\"\nadapter.redis.url = \"redis-sentinel://h/m\"",
    ),
    ("adapter.redis.tls_ca", "\"/nowhere\"\nadapter.kind = \"redis\""),
    ("adapter.nats.url", "\"nats://other\"\nadapter.kind = \"nats\""),
    (
        "adapter.nats.user",
        "\"me\"\nadapter.nats.password = \"p\"\nadapter.kind = \"nats\"",
    ),
    (
        "adapter.nats.password",
        "\"p\"\nadapter.nats.user = \"me\"\nadapter.kind = \"nats\"",
    ),
    ("adapter.nats.token", "\"t\"\nadapter.kind = \"nats\""),
    ("adapter.nats.credentials_file", "\"/nowhere\"\nadapter.kind = \"nats\""),
    ("adapter.nats.tls_ca", "\"/nowhere\"\nadapter.kind = \"nats\""),
    ("cluster.name", "\"other\""),
    ("cluster.node", "\"fanfare-0\""),
    ("cluster.secret", "\"a secret of the cluster\""),
    (
        "cluster.second_secret",
        "\"another secret of the cluster\"\ncluster.secret = \"a secret of the cluster\"",
    ),
    ("cluster.networks", "[\"192.0.2.0/24\"]"),
    ("cluster.advertise", "\"10.0.0.7:3001\""),
    ("cluster.heartbeat", "\"500ms\""),
    ("cluster.suspect_after", "\"3s\""),
    ("cluster.remove_after", "\"20s\""),
    ("cluster.request_timeout", "\"1s\""),
    ("forward.connect_timeout", "\"2s\""),
    ("forward.max_upgrades", "1"),
    ("ready.grace", "\"0s\""),
    ("ready.when_deaf", "\"never\""),
    ("log.level", "\"debug\""),
    ("log.format", "\"json\""),
    ("telemetry.otlp_endpoint", "\"http://127.0.0.1:4317\""),
];

#[test]
fn every_key_changes_what_the_node_is() {
    let declared: Vec<&str> = keys().map(|key| key.path).collect();
    let mut tried: Vec<&str> = CHANGES.iter().map(|(key, _)| *key).collect();
    tried.sort_by_key(|key| declared.iter().position(|path| path == key));
    assert_eq!(tried, declared);
    for (key, value) in CHANGES {
        let changed = file(&format!("{key} = {value}"));
        // The same without the key itself: what else had to be set is no merit of the key.
        let rest = value.split_once('\n').map_or("", |(_, rest)| rest);
        match changed.load() {
            Ok(loaded) => {
                let without = file(rest).load().map(|loaded| format!("{:?}", loaded.config)).unwrap_or_default();
                assert_ne!(format!("{:?}", loaded.config), without, "{key}");
            }
            // A file that a key names and that is not there: the adapter has looked at it.
            Err(mistakes) => assert!(value.contains("/nowhere") && mistakes.to_string().contains(key), "{mistakes}"),
        }
    }
}
