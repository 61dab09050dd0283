//! The scenario `fanout`: a few publish at a rate, every connection receives every message.

use std::{
    io::{self, IsTerminal},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use futures_util::{StreamExt, TryStreamExt, stream};
use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::{sync::watch, task::JoinSet};

use crate::{
    args::Fanout,
    client::{Client, ClientError, Incoming, Receiver, Sender},
    cpu,
    message::Message,
    report::{Percentiles, Report},
    tally::{Counts, Tally},
};

/// Latencies are kept up to this; larger ones count as this one.
const LONGEST: Duration = Duration::from_secs(120);
/// Receivers share a histogram between so many, so that they rarely wait for each other.
const HISTOGRAMS: usize = 16;
/// A message that leaves later than this after it was due counts as overrun.
const LATE: Duration = Duration::from_millis(10);
/// How often progress is looked at.
const TICK: Duration = Duration::from_millis(100);

/// Why a run could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FanoutError {
    /// A connection was not made.
    #[error("cannot connect to {target}: {source}")]
    Connect {
        /// Which server.
        target: String,
        /// Why not.
        source: ClientError,
    },
    /// A publisher lost its connection: what it published since is unknown.
    #[error("a publisher lost its connection: {0}")]
    Publisher(ClientError),
    /// A server's process cannot be read.
    #[error("CPU time of process {pid}: {source}")]
    Cpu {
        /// The process named on the command line.
        pid: u32,
        /// What the kernel says.
        source: io::Error,
    },
}

/// What all connections share.
#[derive(Debug)]
struct Run {
    epoch: Instant,
    event: String,
    /// Deliveries so far, for progress and to see when the stragglers have come.
    arrived: AtomicU64,
    latencies: Vec<Mutex<Histogram<u64>>>,
}

/// Runs the scenario to its end.
///
/// # Errors
/// [`FanoutError`] when it cannot be made; lost messages are a result.
pub(crate) async fn run(args: &Fanout) -> Result<Report, FanoutError> {
    let run = Arc::new(Run {
        epoch: Instant::now(),
        event: args.event.clone(),
        arrived: AtomicU64::new(0),
        latencies: (0..HISTOGRAMS).map(|_| Mutex::new(histogram())).collect(),
    });
    let (receivers, handshakes) = connect(args, args.connections.get(), 0).await?;
    let (publishers, _) = connect(args, args.publishers.get(), receivers.len()).await?;
    let connected = receivers.len();

    let (stop, stopped) = watch::channel(false);
    let mut receiving = JoinSet::new();
    for (index, client) in receivers.into_iter().enumerate() {
        receiving.spawn(receive(Arc::clone(&run), index, client, stopped.clone()));
    }

    let cpu_before = (cpu_of(&[std::process::id()])?, cpu_of(&args.server_pids)?);
    let begun = Instant::now();
    let Published {
        messages: published,
        overrun,
        connections,
    } = publish(args, &run, publishers, connected).await?;
    let expected = published * connected as u64;
    let last_arrival = await_stragglers(&run, expected, args.patience).await;
    let cpu_after = (cpu_of(&[std::process::id()])?, cpu_of(&args.server_pids)?);

    drop(connections);
    stop.send_replace(true);
    let mut counts = Counts::default();
    let mut disconnected = 0;
    while let Some(Ok((tally, outcome))) = receiving.join_next().await {
        let Counts {
            received,
            duplicate,
            out_of_order,
        } = tally.counts();
        counts.received += received;
        counts.duplicate += duplicate;
        counts.out_of_order += out_of_order;
        disconnected += usize::from(outcome.is_err());
    }

    let per_delivery = |cpu: Duration| cpu.as_secs_f64() * 1e6 / counts.received.max(1) as f64;
    let elapsed = last_arrival.duration_since(begun).as_secs_f64().max(f64::EPSILON);
    Ok(Report {
        connected,
        disconnected,
        handshake_ms: Percentiles::from(&handshakes),
        published,
        overrun,
        expected,
        delivered: counts.received,
        lost: expected.saturating_sub(counts.received),
        duplicate: counts.duplicate,
        out_of_order: counts.out_of_order,
        delivered_per_second: counts.received as f64 / elapsed,
        latency_ms: Percentiles::from(&run.latency()),
        own_cpu_us_per_delivery: per_delivery(cpu_after.0.saturating_sub(cpu_before.0)),
        server_cpu_us_per_delivery: (!args.server_pids.is_empty()).then(|| per_delivery(cpu_after.1.saturating_sub(cpu_before.1))),
    })
}

/// Makes `count` connections, dealt to the targets in turn from the `offset`-th on; their handshake times in microseconds.
async fn connect(args: &Fanout, count: usize, offset: usize) -> Result<(Vec<Client>, Histogram<u64>), FanoutError> {
    let mut handshakes = histogram();
    let targets = args.targets.iter().cycle().skip(offset % args.targets.len()).take(count).cloned();
    let clients = stream::iter(targets.map(|target| async move {
        let begun = Instant::now();
        match Client::connect(&target).await {
            Ok(client) => Ok((client, begun.elapsed())),
            Err(source) => Err(FanoutError::Connect { target, source }),
        }
    }))
    .buffered(args.handshakes.get())
    .map_ok(|(client, took)| {
        handshakes.saturating_record(micros(took));
        client
    })
    .try_collect()
    .await?;
    Ok((clients, handshakes))
}

