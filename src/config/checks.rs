//! How keys fit together: contradictions are mistakes, doubtful combinations are notes.

use std::net::SocketAddr;

use super::{
    AdapterConfig,
    forms::{AdapterKind, Size},
    reader::Reader,
    settings::{Settings, keys},
};
use crate::{
    broker::{Delivery, Rules},
    node::{Origins, SameSite},
};

/// What the cluster adds to a client's message at most, in bytes, when it is published.
const ENVELOPE: usize = 64 << 10;

/// What a NATS server takes at most unless it is configured otherwise, in bytes.
const NATS_MAX_PAYLOAD: usize = 1 << 20;

/// Checks values against each other.
pub(super) fn cross_check(settings: &Settings, rules: &Rules, reader: &mut Reader<'_>) {
    listeners(settings, reader);
    cookies_and_origins(settings, reader);
    pages(settings, reader);
    bounds(settings, reader);
    cluster(settings, reader);
    sizes(settings, reader);
    credentials(settings, reader);
    namespaces(settings, rules, reader);
    recovery(settings, rules, reader);
}

fn listeners(settings: &Settings, reader: &mut Reader<'_>) {
    let (public, internal) = (settings.server.listen, settings.internal.listen);
    if collide(public, internal) {
        let text = format!("{internal} and server.listen = {public} are one address; expected two different ones");
        reader.conflict(&["internal.listen", "server.listen"], text);
    }
    if !internal.ip().is_loopback() && settings.cluster.secret.reveal().is_none() {
        reader.notes.push(format!(
            "internal.listen = {internal} is not on loopback: whoever reaches it can read the metrics; keep it on a private network"
        ));
    }
}

/// Whether two listeners cannot exist side by side.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() == b.port() && a.port() != 0 && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
}

fn cookies_and_origins(settings: &Settings, reader: &mut Reader<'_>) {
    if settings.cors.credentials && settings.cors.origins.0.iter().any(|origin| origin == "*") {
        let text =
            "credentials are not allowed together with the origin \"*\": browsers refuse that; expected the origins by name".to_owned();
        reader.conflict(&["cors.credentials", "cors.origins"], text);
    }
    if settings.cors.credentials && settings.cors.origins.0.is_empty() {
        reader
            .notes
            .push("cors.credentials has no effect: cors.origins is empty".to_owned());
    }
    if settings.cookie.enabled && settings.cookie.same_site == SameSite::None && !settings.cookie.secure {
        reader
            .notes
            .push("cookie.same_site = \"none\" forces cookie.secure: browsers keep such cookies over TLS only".to_owned());
    }
}

/// What web pages may do in one way and not in the other.
fn pages(settings: &Settings, reader: &mut Reader<'_>) {
    let read = &settings.cors.origins.0;
    let shut_out = match &settings.origins.allow.0 {
        Origins::Any => None,
        Origins::SameHost => read.first(),
        Origins::List(list) => read.iter().find(|origin| !list.contains(origin)),
    };
    if let Some(origin) = shut_out {
        let expected = if origin == "*" {
            "origins.allow = \"any\""
        } else {
            "it in origins.allow, too"
        };
        let text = format!("pages of {origin:?} may read answers and not open a session; expected {expected}");
        reader.conflict(&["cors.origins", "origins.allow"], text);
    }
    if settings.engine.jsonp && !settings.engine.transports.polling {
        let text = "JSONP is a way of polling; expected \"polling\" among engine.transports".to_owned();
        reader.conflict(&["engine.jsonp", "engine.transports"], text);
    }
}

/// A bound for one address that the bound of the node makes void.
fn bounds(settings: &Settings, reader: &mut Reader<'_>) {
    let limits = &settings.limits;
    for (keys, own, all) in [
        (
            ["limits.sessions_per_address", "limits.sessions"],
            limits.sessions_per_address,
            limits.sessions,
        ),
        (
            ["limits.connections_per_address", "limits.connections"],
            limits.connections_per_address,
            limits.connections,
        ),
    ] {
        if own.0.is_some() && own.or_none() > all.0 {
            let [_, of_node] = keys;
            let text = format!(
                "{} is never reached: {of_node} = {} is below it; expected at most that",
                own.or_none(),
                all.0
            );
            reader.conflict(&keys, text);
        }
    }
}

