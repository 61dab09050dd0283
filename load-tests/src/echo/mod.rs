//! The scenario `echo`: so many events with an ack are under way, and when an ack has come the next connection emits the next.
//!
//! | room | what it does |
//! |---|---|
//! | `acks` | the events of one client whose acks are awaited |
//! | `ring` | passes the places of events round all connections |
//! | `report` | what it finds, for people and as JSON |

use std::{
    future::{Future, poll_fn},
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::{sync::watch, task::JoinSet};

use crate::{
    args::Echo,
    client::{Client, ClientError},
    connect::{Connector, leave},
    cpu::Meter,
    latency::Latencies,
    progress,
    report::{Connections, Report},
    run::RunError,
    threads,
};

mod acks;
mod report;
mod ring;

pub(crate) use report::Acknowledged;

use acks::{Acks, Counts};
use ring::{Given, Ring};

/// What all connections share.
#[derive(Debug)]
struct Run {
    event: String,
    size: usize,
    patience: Duration,
    ring: Ring,
    connector: Connector,
    /// From an emit to its ack. Their count is progress.
    latencies: Latencies,
}

/// What became of one client.
#[derive(Debug)]
struct Outcome {
    counts: Counts,
    last_ack: Option<Instant>,
    /// The client and its number, if it had a session at the end.
    alive: Option<(usize, Client)>,
}

/// Runs the scenario to its end.
///
/// # Errors
/// [`RunError`] when it cannot be made; lost acks are a result.
pub(crate) async fn run(args: &Echo) -> Result<Report<Acknowledged>, RunError> {
    let connecting = &args.connecting;
    let connected = connecting.connections.get();
    let in_flight = args.in_flight.map_or(connected, |all| all as usize);
    let (ring, mut given) = Ring::new(connected, in_flight, threads::count());
    let run = Arc::new(Run {
        event: args.event.clone(),
        size: args.size as usize,
        patience: args.patience,
        ring,
        connector: Connector::new(connecting),
        latencies: Latencies::new(),
    });
    let (begin, begun) = watch::channel(None);
    let mut clients = JoinSet::new();
    let spawn = |index: usize, client| {
        // Connections are not made in the order of their numbers.
        if let Some(given) = given.get_mut(index).and_then(Option::take) {
            drop(clients.spawn_on(ask(Arc::clone(&run), index, client, given, begun.clone()), &threads::of(index)));
        }
    };
    let handshakes = run.connector.connect(connected, connecting.transport, spawn).await?;

    let meter = Meter::start(&connecting.server_pids)?;
    let start = Instant::now();
    begin.send_replace(Some(start + args.duration));
    let mut counts = Counts::default();
    let mut last_ack = start;
    let mut disconnected = 0;
    let mut living = Vec::new();
    let progress = progress::bar(args.duration.as_secs(), "seconds");
    let mut ticks = tokio::time::interval(progress::TICK);
    loop {
        tokio::select! {
            outcome = clients.join_next() => {
                let Some(outcome) = outcome else { break };
                let outcome = outcome.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
                counts += outcome.counts;
                last_ack = last_ack.max(outcome.last_ack.unwrap_or(start));
                disconnected += usize::from(outcome.alive.is_none());
                living.extend(outcome.alive);
            }
            _ = ticks.tick() => progress::show(&progress, start.elapsed().min(args.duration).as_secs(), &run.connector),
        }
    }
    progress.finish_and_clear();
    let used = meter.stop().within(last_ack.duration_since(start).max(args.duration));
    leave(living).await;
    let elapsed = last_ack.duration_since(start).as_secs_f64().max(f64::EPSILON);
    let connections = Connections::of(&run.connector, connected, disconnected, &handshakes);
    let acknowledged = Acknowledged {
        emitted: counts.emitted,
        acked: counts.acked,
        lost: counts.lost,
        missed: counts.missed,
        late: counts.late,
        unexpected: counts.unexpected,
        wrong: counts.wrong,
        acked_per_second: counts.acked as f64 / elapsed,
        latency_ms: run.latencies.percentiles(),
        latency_curve_ms: run.latencies.curve(),
    };
    Ok(Report::new(connections, acknowledged, used))
}

/// Emits an event for each place that it is given, from the moment that `begun` tells an end until that, and awaits the last acks.
async fn ask(run: Arc<Run>, index: usize, client: Client, mut given: Given, mut begun: watch::Receiver<Option<Instant>>) -> Outcome {
    let mut asker = Asker {
        acks: Acks::new(&run.event, run.size),
        run,
        index,
        client,
        last_ack: None,
    };
    let until = loop {
        tokio::select! {
            text = asker.client.next() => match text {
                Ok(_) => {}
                Err(error) => {
                    let patience = asker.run.patience;
                    let deadline = async {
                        if let Some(until) = end(&mut begun).await {
                            tokio::time::sleep_until((until + patience).into()).await;
                        }
                    };
                    if asker.come_back(&error, deadline).await.is_none() {
                        return asker.outcome(&mut given, false);
                    }
                }
            },
            until = end(&mut begun) => match until {
                Some(until) => break until,
                None => return asker.outcome(&mut given, true),
            },
        }
    };
    let alive = asker.ask(&mut given, until).await;
    asker.outcome(&mut given, alive)
}

/// When the run is over, as soon as it has begun; `None` if it could not be made. Cancel safe.
async fn end(begun: &mut watch::Receiver<Option<Instant>>) -> Option<Instant> {
    begun.wait_for(Option::is_some).await.ok().and_then(|until| *until)
}

/// One client.
#[derive(Debug)]
struct Asker {
    run: Arc<Run>,
    index: usize,
    client: Client,
    acks: Acks,
    last_ack: Option<Instant>,
}

impl Asker {
    /// Whether there was a session at the end.
    async fn ask(&mut self, given: &mut Given, until: Instant) -> bool {
        let timer = tokio::time::sleep_until(self.wake(until).into());
        tokio::pin!(timer);
        while Instant::now() < until || self.acks.oldest().is_some() {
            tokio::select! {
                // A session that has ended emits nothing more.
                biased;
                (acked, received) = poll_fn(|cx| self.poll_receive(cx)) => {
                    self.run.ring.pass(self.index, acked);
                    if let Err(error) = received {
                        let deadline = tokio::time::sleep_until((until + self.run.patience).into());
                        let Some(broken_off) = self.come_back(&error, deadline).await else { return false };
                        self.emit(broken_off, until);
                    }
                }
                places = given.next() => self.emit(places, until),
                // What was the oldest when it was set may have been acknowledged: then it was early, and is set anew.
                () = &mut timer => {
                    let given_up = Instant::now().checked_sub(self.run.patience).map_or(0, |before| self.acks.give_up(before));
                    self.run.ring.pass(self.index, given_up);
                    timer.as_mut().reset(self.wake(until).into());
                }
            }
        }
        true
    }

    /// When there is something to give up, or nothing left to do. What is emitted later than now has its patience from then on.
    fn wake(&self, until: Instant) -> Instant {
        let patience = self.run.patience;
        self.acks
            .oldest()
            .map_or_else(|| until.min(Instant::now() + patience), |oldest| oldest + patience)
    }

    /// Emits so many events, unless it is over.
    fn emit(&mut self, count: usize, until: Instant) {
        let now = Instant::now();
        if now < until {
            for _ in 0..count {
                self.client.send(self.acks.emit(now));
            }
        }
    }

    /// Counts the acks of one read; how many events they were of, also when the session ends with it.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<(usize, Result<(), ClientError>)> {
        let Self {
            run,
            client,
            acks,
            last_ack,
            ..
        } = self;
        let (mut now, mut acked) = (None, 0);
        let received = client.poll_receive(cx, |text| {
            let now = *now.get_or_insert_with(Instant::now);
            if let Some(took) = acks.receive(text, now) {
                run.latencies.record(took);
                acked += 1;
            }
        });
        *last_ack = now.filter(|_| acked > 0).or(*last_ack);
        received.map(|received| (acked, received))
    }

    /// How many events the end of its session broke off, if there is a new one before `deadline` has come. Else others have their places.
    async fn come_back(&mut self, why: &ClientError, deadline: impl Future<Output = ()>) -> Option<usize> {
        let connector = &self.run.connector;
        let broken_off = self.acks.end_session(connector.reconnect);
        let back = tokio::select! {
            back = connector.come_back(why) => back,
            () = deadline => None,
        };
        let Some(back) = back else {
            self.run.ring.pass(self.index, broken_off);
            return None;
        };
        self.client = back;
        Some(broken_off)
    }

    fn outcome(self, given: &mut Given, alive: bool) -> Outcome {
        let left = given.close();
        if !alive {
            self.run.ring.pass(self.index, left);
        }
        Outcome {
            counts: self.acks.counts(),
            last_ack: self.last_ack,
            alive: alive.then_some((self.index, self.client)),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use tokio::net::TcpListener;

    use super::*;
    use crate::{
        args::{Args, Scenario},
        client::{Route, Transport},
        server,
    };

    #[tokio::test]
    async fn a_client_whose_servers_die_before_the_run_begins_ends_with_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = listener.local_addr().unwrap().to_string();
        let line = ["fanfare-load", "echo", "--reconnect", "--targets", &format!("http://{target}")];
        let Scenario::Echo(args) = Args::try_parse_from(line).unwrap().scenario else {
            panic!("another scenario");
        };
        let route = Route::new(&vec![target].into(), 0, true);
        let (client, session) = tokio::join!(Client::connect(route, Transport::Websocket), server::accept(&listener));
        let (ring, mut given) = Ring::new(1, 1, 1);
        let run = Arc::new(Run {
            event: args.event,
            size: 16,
            patience: Duration::from_millis(300),
            ring,
            connector: Connector::new(&args.connecting),
            latencies: Latencies::new(),
        });
        let (begin, begun) = watch::channel(None);
        let asking = tokio::spawn(ask(Arc::clone(&run), 0, client.unwrap(), given[0].take().unwrap(), begun));
        drop((session, listener));
        let ended = async {
            while run.connector.ends.first().is_none() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            begin.send_replace(Some(Instant::now() + run.patience));
            asking.await.unwrap()
        };
        let outcome = tokio::time::timeout(Duration::from_secs(15), ended).await.expect("it ends");
        assert!(outcome.alive.is_none());
        assert_eq!(outcome.counts, Counts::default());
    }
}
