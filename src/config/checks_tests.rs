//! How keys fit together.

use super::tests::{file, mistake, mistakes};

#[test]
fn keys_that_contradict_each_other_are_mistakes() {
    for (text, expected) in [
        (
            "cors.origins = [\"*\"]\norigins.allow = \"any\"\ncors.credentials = true",
            "cors.credentials: credentials are not allowed together with the origin \"*\"",
        ),
        (
            "internal.listen = \"0.0.0.0:3000\"",
            "internal.listen: 0.0.0.0:3000 and server.listen = 0.0.0.0:3000 are one address",
        ),
        (
            "cors.origins = [\"https://a.example\"]",
            "cors.origins: pages of \"https://a.example\" may read answers and not open a session; expected it in origins.allow, too",
        ),
        (
            "cors.origins = [\"https://a.example\", \"https://b.example\"]\norigins.allow = [\"https://a.example\"]",
            "cors.origins: pages of \"https://b.example\" may read answers",
        ),
        (
            "cors.origins = [\"*\"]",
            "cors.origins: pages of \"*\" may read answers and not open a session; expected origins.allow = \"any\"",
        ),
        (
            "engine.jsonp = true\nengine.transports = [\"websocket\"]",
            "engine.jsonp: JSONP is a way of polling",
        ),
        (
            "limits.sessions_per_address = 10\nlimits.sessions = 9",
            "limits.sessions_per_address: 10 is never reached: limits.sessions = 9",
        ),
        (
            "limits.connections_per_address = 200000",
            "limits.connections_per_address: 200000 is never reached: limits.connections = 100000",
        ),
        (
            "recovery.skip_middlewares = true\n[[namespace]]\nname = \"/a\"\ndelivery = \"recoverable\"\n\
             connect.token.keys = [\"one long key of some bytes\"]",
            "recovery.skip_middlewares: the token that /a asks for is looked at whenever a client connects",
        ),
        (
            "cluster.heartbeat = \"3s\"",
            "cluster.heartbeat: suspect_after = 2.5s must be at least two heartbeats of 3s",
        ),
        (
            "cluster.remove_after = \"1s\"",
            "cluster.remove_after: remove_after = 1s must be above suspect_after = 2.5s",
        ),
        (
            "cluster.second_secret = \"a long secret of the cluster\"",
            "cluster.second_secret: the second secret signs nothing; expected cluster.secret, too",
        ),
        (
            "adapter.nats.token = \"t\"\nadapter.nats.user = \"u\"",
            "adapter.nats.token: expected one way to log in",
        ),
        (
            "adapter.kind = \"redis\"\nadapter.redis.url = \"redis-sentinel://me:hunter2@a:1,b:2\"",
            "adapter.redis.url: a path that is no name of a master (A-Z a-z 0-9 . - _); expected redis://",
        ),
        (
            "adapter.kind = \"redis\"\nadapter.redis.sentinel_password = \"hunter2\"",
            "adapter.redis.sentinel_password: the URL names no sentinels; expected",
        ),
    ] {
        let found = mistake(text);
        assert!(found.starts_with(expected), "{found}");
    }
    assert_eq!(
        mistakes(&file("internal.listen = \"127.0.0.1:0\"\nserver.listen = \"127.0.0.1:0\"")),
        Vec::<String>::new(),
        "any free port twice"
    );
    // A key that is broken is not blamed a second time.
    assert_eq!(
        mistakes(&file("cluster.heartbeat = \"soon\"\ncluster.suspect_after = \"500ms\"")).len(),
        1
    );
}

#[test]
fn doubtful_combinations_are_notes() {
    for (text, expected) in [
        ("internal.listen = \"0.0.0.0:3001\"", "not on loopback"),
        ("cluster.secret = \"short\"", "can be guessed"),
        ("recovery.max_events = 5", "recovery.max_events has no effect"),
        ("handshake.keep = [\"query.a\"]", "handshake.keep has no effect"),
        (
            "cluster.secret = \"a long secret of the cluster\"\nadapter.kind = \"redis\"\n[[namespace]]\nname = \"/\"\ndelivery = \"recoverable\"",
            "recover on the node that they left",
        ),
        ("[[namespace]]\nname = \"/tenant-*\"", "the namespaces of /tenant-* stay"),
        ("cookie.enabled = true\ncookie.same_site = \"none\"", "forces cookie.secure"),
        ("cors.credentials = true", "no effect"),
        ("engine.outbox_bytes = \"64KiB\"", "disconnect those who get them"),
        (
            "cluster.secret = \"a long secret of the cluster\"\nadapter.kind = \"nats\"\nengine.max_http_buffer_size = \"1MiB\"",
            "max_payload",
        ),
        ("adapter.kind = \"redis\"", "cluster.secret is empty"),
        (
            "cluster.secret = \"a long secret of the cluster\"\ncluster.second_secret = \"short\"",
            "cluster.second_secret is shorter than 16",
        ),
    ] {
        let notes = file(text).load().unwrap().notes;
        assert!(notes.len() == 1 && notes[0].contains(expected), "{text} {notes:?}");
    }
}
