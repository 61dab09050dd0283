//! The scenario `fanout`: a few publish at a rate, every connection receives every message.
//!
//! | room | what it does |
//! |---|---|
//! | `message` | what a published message carries: publisher, sequence number, time |
//! | `publish` | publishes at a rate |
//! | `tally` | counts lost, missed, repeated and overtaken messages of one receiver |
//! | `report` | what it finds, for people and as JSON |

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use tokio::{sync::watch, task::JoinSet};

use crate::{
    args::Fanout,
    client::{Client, ClientError},
    connect::{ConnectError, Connector},
    cpu::{CpuError, Meter},
    latency::Latencies,
    progress,
    report::{Connections, Report},
};

mod message;
mod publish;
mod report;
mod tally;

pub(crate) use report::Deliveries;

use message::Message;
use publish::{Schedule, publish, publish_one};
use tally::{Counts, Tally};

/// Why a run could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FanoutError {
    /// A connection was not made.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A publisher lost its connection: what it published since is unknown.
    #[error("a publisher lost its connection: {0}")]
    Publisher(ClientError),
    /// A server's process cannot be read.
    #[error(transparent)]
    Cpu(#[from] CpuError),
}

/// What all connections share.
#[derive(Debug)]
struct Run {
    /// As JSON.
    event: String,
    publishers: usize,
    schedule: Schedule,
    /// When the schedule began.
    begun: OnceLock<Instant>,
    connector: Connector,
    /// From the moment a message was due to its first delivery. Their count is progress, and tells when the stragglers have come.
    latencies: Latencies,
}

/// Runs the scenario to its end.
///
/// # Errors
/// [`FanoutError`] when it cannot be made; lost messages are a result.
pub(crate) async fn run(args: &Fanout) -> Result<Report<Deliveries>, FanoutError> {
    let connecting = &args.connecting;
    let (connected, publishers) = (connecting.connections.get(), args.publishers.get());
    let run = Arc::new(Run {
        event: serde_json::Value::from(args.event.as_str()).to_string(),
        publishers,
        schedule: Schedule::new(publishers, args.rate, args.duration),
        begun: OnceLock::new(),
        connector: Connector::new(connecting),
        latencies: Latencies::new(),
    });
    let (stop, stopped) = watch::channel(false);
    let mut receiving = JoinSet::new();
    let receive = |_, client| drop(receiving.spawn(receive(Arc::clone(&run), client, stopped.clone())));
    let handshakes = run.connector.connect(connected, connecting.transport, receive).await?;
    let (begin, begun) = watch::channel(None);
    let mut publishing = JoinSet::new();
    let publish_one =
        |publisher, client| drop(publishing.spawn(publish_one(Arc::clone(&run), begun.clone(), publisher, client, args.size as usize)));
    let transport = args.publisher_transport.unwrap_or(connecting.transport);
    Connector::elsewhere(connecting, &args.publisher_targets)
        .connect(publishers, transport, publish_one)
        .await?;

    let meter = Meter::start(&connecting.server_pids)?;
    let begun = *run.begun.get_or_init(Instant::now);
    begin.send_replace(Some(begun));
    let published = publish(&run, publishing, args, &stopped).await?;
    let expected = published.messages * connected as u64;
    let last_arrival = await_stragglers(&run, expected, args.patience).await;
    let used = meter.stop();

    stop.send_replace(true);
    let mut counts = Counts::default();
    let mut disconnected = 0;
    while let Some(received) = receiving.join_next().await {
        let (tally, alive) = received.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        disconnected += usize::from(!alive);
        // Who was not to come back has lost what came after its end.
        counts += tally.finish(alive || !connecting.reconnect);
    }
    let elapsed = last_arrival.duration_since(begun).as_secs_f64().max(f64::EPSILON);
    let connections = Connections::of(&run.connector, connected, disconnected, &handshakes);
    let deliveries = Deliveries {
        published: published.messages,
        overrun: published.overrun,
        expected,
        delivered: counts.received,
        lost: counts.lost,
        lost_at_end: counts.lost_at_end,
        missed: counts.missed,
        duplicate: counts.duplicate,
        out_of_order: counts.out_of_order,
        delivered_per_second: counts.received as f64 / elapsed,
        latency_ms: run.latencies.percentiles(),
        latency_curve_ms: run.latencies.curve(),
    };
    Ok(Report::new(connections, deliveries, used))
}

/// Counts what one client receives until the run is over; whether it had a session then.
async fn receive(run: Arc<Run>, mut client: Client, mut stopped: watch::Receiver<bool>) -> (Tally, bool) {
    let mut tally = Tally::new(run.publishers, run.schedule.total);
    loop {
        let text = tokio::select! {
            text = client.next() => text,
            _ = stopped.wait_for(|stop| *stop) => return (tally, true),
        };
        match text {
            Ok(text) => {
                if let Some(message) = Message::decode(&text, &run.event)
                    && tally.deliver(message.publisher, message.sequence)
                {
                    run.latencies.record(run.age(message));
                }
            }
            Err(error) => {
                let back = tokio::select! {
                    back = run.connector.come_back(&error) => back,
                    _ = stopped.wait_for(|stop| *stop) => None,
                };
                let Some(back) = back else { return (tally, false) };
                client = back;
                tally.begin_session(|publisher| run.owed(publisher, client.connected()));
            }
        }
    }
}

/// Waits until all have come, or none has for `patience`; when the last one came.
async fn await_stragglers(run: &Run, expected: u64, patience: Duration) -> Instant {
    let mut arrived = run.latencies.count();
    let mut last = Instant::now();
    let mut ticks = tokio::time::interval(progress::TICK);
    while arrived < expected && last.elapsed() < patience {
        ticks.tick().await;
        let now = run.latencies.count();
        if now != arrived {
            (arrived, last) = (now, Instant::now());
        }
    }
    last
}

impl Run {
    /// How long ago a message was due.
    fn age(&self, message: Message) -> Duration {
        self.begun
            .get()
            .map_or(Duration::ZERO, Instant::elapsed)
            .saturating_sub(message.due)
    }

    /// The message of a publisher from which on a client that was connected at `since` should have all.
    fn owed(&self, publisher: usize, since: Instant) -> u64 {
        let begun = self.begun.get().copied().unwrap_or(since);
        self.schedule.not_before(publisher, since.saturating_duration_since(begun))
    }
}
