//! The library of this repository as a peer: the application that all peers share, with the defaults that users get.
//!
//! `PORT`, and for a cluster `REDIS` or `NATS` (a URL) from the environment; prints its address and process id once it listens.

use std::{
    env,
    error::Error,
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use fanfare::{
    hub::{Ack, Args, Data, EmitError, Io, RegisterError, Socket},
    node::{Config, Node},
};
use fanfare_adapters::{
    Adapter, memory,
    memory::MemoryBus,
    nats::{self, NatsAdapter},
    redis::{self, RedisAdapter},
};
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    rlimit::increase_nofile_limit(u64::MAX)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let port = env::var("PORT").map_or(Ok(0), |port| port.parse())?;
    let config = Config {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        internal_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        ..Config::default()
    };
    let node = Node::start_with(config, adapter()?, register).await?;
    writeln!(io::stdout(), "public http://{}\npid {}", node.public_addr(), std::process::id())?;
    terminate.recv().await;
    node.shutdown().await;
    Ok(())
}

/// What joins it to the other nodes.
fn adapter() -> Result<Arc<dyn Adapter>, Box<dyn Error>> {
    Ok(match (env::var("REDIS"), env::var("NATS")) {
        (Ok(_), Ok(_)) => return Err("REDIS and NATS are both set: a cluster has one backend".into()),
        (Ok(url), _) => Arc::new(RedisAdapter::start(redis::Config::new(url))?),
        (_, Ok(url)) => Arc::new(NatsAdapter::start(nats::Config::new(url))?),
        _ => Arc::new(MemoryBus::new().adapter(memory::Config::default())),
    })
}

// Of a tuple each element is an argument: so whatever `data` is, `null` too, it is the one.
fn register(io: &Io) -> Result<(), RegisterError> {
    let clients = io.sockets();
    clients.on("pub", async |Data(data): Data<Value>, io: Io| io.emit("msg", &(data,)))?;
    clients.on("pubroom", async |Args((room, data)): Args<(String, Value)>, io: Io| {
        io.to(room).emit("msg", &(data,))
    })?;
    clients.on("join", join)?;
    clients.on("echo", async |Data(data): Data<Value>, ack: Ack| ack.send(&(data,)))?;
    Ok(())
}

/// Answers, if it is asked to, when the socket gets what any node emits to the room.
async fn join(socket: Socket, Data(room): Data<String>, ack: Ack) -> Result<(), EmitError> {
    if let Ok(joined) = socket.join(room) {
        joined.await;
        ack.send(&())?;
    }
    Ok(())
}
