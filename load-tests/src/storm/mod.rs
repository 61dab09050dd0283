//! The scenario `storm`: all connections are cut at the same moment, and come back at once.
//!
//! | room | what it does |
//! |---|---|
//! | `publish` | the publisher that goes on meanwhile |
//! | `report` | what it finds, for people and as JSON |

use std::{
    sync::{
        Arc,
        atomic::{
            AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use tokio::{sync::watch, task::JoinSet};

use crate::{
    args::Storm,
    client::{Client, random},
    connect::Connector,
    cpu::Meter,
    keep::{Cut, keep},
    progress,
    report::{Connections, Report},
    run::RunError,
    threads,
};

mod publish;
mod report;

pub(crate) use report::Storms;

use publish::{Ear, Press, publish};

/// What all clients share.
#[derive(Debug)]
struct Run {
    connector: Connector,
    cut: Cut,
    spread: Duration,
    press: Press,
    /// Clients that have come back, in all storms together.
    back: AtomicU64,
    /// Microseconds from the cut to the return of the last of them, in the present storm.
    longest: AtomicU64,
}

/// How often the progress of a storm is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// What clients are to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Weather {
    /// How many storms there have been. With each further one every session ends, and every client comes back.
    storms: u64,
    /// When the last one began.
    begun: Instant,
    /// Whether the run is over.
    over: bool,
}

/// Runs the scenario to its end.
///
/// # Errors
/// [`RunError`] when it cannot be made; clients that do not come back are a result.
pub(crate) async fn run(args: &Storm) -> Result<Report<Storms>, RunError> {
    let connecting = &args.connecting;
    let connected = connecting.connections.get();
    let run = Arc::new(Run {
        connector: args.cut.connector(connecting),
        cut: args.cut,
        spread: args.spread,
        press: Press::new(&args.event, args.size as usize),
        back: AtomicU64::new(0),
        longest: AtomicU64::new(0),
    });
    let (weather, forecast) = watch::channel(Weather::new());
    let mut publishing = JoinSet::new();
    if let Some(rate) = args.publish_rate {
        let spawn =
            |index, client| drop(publishing.spawn_on(publish(Arc::clone(&run), client, rate, forecast.clone()), &threads::of(index)));
        Connector::new(connecting).connect(1, connecting.transport, spawn).await?;
    }
    let mut clients = JoinSet::new();
    let spawn = |index, client| drop(clients.spawn_on(ride(Arc::clone(&run), client, forecast.clone()), &threads::of(index)));
    let handshakes = run.connector.connect(connected, connecting.transport, spawn).await?;

    let meter = Meter::start(&connecting.server_pids)?;
    let rounds = tokio::select! {
        rounds = storms(&run, &weather, args) => rounds,
        // It ends by itself only with its session.
        Some(ended) = publishing.join_next() => return Err(RunError::Publisher(ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())))),
    };
    let used = meter.stop();

    weather.send_modify(|weather| weather.over = true);
    let mut disconnected = 0;
    while let Some(alive) = clients.join_next().await {
        disconnected += usize::from(!alive.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())));
    }
    let ms = |took: &Duration| took.as_secs_f64() * 1e3;
    let storms = Storms {
        rounds: u64::from(args.rounds.get()),
        weathered: rounds.len() as u64,
        back: run.back.load(Relaxed),
        retries: run.connector.failures.total(),
        away_curve_ms: run.connector.away.curve(),
        all_back_ms: rounds.iter().max().map_or(0.0, ms),
        all_back_ms_by_round: rounds.iter().map(ms).collect(),
        ended: run.connector.ends.total(),
        disconnected: disconnected as u64,
        tolerant: connecting.reconnect,
        published: run.press.published(),
        delivered: run.press.delivered(),
    };
    let connections = Connections::of(&run.connector, connected, disconnected, &handshakes);
    Ok(Report::new(connections, storms, used))
}

/// Lets one storm come after the other; how long it took after each until all were back, as long as they were in time.
async fn storms(run: &Run, weather: &watch::Sender<Weather>, args: &Storm) -> Vec<Duration> {
    let connected = args.connecting.connections.get() as u64;
    let mut rounds = Vec::new();
    for round in 1..=u64::from(args.rounds.get()) {
        tokio::time::sleep(args.pause).await;
        let Some(took) = storm(run, weather, connected * round, args.patience).await else {
            break;
        };
        rounds.push(took);
    }
    rounds
}

/// Lets one storm come; how long it took until all were back, or `None` if they were not within `patience`.
async fn storm(run: &Run, weather: &watch::Sender<Weather>, expected: u64, patience: Duration) -> Option<Duration> {
    let already = run.back.load(Relaxed);
    let progress = progress::bar(expected - already, "back");
    let mut ticks = tokio::time::interval(LOOK);
    run.longest.store(0, Relaxed);
    let begun = Instant::now();
    weather.send_modify(|weather| (weather.storms, weather.begun) = (weather.storms + 1, begun));
    let weathered = loop {
        ticks.tick().await;
        let back = run.back.load(Acquire);
        progress::show(&progress, back - already, &run.connector);
        if back >= expected || begun.elapsed() > patience {
            break back >= expected;
        }
    };
    progress.finish_and_clear();
    weathered.then(|| Duration::from_micros(run.longest.load(Relaxed)))
}

/// One client, until the run is over; whether it has a session then.
async fn ride(run: Arc<Run>, client: Client, mut forecast: watch::Receiver<Weather>) -> bool {
    let mut client = Some(client);
    let mut ear = Ear(Arc::clone(&run));
    let mut storms = 0;
    loop {
        let alive = match client.take() {
            Some(client) => keep(&run.connector, client, &mut ear, next(&mut forecast, storms).map(drop)).await,
            None => None,
        };
        // Who lost its session without a storm, and is not to come back, does so with the next one.
        let weather = next(&mut forecast, storms).await;
        if weather.over {
            return match alive {
                Some(client) => {
                    client.leave().await;
                    true
                }
                None => false,
            };
        }
        storms = weather.storms;
        if let Some(client) = alive {
            run.cut.end(&run.connector, client).await;
        }
        tokio::time::sleep(run.spread.mul_f64(random() as f64 / u64::MAX as f64)).await;
        let back = tokio::select! {
            back = run.connector.return_since(weather.begun, None) => back,
            _ = next(&mut forecast, storms) => return false,
        };
        let took = back.connected().duration_since(weather.begun).as_micros();
        run.longest.fetch_max(u64::try_from(took).unwrap_or(u64::MAX), Relaxed);
        run.back.fetch_add(1, Release);
        client = Some(back);
    }
}

/// The weather as soon as there have been more than so many storms, or the run is over. Cancel safe.
async fn next(forecast: &mut watch::Receiver<Weather>, storms: u64) -> Weather {
    let next = forecast.wait_for(|weather| weather.over || weather.storms > storms).await;
    // Without anybody who makes it, it is over.
    next.map_or_else(
        |_| Weather {
            over: true,
            ..Weather::new()
        },
        |weather| *weather,
    )
}

impl Weather {
    fn new() -> Self {
        Self {
            storms: 0,
            begun: Instant::now(),
            over: false,
        }
    }
}
