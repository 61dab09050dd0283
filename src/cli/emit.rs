//! `fanfare emit`: one event to the sockets of a running cluster.

use std::{process::ExitCode, time::Duration};

use clap::Args;
use fanfare::{
    cluster::{Emitter, EmitterError},
    config::{AdapterConfig, Config, Mistakes, Place},
};
use fanfare_adapters::memory::MemoryBus;
use serde_json::Value;

use super::{exit::Failure, flags::NodeFlags, runtime};

/// How long the backend is waited for, and then for it to take the event.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is emitted, to whom, and through which backend: that of a node's configuration.
#[derive(Debug, Args)]
pub(super) struct EmitFlags {
    #[command(flatten)]
    node: NodeFlags,
    /// The namespace whose sockets are meant
    #[arg(long, value_name = "NAME", default_value = "/")]
    namespace: String,
    /// A room whose sockets are meant; may be given several times. None means the whole namespace
    #[arg(long, value_name = "ROOM")]
    to: Vec<String>,
    /// A room whose sockets are left out; may be given several times
    #[arg(long, value_name = "ROOM")]
    except: Vec<String>,
    /// Sockets that cannot be written to now go without the event
    #[arg(long)]
    volatile: bool,
    /// The event's name
    event: String,
    /// Its arguments, each as JSON, for example '"hello"' or '{"n":1}'
    args: Vec<String>,
}

/// Emits one event.
pub(super) fn run(flags: &EmitFlags) -> Result<ExitCode, Failure> {
    let args: Vec<Value> = flags.args.iter().map(|argument| json(argument)).collect::<Result<_, _>>()?;
    let config = flags.node.sources()?.load()?.config;
    if matches!(config.adapter, AdapterConfig::Memory(_)) {
        let missing = "no backend is configured; expected redis or nats, for example --redis-url redis://127.0.0.1:6379 --adapter redis";
        return Err(Mistakes::one(Place::Default, "adapter.kind", missing.to_owned()).into());
    }
    runtime()?.block_on(emit(config, flags, &args))
}

fn json(argument: &str) -> Result<Value, Mistakes> {
    serde_json::from_str(argument).map_err(|error| {
        let wrong = format!("{argument} is no JSON: {error}; expected for example '\"text\"' or '{{\"n\":1}}'");
        Mistakes::one(Place::Flag("ARGS"), "", wrong)
    })
}

async fn emit(config: Config, flags: &EmitFlags, args: &[Value]) -> Result<ExitCode, Failure> {
    let adapter = config
        .adapter
        .start(&MemoryBus::new())
        .map_err(|error| Mistakes::one(Place::Default, "adapter", error.to_string()))?;
    let fault = std::sync::Arc::clone(&adapter);
    let mut emitter = Emitter::new(config.node.server.cluster, adapter).map_err(Failure::of)?;
    if tokio::time::timeout(PATIENCE, emitter.connected()).await.is_err() {
        let why = fault.fault().unwrap_or_else(|| "no answer".to_owned());
        return Err(Failure::new("the backend cannot be reached", std::io::Error::other(why)));
    }
    let mut emission = emitter.of(&flags.namespace).to(flags.to.as_slice()).except(flags.except.as_slice());
    if flags.volatile {
        emission = emission.volatile();
    }
    emission.emit(&flags.event, &Arguments(args)).map_err(|error| match error {
        EmitterError::Encode(error) => Mistakes::one(Place::Flag("EVENT"), "", error.to_string()).into(),
        error => Failure::of(error),
    })?;
    if emitter.close(PATIENCE).await == 0 {
        return Err(Failure::new(
            "the event was not sent",
            std::io::Error::other("the backend was lost"),
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Each element is an argument, however many there are.
struct Arguments<'a>(&'a [Value]);

impl serde::Serialize for Arguments<'_> {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeTuple as _;

        let mut tuple = to.serialize_tuple(self.0.len())?;
        for argument in self.0 {
            tuple.serialize_element(argument)?;
        }
        tuple.end()
    }
}
