//! Nodes on free ports of loopback, with a small application on them.

use std::sync::Arc;

use fanfare::{
    hub::{Ack, Data, EmitError, Io, Raw, Socket},
    node::{Config, Node, RunningNode},
};
use fanfare_adapters::memory::{self, MemoryAdapter, MemoryBus};

/// A node alone.
pub(crate) async fn start() -> RunningNode {
    start_with(|_| {}).await
}

/// A node alone, configured.
pub(crate) async fn start_with(configure: impl FnOnce(&mut Config)) -> RunningNode {
    start_on(&MemoryBus::new(), configure).await.0
}

/// A node on a bus that it shares with others, and its adapter, to be cut.
pub(crate) async fn start_on(bus: &MemoryBus, configure: impl FnOnce(&mut Config)) -> (RunningNode, Arc<MemoryAdapter>) {
    let adapter = Arc::new(bus.adapter(memory::Config::default()));
    let mut config = loopback();
    configure(&mut config);
    let node = Node::start(config, Arc::clone(&adapter) as _).await.unwrap();
    application(node.io());
    (node, adapter)
}

/// Three nodes on one bus.
pub(crate) async fn three_nodes() -> [RunningNode; 3] {
    let bus = MemoryBus::new();
    [
        start_on(&bus, |_| {}).await.0,
        start_on(&bus, |_| {}).await.0,
        start_on(&bus, |_| {}).await.0,
    ]
}

/// Free ports of loopback, the rest by default.
pub(crate) fn loopback() -> Config {
    Config {
        listen: ([127, 0, 0, 1], 0).into(),
        internal_listen: ([127, 0, 0, 1], 0).into(),
        ..Config::default()
    }
}

/// What every client of the tests can ask for. `nothing` is heard and not answered.
pub(crate) fn application(io: &Io) {
    io.sockets()
        .on("nothing", async || {})
        .unwrap()
        .on("echo", async |socket: Socket, event: Raw| socket.emit_payload(event.payload()))
        .unwrap()
        .on("ack", async |event: Raw, ack: Ack| ack.send_payload(&event.arguments()))
        .unwrap()
        .on("others", async |socket: Socket, event: Raw| {
            socket.broadcast().emit_payload(event.payload().clone())
        })
        .unwrap()
        .on("everyone", async |io: Io, event: Raw| {
            io.sockets().all().emit_payload(event.payload().clone())
        })
        .unwrap()
        .on("join", join)
        .unwrap()
        .on("room", room)
        .unwrap();
}

async fn join(socket: Socket, Data(room): Data<String>, ack: Ack) -> Result<(), EmitError> {
    socket.join(&*room).unwrap().await;
    ack.send(&())
}

/// To the room that the first argument names, but not to the sender.
async fn room(socket: Socket, event: Raw) -> Result<(), EmitError> {
    let room: String = event.arg(0).unwrap();
    socket.to(&*room).emit_payload(event.payload().clone())
}
