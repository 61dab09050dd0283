//! The scenario `churn`: clients come at a rate, stay for a while, and go.
//!
//! | room | what it does |
//! |---|---|
//! | `report` | what it finds, for people and as JSON |

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::{sync::Semaphore, task::JoinSet};

use crate::{
    args::Churn,
    connect::Connector,
    cpu::Meter,
    keep::{Cut, Deaf, keep},
    latency::Latencies,
    memory::Memory,
    progress,
    report::{Connections, Report},
    run::RunError,
    threads,
};

mod report;

pub(crate) use report::Turnover;

/// A client that comes later than this after it was due counts as overrun.
const LATE: Duration = Duration::from_millis(10);
/// How long servers are given to let go of the memory of clients that have left.
const SETTLE: Duration = Duration::from_secs(2);

/// What all clients share.
#[derive(Debug)]
struct Run {
    connector: Connector,
    handshakes: Latencies,
    lifetime: Duration,
    cut: Cut,
    /// Clients whose session ended before its time, and had no other at its end.
    deserted: AtomicU64,
}

/// Runs the scenario to its end.
///
/// # Errors
/// [`RunError`] when it cannot be made; connections that are not made are a result.
pub(crate) async fn run(args: &Churn) -> Result<Report<Turnover>, RunError> {
    let connecting = &args.connecting;
    let pids = &connecting.server_pids;
    let run = Arc::new(Run {
        connector: args.cut.connector(connecting),
        handshakes: Latencies::new(),
        lifetime: args.lifetime,
        cut: args.cut,
        deserted: AtomicU64::new(0),
    });
    run.connector.reach().await?;
    let before: Vec<_> = pids.iter().map(|pid| Memory::of(*pid)).collect();
    let meter = Meter::start(pids)?;
    let (arrivals, overrun) = arrive(&run, args).await;
    let used = meter.stop();
    let after = settled(pids).await;

    let connected = run.handshakes.count();
    let sum = |memories: &[Option<Memory>]| -> Option<u64> {
        (!memories.is_empty()).then(|| memories.iter().map(|memory| memory.map(|memory| memory.anonymous)).sum())?
    };
    let turnover = Turnover {
        arrivals,
        overrun,
        made: connected,
        failed: run.connector.failures.total(),
        deserted: run.deserted.load(Relaxed),
        connected_per_second: connected as f64 / used.took.as_secs_f64().max(f64::EPSILON),
        handshake_curve_ms: run.handshakes.curve(),
        server_rss_anon_kib_before: sum(&before),
        server_rss_anon_kib_after: sum(&after),
    };
    let disconnected = usize::try_from(turnover.deserted).unwrap_or(usize::MAX);
    let connected = usize::try_from(connected).unwrap_or(usize::MAX);
    let connections = Connections::of(&run.connector, connected, disconnected, &run.handshakes);
    Ok(Report::new(connections, turnover, used))
}

/// Lets clients come until the time is over, and awaits the end of the last; how many came, and how many of them late.
async fn arrive(run: &Arc<Run>, args: &Churn) -> (u64, u64) {
    let total = (args.duration.as_secs_f64() * args.rate).round().max(1.0) as u64;
    let places = Arc::new(Semaphore::new(args.connecting.connections.get()));
    let progress = progress::bar(total, "came");
    let (mut clients, mut late) = (JoinSet::new(), 0);
    let begun = Instant::now();
    for number in 0..total {
        let due = begun + Duration::from_secs_f64(number as f64 / args.rate);
        tokio::time::sleep_until(due.into()).await;
        // Who finds no place waits for one, and comes late.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            break;
        };
        late += u64::from(due.elapsed() > LATE);
        let own = Arc::clone(run);
        let number = usize::try_from(number).unwrap_or_default();
        let life = async move {
            live(&own, number).await;
            drop(place);
        };
        drop(clients.spawn_on(life, &threads::of(number)));
        while clients.try_join_next().is_some() {}
        progress::show(&progress, number as u64, &run.connector);
    }
    while clients.join_next().await.is_some() {}
    progress.finish_and_clear();
    (total, late)
}

/// One client, from its coming to its going.
async fn live(run: &Run, number: usize) {
    let begun = Instant::now();
    let Ok(client) = run.connector.attempt(number).await else { return };
    let connected = client.connected();
    run.handshakes.record(connected.duration_since(begun));
    let over = tokio::time::sleep_until((connected + run.lifetime).into());
    match keep(&run.connector, client, &mut Deaf, over).await {
        Some(client) => run.cut.end(&run.connector, client).await,
        None => {
            run.deserted.fetch_add(1, Relaxed);
        }
    }
}

/// The least memory that each process has within a while.
async fn settled(pids: &[u32]) -> Vec<Option<Memory>> {
    let of_all = || -> Vec<_> { pids.iter().map(|pid| Memory::of(*pid)).collect() };
    let mut least = of_all();
    if pids.is_empty() {
        return least;
    }
    let begun = Instant::now();
    while begun.elapsed() < SETTLE {
        tokio::time::sleep(progress::TICK).await;
        for (least, now) in least.iter_mut().zip(of_all()) {
            *least = least
                .zip(now)
                .map(|(least, now)| if now.anonymous < least.anonymous { now } else { least });
        }
    }
    least
}
