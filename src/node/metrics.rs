//! Prometheus metrics: observable instruments over the atomics of the layers below, one meter provider a node.
//!
//! Nothing is measured here. Names are spelled as Prometheus shows them; labels are enums, never ids, rooms or events.

use std::sync::Arc;

use fanfare_adapters::Adapter;
use opentelemetry::{
    KeyValue,
    metrics::{Histogram, Meter, MeterProvider as _},
};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::{Registry, TextEncoder};

use super::{BuildError, counters::Counters};
use crate::{
    cluster::Cluster,
    engine::{CloseReason, Counter, Engine},
    hub::Hub,
};

/// What is read when somebody asks.
#[derive(Debug, Clone)]
pub(super) struct Layers {
    pub(super) engine: Arc<Engine>,
    pub(super) hub: Arc<Hub>,
    pub(super) cluster: Arc<Cluster>,
    pub(super) adapter: Arc<dyn Adapter>,
    /// Gauge: connections of clients that speak HTTP, where the node accepts them itself.
    pub(super) http_connections: Arc<Counter>,
    pub(super) node: Arc<Counters>,
}

/// One metric: its name, what it means, and where its value stands.
struct Metric {
    name: &'static str,
    help: &'static str,
    read: fn(&Layers) -> u64,
}

const fn metric(name: &'static str, help: &'static str, read: fn(&Layers) -> u64) -> Metric {
    Metric { name, help, read }
}

/// The metrics with a label: `reason`, of a session's end the texts of the protocol, and `code`, its numbers.
const SESSIONS_CLOSED: &str = "fanfare_sessions_closed_total";
const CONNECTION_ERRORS: &str = "fanfare_connection_errors_total";
const INTERNAL_REFUSED: &str = "fanfare_internal_refused_total";
const FORWARDED: &str = "fanfare_forwarded_total";
const FORWARD_SECONDS: &str = "fanfare_forward_added_seconds";

/// The upper bounds of its buckets.
const SECONDS: [f64; 12] = [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0];

/// Values that go up and down.
const GAUGES: &[Metric] = &[
    metric("fanfare_sessions", "Engine.IO sessions open now", |l| l.engine.counters().open()),
    metric(
        "fanfare_http_connections",
        "Connections of clients that speak HTTP now, on the node's own listener",
        |l| l.http_connections.get(),
    ),
    metric("fanfare_tasks", "Tasks of sessions and of their handlers that run now", |l| {
        (l.engine.tasks() + l.hub.tasks()) as u64
    }),
    metric(
        "fanfare_forwarded_upgrades",
        "WebSockets that are carried to sessions of other nodes now",
        |l| l.node.carried.get(),
    ),
    metric("fanfare_namespaces", "Namespaces that exist", |l| l.hub.counters().namespaces.get()),
    metric("fanfare_sockets", "Sockets connected to a namespace", |l| {
        l.hub.counters().sockets.get()
    }),
    metric(
        "fanfare_sessions_waiting",
        "Sessions that wait for their clients to come back",
        |l| l.hub.sessions_waiting() as u64,
    ),
    metric("fanfare_logs_followed", "Logs of recoverable namespaces that are here", |l| {
        l.cluster.logs_followed() as u64
    }),
    metric("fanfare_log_entries", "Entries that this node's logs hold in memory", |l| {
        l.cluster.store().map_or(0, |store| store.log.counters().entries)
    }),
    metric(
        "fanfare_log_bytes",
        "Bytes of the entries that this node's logs hold in memory",
        |l| l.cluster.store().map_or(0, |store| store.log.counters().bytes),
    ),
    metric(
        "fanfare_records",
        "Records of sessions that are held in the memory of this node",
        |l| l.cluster.store().map_or(0, |store| store.records.counters().records),
    ),
    metric(
        "fanfare_record_bytes",
        "Bytes of the records of sessions in the memory of this node",
        |l| l.cluster.store().map_or(0, |store| store.records.counters().bytes),
    ),
    metric("fanfare_cluster_peers", "Other living nodes, the suspected ones among them", |l| {
        l.cluster.health().peers as u64
    }),
    metric("fanfare_cluster_suspected", "Other nodes not heard for a while", |l| {
        l.cluster.health().suspected as u64
    }),
    metric(
        "fanfare_degraded",
        "1 while emits here do not reach other nodes, or theirs not this one",
        |l| u64::from(l.cluster.health().degraded),
    ),
    metric(
        "fanfare_advertise_verified",
        "1 once this node has reached itself at its advertised address",
        |l| u64::from(l.node.advertise_verified()),
    ),
    metric(
        "fanfare_adapter_connected",
        "1 while the backend is connected and all subscriptions are confirmed",
        |l| u64::from(l.adapter.counters().connected),
    ),
];

