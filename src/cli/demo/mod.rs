//! `fanfare demo`: three nodes in one process, and a page that shows what a broadcast does.
//!
//! It is also the example of the library: [`handlers`] is an application as anybody would write one, and [`start`] is how it is
//! served by three [`Server`]s that one adapter each joins to a cluster.

mod handlers;
mod page;

use std::{io, net::Ipv4Addr, process::ExitCode, time::Duration};

use clap::Args;
use fanfare::{
    config::{AdapterConfig, Loaded, Mistakes, Place, Sources},
    node::{CorsConfig, Server, ServerConfig},
    telemetry::Telemetry,
};
use fanfare_adapters::memory::MemoryBus;
use tokio::net::TcpListener;

use super::{exit::Failure, flags::AdapterFlags, print, runtime, signals::Signals};

/// How many nodes there are.
const NODES: u16 = 3;

/// Nodes of several demos on one backend form one cluster, which is not that of a real fanfare.
const CLUSTER: &str = "fanfare-demo";

/// How long the end may take.
const GRACE: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(super) struct DemoFlags {
    /// The port of the first node; the others have the next two. 0 takes free ones
    #[arg(long, default_value_t = 3000, value_parser = clap::value_parser!(u16).range(..=i64::from(u16::MAX - NODES + 1)))]
    port: u16,
    #[command(flatten)]
    adapter: AdapterFlags,
}

/// One of the three.
struct DemoNode {
    server: Server,
    url: String,
}

/// Runs the demo until it is told to stop.
pub(super) fn run(flags: &DemoFlags) -> Result<ExitCode, Failure> {
    let sources = Sources {
        flags: flags.adapter.flags(),
        ..Sources::default()
    };
    let Loaded { config, .. } = sources.load()?;
    runtime()?.block_on(async {
        let telemetry = fanfare::telemetry::Config {
            filter: "warn".to_owned(),
            ..fanfare::telemetry::Config::default()
        };
        let _telemetry = Telemetry::install(&telemetry).map_err(Failure::of)?;
        let mut signals = Signals::listen().map_err(|error| Failure::new("cannot listen to signals", error))?;
        let bus = bus_name(&config.adapter);
        let nodes = start(flags.port, &config.adapter, bus).await?;
        print(&greeting(&nodes, bus))?;
        signals.next().await;
        tokio::select! {
            () = close(&nodes) => Ok(ExitCode::SUCCESS),
            second = signals.next() => Ok(second.code()),
        }
    })
}

/// Starts the nodes. They serve until the runtime ends.
async fn start(port: u16, adapter: &AdapterConfig, bus: &str) -> Result<Vec<DemoNode>, Failure> {
    let mut listeners = Vec::new();
    for number in 0..NODES {
        listeners.push(listen(if port == 0 { 0 } else { port + number }).await?);
    }
    let ports = listeners
        .iter()
        .map(|listener| Ok(listener.local_addr()?.port()))
        .collect::<io::Result<Vec<u16>>>();
    let ports = ports.map_err(|error| Failure::new("cannot tell the ports", error))?;
    // The page of one node connects to all three: for the browser two of them are foreign.
    let origins = ports
        .iter()
        .flat_map(|port| [format!("http://127.0.0.1:{port}"), format!("http://localhost:{port}")])
        .collect();
    let mut config = ServerConfig {
        cors: CorsConfig {
            origins,
            ..CorsConfig::default()
        },
        ..ServerConfig::default()
    };
    CLUSTER.clone_into(&mut config.cluster.name);
    let memory_bus = MemoryBus::new();

    let mut nodes = Vec::new();
    for (number, (listener, port)) in (1..).zip(listeners.into_iter().zip(&ports)) {
        config.cluster.node = format!("node {number}");
        let adapter = adapter
            .clone()
            .start(&memory_bus)
            .map_err(|error| Mistakes::one(Place::Default, "adapter", error.to_string()))?;
        let server = Server::builder()
            .config(config.clone())
            .adapter(adapter)
            .build()
            .map_err(Failure::of)?;
        handlers::register(server.io(), number).map_err(Failure::of)?;
        let routes = server.router().merge(page::routes(&ports, bus));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        nodes.push(DemoNode {
            server,
            url: format!("http://127.0.0.1:{port}"),
        });
    }
    Ok(nodes)
}

async fn listen(port: u16) -> Result<TcpListener, Failure> {
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
    bound.map_err(|error| {
        Failure::new(
            &format!("cannot listen on 127.0.0.1:{port} (--port chooses others, --port 0 free ones)"),
            error,
        )
    })
}

/// Says goodbye to clients and to the other nodes, all at the same time.
async fn close(nodes: &[DemoNode]) {
    futures_util::future::join_all(nodes.iter().map(|node| node.server.close(GRACE))).await;
}

fn bus_name(adapter: &AdapterConfig) -> &'static str {
    match adapter {
        AdapterConfig::Memory(_) => "the memory bus",
        AdapterConfig::Redis(_) => "Redis",
        AdapterConfig::Nats(_) => "NATS",
    }
}

fn greeting(nodes: &[DemoNode], bus: &str) -> String {
    let lines: String = (1..)
        .zip(nodes)
        .map(|(number, node)| format!("  node {number}  {}\n", node.url))
        .collect();
    format!("fanfare demo: three nodes over {bus}\n\n{lines}\nOpen any of them in a browser. Ctrl-C ends the demo.\n")
}
