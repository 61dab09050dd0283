//! The scenario `jitter`: what a fan-out delivers to clients that are cut again and again, and stay away for a while.
//!
//! | room | what it does |
//! |---|---|
//! | `intervals` | when connections are cut |
//! | `report` | what it finds, for people and as JSON |

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use crate::{
    args::Jitter,
    client::{Client, Session, random},
    deliveries::{Reception, Run},
    fanout::{Signals, publish_to},
    keep::{Cut, Listener, keep},
    progress,
    report::Report,
    run::RunError,
};

mod intervals;
mod report;

pub(crate) use intervals::Law;
pub(crate) use report::Jittered;

/// How long clients that are away when all has been published are awaited, beyond the time for which they stay away.
const RETURN: Duration = Duration::from_secs(30);

/// What all receivers share, beside the run.
#[derive(Debug)]
struct Cuts {
    every: Duration,
    law: Law,
    away: Duration,
    cut: Cut,
    recover: bool,
    /// Nobody is cut any more when so long has passed since the beginning.
    until: Duration,
    /// How many have been made.
    made: AtomicU64,
    /// Sessions that were given back.
    recovered: AtomicU64,
    /// Sessions that were asked for, or could not be for want of an offset, and were not given back.
    not_recovered: AtomicU64,
    /// Receivers that are away.
    absent: AtomicUsize,
}

/// Runs the scenario to its end.
///
/// # Errors
/// [`RunError`] when it cannot be made; lost messages are a result.
pub(crate) async fn run(args: &Jitter) -> Result<Report<Jittered>, RunError> {
    let cuts = Arc::new(Cuts {
        every: args.every,
        law: args.law,
        away: args.away,
        cut: args.cut,
        recover: args.recover,
        until: args.fanout.pace.duration,
        made: AtomicU64::new(0),
        recovered: AtomicU64::new(0),
        not_recovered: AtomicU64::new(0),
        absent: AtomicUsize::new(0),
    });
    let connecting = &args.fanout.connecting;
    let connector = args.cut.connector(connecting).returning();
    let receive = |run, index, client, signals| receive(run, Arc::clone(&cuts), index, client, signals);
    let (connections, deliveries, used) = publish_to(&args.fanout, connector, receive, |_| all_back(&cuts)).await?;
    let jittered = Jittered {
        cuts: cuts.made.load(Relaxed),
        recovered: cuts.recovered.load(Relaxed),
        not_recovered: cuts.not_recovered.load(Relaxed),
        ended: connections.ends.total(),
        recovers: args.recover,
        tolerant: connecting.reconnect,
        deliveries,
    };
    Ok(Report::new(connections, jittered, used))
}

/// Waits until nobody is away, but not for ever: who is not back then is told.
async fn all_back(cuts: &Cuts) {
    let begun = Instant::now();
    let mut ticks = tokio::time::interval(progress::TICK);
    while cuts.absent.load(Relaxed) > 0 && begun.elapsed() < cuts.away + RETURN {
        ticks.tick().await;
    }
}

/// Counts what one client receives until the run is over, and is away again and again meanwhile; whether it had a session at the end.
async fn receive(run: Arc<Run>, cuts: Arc<Cuts>, index: usize, client: Client, signals: Signals) -> (Reception, bool) {
    let Signals { mut begun, mut stopped } = signals;
    let mut ear = Ear {
        reception: Reception::new(&run, index),
        session: client.session().clone(),
        last: String::new(),
        run: Arc::clone(&run),
        cuts: Arc::clone(&cuts),
    };
    let over = async { drop(stopped.wait_for(|stop| *stop).await) };
    tokio::pin!(over);
    let begin = async { drop(begun.wait_for(Option::is_some).await) };
    let mut present = keep(&run.connector, client, &mut ear, begin).await;
    let mut next = run.at(cuts.law.first(cuts.every, chance()));
    loop {
        let client = match present.take() {
            Some(client) => client,
            // A cut was due while it was away for another reason: it comes back as soon as it can.
            None => tokio::select! {
                back = ear.return_since(Instant::now()) => back,
                () = &mut over => return (ear.reception, false),
            },
        };
        if next > run.at(cuts.until) {
            let Some(client) = keep(&run.connector, client, &mut ear, &mut over).await else {
                return (ear.reception, false);
            };
            client.leave().await;
            return (ear.reception, true);
        }
        let due = tokio::time::sleep_until(next.into());
        present = keep(&run.connector, client, &mut ear, due).await;
        if let Some(client) = present.take() {
            tokio::select! {
                back = ear.be_away(client) => present = Some(back),
                () = &mut over => return (ear.reception, false),
            }
        }
        next = Instant::now() + cuts.law.next(cuts.every, chance());
    }
}

/// A number between 0 and 1 by chance.
fn chance() -> f64 {
    random() as f64 / u64::MAX as f64
}

/// One receiver.
#[derive(Debug)]
struct Ear {
    run: Arc<Run>,
    cuts: Arc<Cuts>,
    reception: Reception,
    session: Session,
    /// The last event of the session that has an offset; empty if there was none.
    last: String,
}

impl Ear {
    /// Is cut, stays away for a while, and comes back. Cancel safe, but for the client that is cut.
    async fn be_away(&mut self, client: Client) -> Client {
        let cuts = Arc::clone(&self.cuts);
        let ended = Instant::now();
        let _absent = Absent::new(&cuts);
        cuts.made.fetch_add(1, Relaxed);
        cuts.cut.end(&self.run.connector, client).await;
        tokio::time::sleep(cuts.away.saturating_sub(ended.elapsed())).await;
        self.return_since(ended).await
    }

    async fn return_since(&mut self, ended: Instant) -> Client {
        let earlier = self.end_session();
        let back = self.run.connector.return_since(ended, earlier.as_ref()).await;
        self.begin_session(&back);
        back
    }
}

impl Listener for Ear {
    fn receive(&mut self, text: &str) {
        if self.cuts.recover && text.starts_with("42") {
            self.last.clear();
            self.last.push_str(text);
        }
        self.reception.receive(&self.run, text);
    }

    fn end_session(&mut self) -> Option<Session> {
        self.session.note(&self.last);
        self.last.clear();
        self.cuts.recover.then(|| self.session.clone())
    }

    fn begin_session(&mut self, client: &Client) {
        self.session = client.session().clone();
        if self.session.recovered {
            // It goes on: what was published meanwhile is owed to it.
            self.cuts.recovered.fetch_add(1, Relaxed);
            return;
        }
        self.cuts.not_recovered.fetch_add(u64::from(self.cuts.recover), Relaxed);
        self.reception.end_session(&self.run);
        self.reception.begin_session(&self.run, client.connected());
    }
}

/// Counts a receiver as away while it lives.
struct Absent<'a>(&'a Cuts);

impl<'a> Absent<'a> {
    fn new(cuts: &'a Cuts) -> Self {
        cuts.absent.fetch_add(1, Relaxed);
        Self(cuts)
    }
}

impl Drop for Absent<'_> {
    fn drop(&mut self) {
        self.0.absent.fetch_sub(1, Relaxed);
    }
}