/// Values that only grow.
const COUNTERS: &[Metric] = &[
    metric("fanfare_sessions_opened_total", "Engine.IO sessions opened", |l| {
        l.engine.counters().opened.get()
    }),
    metric(
        "fanfare_sessions_refused_total",
        "Handshakes refused for want of room or while shutting down",
        |l| l.engine.counters().refused.get(),
    ),
    metric(
        "fanfare_sessions_refused_per_address_total",
        "Handshakes refused because the client's address had too many sessions",
        |l| l.engine.counters().crowded.get(),
    ),
    metric(
        "fanfare_connections_refused_total",
        "Connections refused because the file descriptors for clients were used up",
        |l| l.node.exhausted.get(),
    ),
    metric(
        "fanfare_connections_refused_per_address_total",
        "Connections refused because the client's address had too many",
        |l| l.node.crowded.get(),
    ),
    metric(
        "fanfare_session_requests_total",
        "Requests of sessions, of this node's and of others', upgrades included",
        |l| l.node.session_requests.get(),
    ),
    metric(
        "fanfare_forwarded_here_total",
        "Requests for this node's sessions that other nodes have handed on",
        |l| l.node.forwarded_here.get(),
    ),
    metric(
        "fanfare_spoofed_headers_total",
        "Requests of clients from which headers were taken that only nodes may send",
        |l| l.node.spoofed.get(),
    ),
    metric(
        "fanfare_peers_outside_total",
        "Times a peer was not asked because its address is outside cluster.networks",
        |l| l.node.peers_outside.get(),
    ),
    metric("fanfare_upgrades_total", "Upgrades from polling completed", |l| {
        l.engine.counters().upgraded.get()
    }),
    metric("fanfare_messages_in_total", "Messages taken from clients", |l| {
        l.engine.counters().messages_in.get()
    }),
    metric("fanfare_bytes_in_total", "Bytes of messages taken from clients", |l| {
        l.engine.counters().bytes_in.get()
    }),
    metric("fanfare_messages_out_total", "Messages written to clients", |l| {
        l.engine.counters().messages_out.get()
    }),
    metric("fanfare_bytes_out_total", "Bytes written to clients, with framing", |l| {
        l.engine.counters().bytes_out.get()
    }),
    metric(
        "fanfare_messages_deflated_total",
        "Messages compressed for WebSockets, each once for all that get it",
        |l| l.engine.counters().messages_deflated.get(),
    ),
    metric("fanfare_volatile_dropped_total", "Volatile messages dropped", |l| {
        l.engine.counters().volatile_dropped.get()
    }),
    metric(
        "fanfare_slow_consumers_total",
        "Sessions closed because their outbox was full",
        |l| l.engine.counters().slow_consumers.get(),
    ),
    metric(
        "fanfare_polls_repeated_total",
        "Polls answered once more because the node has died that carried the answer",
        |l| l.engine.counters().polls_repeated.get(),
    ),
    metric(
        "fanfare_write_timeouts_total",
        "Connections reset because the client took nothing",
        |l| l.engine.counters().write_timeouts.get(),
    ),
    metric("fanfare_connects_total", "Sockets connected to a namespace since the start", |l| {
        l.hub.counters().connects.get()
    }),
    metric("fanfare_connects_refused_total", "Connects to a namespace refused", |l| {
        l.hub.counters().connects_refused.get()
    }),
    metric(
        "fanfare_joins_refused_total",
        "Rooms not joined because a socket was in too many",
        |l| l.hub.counters().joins_refused.get(),
    ),
    metric("fanfare_disconnects_total", "Sockets that ended", |l| {
        l.hub.counters().disconnects.get()
    }),
    metric("fanfare_events_in_total", "Events received from clients", |l| {
        l.hub.counters().events_in.get()
    }),
    metric(
        "fanfare_throttles_total",
        "Times a connection was not read from because it sent too many events",
        |l| l.hub.counters().throttles.get(),
    ),
    metric(
        "fanfare_too_fast_total",
        "Connections closed because they kept on sending too many events",
        |l| l.hub.counters().too_fast.get(),
    ),
    metric("fanfare_events_unhandled_total", "Events without a handler", |l| {
        l.hub.counters().events_unhandled.get()
    }),
    metric("fanfare_events_refused_total", "Events that a packet middleware refused", |l| {
        l.hub.counters().events_refused.get()
    }),
    metric(
        "fanfare_child_namespaces_refused_total",
        "Dynamic namespaces for which there was no place",
        |l| l.hub.counters().children_refused.get(),
    ),
    metric("fanfare_handler_errors_total", "Handlers that returned an error", |l| {
        l.hub.counters().handler_errors.get()
    }),
    metric("fanfare_handler_panics_total", "Handlers that panicked", |l| {
        l.hub.counters().handler_panics.get()
    }),
    metric(
        "fanfare_protocol_errors_total",
        "Connections closed for a packet that breaks the protocol",
        |l| l.hub.counters().protocol_errors.get(),
    ),
    metric("fanfare_unencodable_total", "Packets that the parser could not encode", |l| {
        l.hub.counters().unencodable.get()
    }),
    metric("fanfare_acks_timed_out_total", "Acks that did not come in time", |l| {
        l.hub.counters().acks_timed_out.get()
    }),
    metric(
        "fanfare_cluster_published_total",
        "Commands handed to the adapter for the other nodes",
        |l| l.cluster.counters().published.get(),
    ),
    metric(
        "fanfare_cluster_publish_full_total",
        "Commands not sent because the adapter's queue was full",
        |l| l.cluster.counters().publish_full.get(),
    ),
    metric(
        "fanfare_cluster_publish_too_large_total",
        "Commands not sent because the backend does not take their size",
        |l| l.cluster.counters().publish_too_large.get(),
    ),
    metric("fanfare_cluster_received_total", "Envelopes received", |l| {
        l.cluster.counters().received.get()
    }),
    metric("fanfare_cluster_own_total", "Own envelopes that came back", |l| {
        l.cluster.counters().own.get()
    }),
    metric("fanfare_cluster_canaries_total", "Own heartbeats that came back", |l| {
        l.cluster.counters().canaries.get()
    }),
    metric("fanfare_cluster_applied_total", "Commands of other nodes carried out here", |l| {
        l.cluster.counters().applied.get()
    }),
    metric(
        "fanfare_cluster_unwanted_total",
        "Commands of other nodes for which no socket is here",
        |l| l.cluster.counters().unwanted.get(),
    ),
    metric(
        "fanfare_cluster_copies_total",
        "Commands that had come on another topic of their namespace",
        |l| l.cluster.counters().copies.get(),
    ),
    metric("fanfare_cluster_repeats_total", "Envelopes received before", |l| {
        l.cluster.counters().repeats.get()
    }),
    metric("fanfare_cluster_holes_total", "Commands of other nodes that never arrived", |l| {
        l.cluster.counters().holes.get()
    }),
    metric(
        "fanfare_cluster_heartbeats_missed_total",
        "Heartbeats of other nodes that never arrived",
        |l| l.cluster.counters().heartbeats_missed.get(),
    ),
    metric("fanfare_cluster_requests_total", "Requests sent to the other nodes", |l| {
        l.cluster.counters().requests.get()
    }),
    metric(
        "fanfare_cluster_requests_unsent_total",
        "Requests that could not be handed to the adapter",
        |l| l.cluster.counters().requests_unsent.get(),
    ),
    metric(
        "fanfare_cluster_requests_refused_total",
        "Requests of other nodes that were refused, because too many were being answered",
        |l| l.cluster.counters().requests_refused.get(),
    ),
    metric(
        "fanfare_cluster_requests_missed_total",
        "Requests and replies of other nodes that never arrived",
        |l| l.cluster.counters().requests_missed.get(),
    ),
    metric(
        "fanfare_cluster_foreign_version_total",
        "Envelopes of an unknown wire version",
        |l| l.cluster.counters().foreign_version.get(),
    ),
    metric(
        "fanfare_cluster_foreign_cluster_total",
        "Envelopes that name another cluster",
        |l| l.cluster.counters().foreign_cluster.get(),
    ),
    metric(
        "fanfare_cluster_bad_mac_total",
        "Envelopes without a MAC, or with a wrong one",
        |l| l.cluster.counters().bad_mac.get(),
    ),
    metric("fanfare_cluster_malformed_total", "Envelopes that could not be read", |l| {
        l.cluster.counters().malformed.get()
    }),
    metric("fanfare_cluster_joined_total", "Nodes heard for the first time", |l| {
        l.cluster.counters().joined.get()
    }),
    metric("fanfare_cluster_left_total", "Nodes that said goodbye", |l| {
        l.cluster.counters().left.get()
    }),
    metric("fanfare_cluster_removed_total", "Nodes that fell silent", |l| {
        l.cluster.counters().removed.get()
    }),
    metric(
        "fanfare_cluster_clashes_total",
        "Heartbeats of another node with this node's tag",
        |l| l.cluster.counters().clashes.get(),
    ),
    metric("fanfare_cluster_renewals_total", "Times this node found itself removed", |l| {
        l.cluster.counters().renewals.get()
    }),
    metric("fanfare_recoveries_total", "Sessions recovered", |l| {
        l.hub.counters().recoveries.get()
    }),
    metric(
        "fanfare_recoveries_refused_total",
        "Clients that asked for their session and were connected as new ones",
        |l| l.hub.counters().recoveries_refused.get(),
    ),
    metric("fanfare_replayed_total", "Events replayed to recovered sockets", |l| {
        l.hub.counters().replayed.get()
    }),
    metric("fanfare_replay_recent_total", "Pages for clients that came back from memory", |l| {
        l.cluster.counters().replay_recent.get()
    }),
    metric(
        "fanfare_replay_reads_total",
        "Reads of a log for clients that came back; one may serve many",
        |l| l.cluster.counters().replay_reads.get(),
    ),
    metric(
        "fanfare_replays_given_up_total",
        "Replays that did not come to their end in time and cost their clients the connection",
        |l| l.hub.counters().replays_given_up.get(),
    ),
    metric(
        "fanfare_connects_unrecorded_total",
        "Sockets connected without a session because the log or the records were away",
        |l| l.hub.counters().connects_unrecorded.get(),
    ),
    metric(
        "fanfare_sessions_expired_total",
        "Sessions whose clients did not come back in time",
        |l| l.hub.counters().sessions_expired.get(),
    ),
    metric(
        "fanfare_sessions_cut_total",
        "Sockets cut because another connection took their session, or the log had a hole",
        |l| l.hub.counters().sessions_cut.get(),
    ),
    metric("fanfare_log_appended_total", "Events that a log has confirmed", |l| {
        l.cluster.counters().appended.get()
    }),
    metric("fanfare_log_busy_total", "Events refused because their log was away", |l| {
        l.cluster.counters().append_busy.get()
    }),
    metric(
        "fanfare_log_holes_total",
        "Times a log had lost entries that this node had not seen",
        |l| l.cluster.counters().log_holes.get(),
    ),
    metric("fanfare_adapter_published_total", "Messages that the backend has taken", |l| {
        l.adapter.counters().published
    }),
    metric(
        "fanfare_adapter_dropped_total",
        "Messages dropped before they reached the backend",
        |l| l.adapter.counters().dropped,
    ),
    metric("fanfare_adapter_received_total", "Messages received from the backend", |l| {
        l.adapter.counters().received
    }),
    metric("fanfare_adapter_gaps_total", "Times messages may have been missed", |l| {
        l.adapter.counters().gaps
    }),
    metric("fanfare_adapter_connects_total", "Connections made to the backend", |l| {
        l.adapter.counters().connects
    }),
];