fn cluster(settings: &Settings, reader: &mut Reader<'_>) {
    let cluster = &settings.cluster;
    if cluster.suspect_after.0 < cluster.heartbeat.0 * 2 {
        let text = format!(
            "suspect_after = {:?} must be at least two heartbeats of {:?}",
            cluster.suspect_after.0, cluster.heartbeat.0
        );
        reader.conflict(&["cluster.suspect_after", "cluster.heartbeat"], text);
    }
    if cluster.remove_after <= cluster.suspect_after {
        let text = format!(
            "remove_after = {:?} must be above suspect_after = {:?}",
            cluster.remove_after.0, cluster.suspect_after.0
        );
        reader.conflict(&["cluster.remove_after", "cluster.suspect_after"], text);
    }
    for (key, secret) in [
        ("cluster.secret", &cluster.secret),
        ("cluster.second_secret", &cluster.second_secret),
    ] {
        if secret.reveal().is_some_and(|secret| secret.len() < 16) {
            reader.notes.push(format!("{key} is shorter than 16 characters: it can be guessed"));
        }
    }
    if cluster.second_secret.reveal().is_some() && cluster.secret.reveal().is_none() {
        let text = "the second secret signs nothing; expected cluster.secret, too".to_owned();
        reader.conflict(&["cluster.second_secret", "cluster.secret"], text);
    }
    if settings.adapter.kind != AdapterKind::Memory && cluster.secret.reveal().is_none() {
        reader
            .notes
            .push("cluster.secret is empty: whoever reaches the backend can speak for a node".to_owned());
    }
}

fn namespaces(settings: &Settings, rules: &Rules, reader: &mut Reader<'_>) {
    let pattern = rules.namespaces.iter().find(|namespace| namespace.name.is_pattern());
    if let Some(pattern) = pattern
        && !settings.socketio.cleanup_empty_child_namespaces
    {
        reader.notes.push(format!(
            "the namespaces of {} stay when their clients have left: one client can use up limits.child_namespaces; \
             socketio.cleanup_empty_child_namespaces = true lets them go",
            pattern.name
        ));
    }
}

fn recovery(settings: &Settings, rules: &Rules, reader: &mut Reader<'_>) {
    let recoverable = || {
        rules
            .namespaces
            .iter()
            .filter(|namespace| namespace.delivery == Delivery::Recoverable)
    };
    if let Some(guarded) = recoverable().find(|namespace| namespace.login.is_some())
        && settings.recovery.skip_middlewares
    {
        let text = format!(
            "the token that {} asks for is looked at whenever a client connects, also one that comes back; expected false",
            guarded.name
        );
        reader.conflict(&["recovery.skip_middlewares"], text);
    }
    if recoverable().next().is_none()
        && let Some(key) = keys().find(|key| (key.path.starts_with("recovery.") || key.path == "handshake.keep") && reader.is_changed(key))
    {
        reader
            .notes
            .push(format!("{} has no effect: no namespace has delivery = \"recoverable\"", key.path));
    }
    if recoverable().next().is_some() && settings.adapter.kind != AdapterKind::Memory {
        reader.notes.push(
            "sessions are kept in the memory of a node: clients of recoverable namespaces recover on the node that they left, and nowhere else"
                .to_owned(),
        );
    }
}

fn sizes(settings: &Settings, reader: &mut Reader<'_>) {
    let Size(largest) = settings.engine.max_http_buffer_size;
    if settings.engine.outbox_bytes.0 < largest {
        reader.notes.push(
            "engine.outbox_bytes is below engine.max_http_buffer_size: the largest messages of a client disconnect those who get them"
                .to_owned(),
        );
    }
    if settings.adapter.kind == AdapterKind::Nats
        && largest.saturating_add(ENVELOPE) > NATS_MAX_PAYLOAD
        && reader.is_set("engine.max_http_buffer_size")
    {
        reader.notes.push("a NATS server takes messages up to 1MiB unless its max_payload is raised: the largest messages of clients would stay on their node".to_owned());
    }
}

fn credentials(settings: &Settings, reader: &mut Reader<'_>) {
    let nats = &settings.nats;
    let ways = [
        nats.user.0.is_some() || nats.password.reveal().is_some(),
        nats.token.reveal().is_some(),
        nats.credentials_file.0.is_some(),
    ];
    if ways.iter().filter(|used| **used).count() > 1 {
        let text = "expected one way to log in: user and password, or token, or credentials_file".to_owned();
        reader.conflict(
            &[
                "adapter.nats.token",
                "adapter.nats.credentials_file",
                "adapter.nats.user",
                "adapter.nats.password",
            ],
            text,
        );
    }
}

/// What only the adapter itself knows about its keys, for example whether a file that they name can be used.
pub(super) fn check_adapter(adapter: &AdapterConfig, reader: &mut Reader<'_>) {
    let (section, checked) = match adapter {
        AdapterConfig::Memory(_) => return,
        AdapterConfig::Redis(config) => ("adapter.redis", config.check()),
        AdapterConfig::Nats(config) => ("adapter.nats", config.check()),
    };
    let Err(error) = checked else { return };
    let path = format!("{section}.{}", error.key());
    let text = error.to_string();
    let text = text
        .strip_prefix(error.key())
        .and_then(|text| text.strip_prefix(": "))
        .unwrap_or(&text)
        .to_owned();
    match keys().find(|key| key.path == path) {
        Some(key) => reader.conflict(&[key.path], text),
        None => reader.conflict(&["adapter.kind"], format!("{path}: {text}")),
    }
}
