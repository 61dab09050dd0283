//! `fanfare serve`: one node, from its configuration to its end.

use std::process::ExitCode;

use fanfare::{
    broker,
    config::{Config, Loaded, Mistakes, Place},
    node::Node,
    telemetry::Telemetry,
};
use fanfare_adapters::memory::MemoryBus;
use tracing::Instrument as _;

use super::{exit::Failure, flags::NodeFlags, print, runtime, signals::Signals};

/// Runs a node until it is told to stop.
pub(super) fn run(flags: &NodeFlags) -> Result<ExitCode, Failure> {
    let loaded = flags.sources()?.load()?;
    runtime()?.block_on(serve(loaded))
}

async fn serve(Loaded { config, notes, set: _ }: Loaded) -> Result<ExitCode, Failure> {
    let Config {
        node,
        adapter,
        rules,
        telemetry,
    } = config;
    let telemetry = Telemetry::install(&telemetry).map_err(Failure::of)?;
    for note in notes {
        tracing::warn!("{note}");
    }
    let mut signals = Signals::listen().map_err(|error| Failure::new("cannot listen to signals", error))?;
    let adapter = adapter
        .start(&MemoryBus::new())
        .map_err(|error| Mistakes::one(Place::Default, "adapter", error.to_string()))?;
    // Rules first, listeners then: a client that comes back in the first millisecond finds its namespaces.
    let node = Node::start_with(node, adapter, |io| broker::install(io, &rules))
        .instrument(tracing::info_span!("start"))
        .await
        .map_err(Failure::of)?;

    let addresses = format!("public http://{}\ninternal http://{}\n", node.public_addr(), node.internal_addr());
    print(&addresses)?;
    tracing::info!(public = %node.public_addr(), internal = %node.internal_addr(), "serving");

    let first = signals.next().await;
    tracing::info!(signal = first.name, "shutting down");
    let code = tokio::select! {
        () = node.shutdown().instrument(tracing::info_span!("shutdown")) => ExitCode::SUCCESS,
        second = signals.next() => {
            tracing::warn!(signal = second.name, "ended at once");
            return Ok(second.code());
        }
    };
    telemetry.flush();
    tracing::info!("bye");
    Ok(code)
}
