//! What is refused of options: values with which a server would serve nobody.

use std::{fmt, time::Duration};

use super::{BuildError, Config, ServerConfig};
use crate::engine::Transport;

/// No interval is longer: an instant that far away can still be told.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Looks at the values that would make a server that serves nobody, or whose clock runs over.
pub(super) fn check(config: &ServerConfig) -> Result<(), BuildError> {
    let ServerConfig {
        engine,
        hub,
        drain_spread,
        ready,
        body_timeout,
        forward,
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
        ("forward.connect_timeout", forward.connect_timeout),
        ("connect_timeout", hub.connect_timeout),
        ("ack_timeout", hub.ack_timeout),
        ("request_timeout", hub.request_timeout),
        ("stall_timeout", hub.stall_timeout),
        ("attachment_timeout", hub.attachment_timeout),
    ];
    for (option, time) in times.into_iter().chain(of_recovery.into_iter().flatten()) {
        ensure_positive(option, time)?;
    }
    for (option, time) in [("drain_spread", *drain_spread), ("ready.grace", ready.grace)] {
        ensure_bounded(option, time)?;
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
        ensure_some(option, count)?;
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
        ensure_positive(option, time)?;
    }
    for (option, time) in [("drain", config.drain), ("shutdown_grace", config.shutdown_grace)] {
        ensure_bounded(option, time)?;
    }
    for (option, count) in [
        ("max_connections", config.max_connections),
        ("max_connections_per_address", config.max_connections_per_address),
    ] {
        ensure_some(option, count)?;
    }
    Ok(())
}

fn ensure_positive(option: &'static str, time: Duration) -> Result<(), BuildError> {
    ensure(
        !time.is_zero() && time <= LONGEST,
        option,
        time,
        "a time above zero, at most a year",
    )
}

fn ensure_bounded(option: &'static str, time: Duration) -> Result<(), BuildError> {
    ensure(time <= LONGEST, option, time, "a time of at most a year")
}

fn ensure_some(option: &'static str, count: usize) -> Result<(), BuildError> {
    ensure(count > 0, option, count, "a number above zero")
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
    use std::num::NonZeroU32;

    use super::*;
    use crate::{
        hub::{MsgpackParser, recovery::Recovery},
        node::{Builder, CookieConfig, CorsConfig, Origins, Server},
    };

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
                .cluster_networks(["10.0.0.0/8".parse().unwrap()])
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