/// A node's metrics.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    /// Keeps the instruments registered.
    provider: SdkMeterProvider,
}

impl Metrics {
    pub(super) fn new(layers: &Layers) -> Result<Self, BuildError> {
        let registry = Registry::new();
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .without_counter_suffixes()
            .without_target_info()
            .scope_info_enabled(false)
            .build()
            .map_err(|error| BuildError::Metrics(error.to_string()))?;
        let provider = SdkMeterProvider::builder().with_reader(exporter).build();
        register(&provider.meter("fanfare"), layers);
        Ok(Self { registry, provider })
    }

    /// Where it is recorded what a way to the owner of a session and back takes, in seconds.
    pub(super) fn forward_seconds(&self) -> Histogram<f64> {
        self.provider
            .meter("fanfare")
            .f64_histogram(FORWARD_SECONDS)
            .with_description("What the way to the node that owns a session and back adds to a request, in seconds")
            .with_boundaries(SECONDS.to_vec())
            .build()
    }

    /// The text form of the exposition format, version 0.0.4.
    pub(super) fn render(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    /// Forgets the instruments, and with them the layers that they read.
    pub(super) fn close(&self) {
        if let Err(error) = self.provider.shutdown() {
            tracing::debug!(%error, "metrics were closed before");
        }
    }
}

fn register(meter: &Meter, layers: &Layers) {
    for &Metric { name, help, read } in GAUGES {
        let layers = layers.clone();
        let gauge = meter.u64_observable_gauge(name).with_description(help);
        gauge.with_callback(move |observer| observer.observe(read(&layers), &[])).build();
    }
    for &Metric { name, help, read } in COUNTERS {
        let layers = layers.clone();
        let counter = meter.u64_observable_counter(name).with_description(help);
        counter.with_callback(move |observer| observer.observe(read(&layers), &[])).build();
    }
    let engine = Arc::clone(&layers.engine);
    meter
        .u64_observable_counter(SESSIONS_CLOSED)
        .with_description("Engine.IO sessions closed, by reason")
        .with_callback(move |observer| {
            for reason in CloseReason::ALL {
                observer.observe(engine.counters().closed(reason), &[KeyValue::new("reason", reason.as_str())]);
            }
        })
        .build();
    let node = Arc::clone(&layers.node);
    meter
        .u64_observable_counter(FORWARDED)
        .with_description("Requests for sessions of other nodes, by what became of them")
        .with_callback(move |observer| {
            for (outcome, forwarded) in node.forwarded() {
                observer.observe(forwarded, &[KeyValue::new("outcome", outcome)]);
            }
        })
        .build();
    let node = Arc::clone(&layers.node);
    meter
        .u64_observable_counter(INTERNAL_REFUSED)
        .with_description("Requests to the internal listener that were refused, by reason")
        .with_callback(move |observer| {
            for (reason, refused) in node.internal_refused() {
                observer.observe(refused, &[KeyValue::new("reason", reason)]);
            }
        })
        .build();
    let node = Arc::clone(&layers.node);
    meter
        .u64_observable_counter(CONNECTION_ERRORS)
        .with_description("Requests refused before they had to do with a session, by the code that the client was given")
        .with_callback(move |observer| {
            for (code, refused) in node.refused() {
                observer.observe(refused, &[KeyValue::new("code", code)]);
            }
        })
        .build();
}