/// Counts what one client receives until the run is over.
async fn receive(run: Arc<Run>, index: usize, mut client: Client, mut stopped: watch::Receiver<bool>) -> (Tally, Result<(), ClientError>) {
    let mut tally = Tally::default();
    loop {
        let text = tokio::select! {
            text = client.event() => text,
            _ = stopped.wait_for(|stop| *stop) => return (tally, Ok(())),
        };
        match text {
            Ok(text) => {
                if let Some(message) = Message::decode(&text, &run.event) {
                    tally.delivered(message.publisher, message.sequence);
                    run.delivered(index, message);
                }
            }
            Err(error) => return (tally, Err(error)),
        }
    }
}

/// What the publishers did.
#[derive(Debug, Default)]
struct Published {
    messages: u64,
    /// Messages that left late.
    overrun: u64,
    /// To be kept until the stragglers have come: a connection that is closed with unread data is reset, and a server that has not yet
    /// read the last messages would never see them.
    connections: Vec<(Sender, Receiver)>,
}

/// Publishes at the rate asked for.
async fn publish(args: &Fanout, run: &Arc<Run>, publishers: Vec<Client>, connected: usize) -> Result<Published, FanoutError> {
    let interval = Duration::from_secs_f64(publishers.len() as f64 / args.rate);
    let total = ((args.duration.as_secs_f64() / interval.as_secs_f64()).round() as u64).max(1);
    let stagger = interval / u32::try_from(publishers.len()).unwrap_or(u32::MAX);
    let begin = run.epoch.elapsed();
    let progress = progress_bar(total * publishers.len() as u64 * connected as u64);
    let mut publishing = JoinSet::new();
    for (index, client) in (0..).zip(publishers) {
        let plan = Plan {
            publisher: index as usize,
            first: begin + stagger * index,
            interval,
            total,
            size: args.size as usize,
        };
        publishing.spawn(plan.carry_out(Arc::clone(run), client));
    }
    let mut published = Published::default();
    let mut ticks = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            finished = publishing.join_next() => match finished {
                Some(Ok(Ok((late, connection)))) => {
                    published.messages += total;
                    published.overrun += late;
                    published.connections.push(connection);
                }
                Some(Ok(Err(error))) => return Err(FanoutError::Publisher(error)),
                Some(Err(_)) => return Err(FanoutError::Publisher(ClientError::Closed)),
                None => break,
            },
            _ = ticks.tick() => progress.set_position(run.arrived.load(Relaxed)),
        }
    }
    progress.finish_and_clear();
    Ok(published)
}

/// What one publisher does.
#[derive(Debug)]
struct Plan {
    publisher: usize,
    /// When its first message is due, since the run's epoch.
    first: Duration,
    interval: Duration,
    total: u64,
    size: usize,
}

impl Plan {
    /// Sends every message when it is due, or as soon after as can be; how many left late, and the connection.
    async fn carry_out(self, run: Arc<Run>, client: Client) -> Result<(u64, (Sender, Receiver)), ClientError> {
        let (mut sender, mut receiver) = client.split();
        let mut late = 0;
        let mut due = self.first;
        for sequence in 1..=self.total {
            Self::wait_until(run.epoch + due, &mut sender, &mut receiver).await?;
            late += u64::from(run.epoch.elapsed() > due + LATE);
            sender
                .send(
                    Message {
                        publisher: self.publisher,
                        sequence,
                        due,
                    }
                    .encode(&run.event, self.size),
                )
                .await?;
            due += self.interval;
        }
        Ok((late, (sender, receiver)))
    }

    /// Waits, answering pings and discarding the publisher's own copies meanwhile.
    async fn wait_until(until: Instant, sender: &mut Sender, receiver: &mut Receiver) -> Result<(), ClientError> {
        let timer = tokio::time::sleep_until(until.into());
        tokio::pin!(timer);
        loop {
            tokio::select! {
                incoming = receiver.next() => if let Incoming::Ping = incoming? { sender.pong().await? },
                () = &mut timer => return Ok(()),
            }
        }
    }
}

/// Waits until all have come, or none has for `patience`; when the last one came.
async fn await_stragglers(run: &Run, expected: u64, patience: Duration) -> Instant {
    let mut arrived = run.arrived.load(Relaxed);
    let mut last = Instant::now();
    let mut ticks = tokio::time::interval(TICK);
    while arrived < expected && last.elapsed() < patience {
        ticks.tick().await;
        let now = run.arrived.load(Relaxed);
        if now != arrived {
            (arrived, last) = (now, Instant::now());
        }
    }
    last
}

impl Run {
    fn delivered(&self, receiver: usize, message: Message) {
        self.arrived.fetch_add(1, Relaxed);
        if let Some(histogram) = self.latencies.get(receiver % HISTOGRAMS) {
            histogram
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .saturating_record(micros(message.age(self.epoch)));
        }
    }

    fn latency(&self) -> Histogram<u64> {
        let mut all = histogram();
        for one in &self.latencies {
            all += &*one.lock().unwrap_or_else(PoisonError::into_inner);
        }
        all
    }
}

/// An empty histogram of microseconds with three significant digits.
fn histogram() -> Histogram<u64> {
    #[expect(clippy::expect_used, reason = "the bounds are constants that the constructor accepts")]
    Histogram::new_with_bounds(1, micros(LONGEST), 3).expect("valid bounds")
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn cpu_of(pids: &[u32]) -> Result<Duration, FanoutError> {
    pids.iter()
        .map(|pid| cpu::used(*pid).map_err(|source| FanoutError::Cpu { pid: *pid, source }))
        .sum()
}

/// A bar on a terminal, nothing elsewhere.
fn progress_bar(total: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {human_pos} of {human_len} delivered, {per_sec}, {eta} left");
    ProgressBar::new(total).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
