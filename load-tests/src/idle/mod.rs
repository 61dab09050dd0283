//! The scenario `idle`: connections that do nothing but answer pings.
//!
//! | room | what it does |
//! |---|---|
//! | `report` | what it finds, for people and as JSON |

use std::{sync::Arc, time::Instant};

use tokio::{sync::watch, task::JoinSet};

use crate::{
    args::Idle,
    connect::Connector,
    cpu::Meter,
    keep::{Deaf, keep},
    memory::Memory,
    progress,
    report::{Connections, Report},
    run::RunError,
    threads,
};

mod report;

pub(crate) use report::Idleness;

/// Runs the scenario to its end.
///
/// # Errors
/// [`RunError`] when it cannot be made; sessions that end are a result.
pub(crate) async fn run(args: &Idle) -> Result<Report<Idleness>, RunError> {
    let connecting = &args.connecting;
    let (connected, pids) = (connecting.connections.get(), &connecting.server_pids);
    let connector = Arc::new(Connector::new(connecting));
    let (stop, stopped) = watch::channel(false);
    let mut staying = JoinSet::new();
    let before: Vec<_> = pids.iter().map(|pid| Memory::of(*pid)).collect();
    let meter = Meter::start(pids)?;
    let begun = Instant::now();
    let stay = |index, client| {
        let (connector, mut stopped) = (Arc::clone(&connector), stopped.clone());
        let stay = async move {
            let over = async { drop(stopped.wait_for(|stop| *stop).await) };
            match keep(&connector, client, &mut Deaf, over).await {
                Some(client) => {
                    client.leave().await;
                    true
                }
                None => false,
            }
        };
        drop(staying.spawn_on(stay, &threads::of(index)));
    };
    let handshakes = connector.connect(connected, connecting.transport, stay).await?;
    let (opening, took) = (meter.stop(), begun.elapsed());

    let meter = Meter::start(pids)?;
    let begun = Instant::now();
    let progress = progress::bar(args.duration.as_secs(), "seconds idle");
    let mut ticks = tokio::time::interval(progress::TICK);
    while begun.elapsed() < args.duration {
        ticks.tick().await;
        progress::show(&progress, begun.elapsed().as_secs(), &connector);
    }
    progress.finish_and_clear();
    let idle = meter.stop();
    let after: Vec<_> = pids.iter().map(|pid| Memory::of(*pid)).collect();

    stop.send_replace(true);
    let mut disconnected = 0;
    while let Some(alive) = staying.join_next().await {
        disconnected += usize::from(!alive.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())));
    }
    let grown = |of: fn(Memory) -> u64| report::grown(&before, &after, of).map(|kib| kib / connected as f64);
    let idle_seconds = connected as f64 * idle.took.as_secs_f64();
    let idleness = Idleness {
        connections: connected as u64,
        connected_per_second: connected as f64 / took.as_secs_f64().max(f64::EPSILON),
        handshake_curve_ms: handshakes.curve(),
        seconds: idle.took.as_secs_f64(),
        ended: connector.ends.total(),
        disconnected: disconnected as u64,
        server_rss_anon_kib_per_connection: grown(|memory| memory.anonymous),
        server_rss_kib_per_connection: grown(|memory| memory.resident),
        server_idle_cpu_us_per_connection_second: idle.by_servers().map(|all| all.cpu.as_secs_f64() * 1e6 / idle_seconds),
        own_idle_cpu_us_per_connection_second: idle.own.as_secs_f64() * 1e6 / idle_seconds,
    };
    let connections = Connections::of(&connector, connected, disconnected, &handshakes);
    Ok(Report::new(connections, idleness, opening))
}
