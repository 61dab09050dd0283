//! socketioxide as a peer: the application that all peers share, with the settings that serve it best.
//!
//! `PORT`, and for a cluster `REDIS` (a URL) from the environment; prints its address and process id once it listens.
//!
//! Built without its tracing; served by axum, as its documentation shows, with `TCP_NODELAY`. With the default of 128 packets a connection
//! `emit` fails, and the message is lost, as soon as a broadcast finds more than that waiting: so there is room for more.

use std::{
    convert::Infallible,
    env,
    error::Error,
    io::{self, Write},
    net::Ipv4Addr,
};

use axum::{Router, serve::ListenerExt};
use serde_json::Value;
use socketioxide::{
    SocketIo,
    adapter::Adapter,
    extract::{AckSender, Data, SocketRef},
    handler::ConnectHandler,
    layer::SocketIoLayer,
};
use socketioxide_redis::{RedisAdapter, RedisAdapterConfig, RedisAdapterCtr, drivers::redis::redis_client};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

/// Packets that may wait for a connection (`max_buffer_size`).
const PACKETS: usize = 4096;
/// Messages of the backend that may wait for a node (`stream_buffer`).
const MESSAGES: usize = 16 * 1024;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    rlimit::increase_nofile_limit(u64::MAX)?;
    if env::var_os("NATS").is_some() {
        return Err("NATS is set, and socketioxide has no adapter for it".into());
    }
    let builder = SocketIo::builder().max_buffer_size(PACKETS);
    match env::var("REDIS") {
        Ok(url) => {
            let separator = if url.contains('?') { '&' } else { '?' };
            let client = redis_client::Client::open(format!("{url}{separator}protocol=resp3"))?;
            let config = RedisAdapterConfig::new().with_stream_buffer(MESSAGES);
            let adapter = RedisAdapterCtr::new_with_redis_config(&client, config).await?;
            let (layer, io) = builder.with_adapter::<RedisAdapter<_>>(adapter).build_layer();
            io.ns("/", (async || ()).with(register)).await?;
            serve(layer).await
        }
        Err(_) => {
            let (layer, io) = builder.build_layer();
            io.ns("/", (async || ()).with(register));
            serve(layer).await
        }
    }
}

/// The application, as the documentation has it. Each event is handled in a task of its own, so those of one client may overtake each other.
///
/// It is registered in a middleware: a connect handler runs beside what the client is told, and what that sends at once may find no handler.
async fn register<A: Adapter>(socket: SocketRef<A>) -> Result<(), Infallible> {
    socket.on("pub", async |io: SocketIo<A>, Data(data): Data<Value>| {
        report(io.emit("msg", &data).await);
    });
    socket.on("pubroom", async |io: SocketIo<A>, Data((room, data)): Data<(String, Value)>| {
        report(io.to(room).emit("msg", &data).await);
    });
    socket.on("join", async |socket: SocketRef<A>, Data(room): Data<String>, ack: AckSender<A>| {
        socket.join(room);
        report(ack.send(&()));
    });
    socket.on("echo", async |Data(data): Data<Value>, ack: AckSender<A>| {
        report(ack.send(&data));
    });
    Ok(())
}

async fn serve<A: Adapter>(layer: SocketIoLayer<A>) -> Result<(), Box<dyn Error>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let port = env::var("PORT").map_or(Ok(0), |port| port.parse())?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    writeln!(io::stdout(), "public http://{}\npid {}", listener.local_addr()?, std::process::id())?;
    let listener = listener.tap_io(|stream| report(stream.set_nodelay(true)));
    tokio::select! {
        served = axum::serve(listener, Router::new().layer(layer)).into_future() => Ok(served?),
        _ = terminate.recv() => Ok(()),
    }
}

/// What could not be sent is lost, which the clients count; here it is said why.
fn report<E: Error>(result: Result<(), E>) {
    if let Err(error) = result {
        eprintln!("socketioxide: {error}");
    }
}
