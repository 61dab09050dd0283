//! The integration tests: real listeners on loopback, raw sockets and a stock WebSocket client against them.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

// What the tests are written in: nodes, polling and WebSocket clients, deadlines.
mod dsl;

// A session opens over polling and over WebSocket; what it is told.
mod handshake;
// Every refusal of the reference, byte by byte.
mod refusals;
// WebSockets that open a connection, past the HTTP server.
mod opening;
// Messages over polling, both ways.
mod polling;
// From polling to WebSocket: nothing lost, nothing reordered.
mod upgrade;
// One session under any list of operations.
mod session;
// What is no packet, for the tests below and the fuzz targets.
mod bad_inputs;
// Clients of Socket.IO 1 and 2 beside the others.
mod eio3;
// Whatever a client sends: the node lives, and nobody else notices.
mod garbage;
// Clients that hold what they have and give nothing back: each is gone in the time that was configured.
mod hostile;
// Clients of the msgpack parser; what the default parser does where the reference's stumbles.
mod parsers;
// More events than a client may send.
mod limits;
// What a broadcast allocates.
mod allocations;
// Three nodes over one bus: a broadcast reaches every client of every node.
mod broadcast;
// The same over memory, Redis and NATS: every operation, order, what a node asks of its backend, and what outages cost.
mod cluster;
// Two clusters on one Redis, and on one NATS: their names keep them apart.
mod isolation;
// Cookies, CORS and the client bundle.
mod web;
// Who may come in: origins, proxies that are believed, limits.
mod edge;
// `/livez`, `/readyz`, `/metrics`.
mod probes;
// Clients that say they are somebody else.
mod spoofed;
// What nodes ask of each other, and who is refused.
mod internal;
// Polling behind a balancer that does not keep clients on their nodes.
mod sticky;
// What clients of other nodes' sessions can hold of the node that they have reached, and of each other.
mod forwarding;
// Starting, draining, stopping; a hundred times.
mod lifecycle;
// The library inside an axum application.
mod library;
// What applications do with sockets, over real connections.
mod features;
// A connection breaks and comes back: nothing missed, nothing twice.
mod recovery;

// Nodes as processes, killed, paused, cut off, and their backend, too: nothing twice, nothing out of order, every loss counted.
#[path = "../chaos/mod.rs"]
mod chaos;

// Rules of the broker, as a person writes them.
mod broker;
// The binary: what it prints and how it ends.
mod cli;

// What README and manifests say of the configuration.
mod documents;

// The house rules that a compiler does not check: headers, imports between layers, sizes of files.
mod tidy;
