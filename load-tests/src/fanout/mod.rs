//! The scenario `fanout`: a few publish, at a rate or in a closed loop, and every connection receives every message.
//!
//! | room | what it does |
//! |---|---|
//! | `publish` | the publishers |
//! | `report` | what it finds, for people and as JSON |

use std::{
    future::{Future, poll_fn},
    sync::Arc,
    time::Duration,
};

use tokio::{sync::watch, task::JoinSet};

use crate::{
    args::{Fanout, Pace},
    client::Client,
    connect::{Connector, leave},
    cpu::{Meter, Used},
    deliveries::{Counts, Event, Reception, Run, Turns},
    latency::Latencies,
    report::{Connections, Report},
    run::RunError,
    threads,
};

mod publish;
mod report;

pub(crate) use report::Deliveries;

pub(crate) use publish::Signals;

use publish::{Publisher, Publishing, fly, follow};

/// Runs the scenario to its end.
///
/// # Errors
/// [`RunError`] when it cannot be made; lost messages are a result.
pub(crate) async fn run(args: &Fanout) -> Result<Report<Deliveries>, RunError> {
    let connector = Connector::new(&args.connecting);
    let (connections, deliveries, used) = publish_to(args, connector, receive, |_| std::future::ready(())).await?;
    Ok(Report::new(connections, deliveries, used))
}

/// Has messages published to receivers, each of which counts what it has until the run is over, and says whether it had a session then.
/// When all has been published, `settle` is awaited before the stragglers are.
pub(crate) async fn publish_to<R, S>(
    args: &Fanout,
    connector: Connector,
    receive: impl Fn(Arc<Run>, usize, Client, Signals) -> R,
    settle: impl FnOnce(Arc<Run>) -> S,
) -> Result<(Connections, Deliveries, Used), RunError>
where
    R: Future<Output = (Reception, bool)> + Send + 'static,
    S: Future<Output = ()>,
{
    let (connecting, pace) = (&args.connecting, &args.pace);
    let (connected, publishers) = (connecting.connections.get(), args.publishers.get());
    let (run, mut given) = Run::new(pace, [publishers, connected, 1], connector);
    let run = Arc::new(run);
    let (stop, stopped) = watch::channel(false);
    let (begin, begun) = watch::channel(None);
    let signals = Signals { begun, stopped };
    let mut receiving = JoinSet::new();
    let receive = |index, client| {
        drop(receiving.spawn_on(receive(Arc::clone(&run), index, client, signals.clone()), &threads::of(index)));
    };
    let handshakes = run.connector.connect(connected, connecting.transport, receive).await?;
    let event = Event::new(args.publish_event.as_ref().unwrap_or(&pace.event), &[], run.tag);
    let (mut publishing, mut staying) = (Publishing::new(), Publishing::new());
    let publish = |index: usize, client| {
        let publisher = Publisher {
            run: Arc::clone(&run),
            index,
            client,
            event: event.clone(),
            given: given.get_mut(index).and_then(Option::take),
        };
        drop(publishing.spawn_on(publisher.publish(signals.clone()), &threads::of(index)));
    };
    let transport = args.publisher_transport.unwrap_or(connecting.transport);
    Connector::elsewhere(connecting, &args.publisher_targets)
        .connect(publishers, transport, publish)
        .await?;

    let meter = Meter::start(&connecting.server_pids)?;
    begin.send_replace(Some(run.begin()));
    let mut outcome = Outcome::default();
    let last_arrival = match &run.turns {
        Turns::Open(_) => {
            outcome.overrun = follow(&run, &mut publishing, &mut staying, &signals.stopped).await?;
            settle(Arc::clone(&run)).await;
            let expected = run.expected();
            run.await_stragglers(|| run.latencies.count() >= expected, pace.patience).await
        }
        Turns::Closed(flight) => {
            fly(&run, flight, pace, &mut publishing).await?;
            flight.last_done()
        }
    };
    let used = meter.stop().within(last_arrival.max(pace.duration));

    stop.send_replace(true);
    while let Some(received) = receiving.join_next().await {
        let (reception, alive) = received.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        outcome.add(&run, reception, alive);
    }
    let publishers = publishing.join_all().await.into_iter().chain(staying.join_all().await);
    leave(
        publishers
            .filter_map(Result::ok)
            .map(|(_, publisher)| (publisher.index, publisher.client)),
    )
    .await;
    let connections = outcome.connections(&run, &handshakes);
    Ok((connections, outcome.deliveries(&run, pace, last_arrival), used))
}

/// Counts what one client receives until the run is over; whether it had a session then.
async fn receive(run: Arc<Run>, index: usize, mut client: Client, signals: Signals) -> (Reception, bool) {
    let mut reception = Reception::new(&run, index);
    let mut stopped = signals.stopped;
    let stopped = async { drop(stopped.wait_for(|stop| *stop).await) };
    tokio::pin!(stopped);
    loop {
        let received = tokio::select! {
            biased;
            received = poll_fn(|cx| {
                let mut batch = reception.batch(&run);
                client.poll_receive(cx, |text| batch.receive(text))
            }) => received,
            () = &mut stopped => {
                client.leave().await;
                return (reception, true);
            }
        };
        let Err(error) = received else { continue };
        reception.end_session(&run);
        let back = tokio::select! {
            back = run.connector.come_back(&error) => back,
            () = &mut stopped => None,
        };
        let Some(back) = back else { return (reception, false) };
        client = back;
        reception.begin_session(&run, client.connected());
    }
}

/// What the receivers of a run have counted, all together.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    counts: Counts,
    /// Messages of other rooms.
    pub(crate) stray: u64,
    pub(crate) overrun: u64,
    disconnected: usize,
}

impl Outcome {
    /// Adds what one receiver has had, whether it had a session at the end or not.
    pub(crate) fn add(&mut self, run: &Run, reception: Reception, alive: bool) {
        self.disconnected += usize::from(!alive);
        // Who was not to come back has lost what came after its end.
        let (counts, stray) = reception.finish(run, alive || !run.connector.reconnect);
        self.counts += counts;
        self.stray += stray;
    }

    /// What became of the receivers.
    pub(crate) fn connections(&self, run: &Run, handshakes: &Latencies) -> Connections {
        Connections::of(&run.connector, run.receivers, self.disconnected, handshakes)
    }

    /// What was found in a run whose last message came at `last_arrival`.
    pub(crate) fn deliveries(&self, run: &Run, pace: &Pace, last_arrival: Duration) -> Deliveries {
        let Self { counts, overrun, .. } = self;
        Deliveries {
            published: run.published(),
            in_flight: pace.in_flight,
            given_up: run.given_up(),
            overrun: *overrun,
            expected: run.expected(),
            delivered: counts.received,
            lost: counts.lost,
            lost_at_end: counts.lost_at_end,
            missed: counts.missed,
            duplicate: counts.duplicate,
            out_of_order: counts.out_of_order,
            delivered_per_second: counts.received as f64 / last_arrival.as_secs_f64().max(f64::EPSILON),
            latency_ms: run.latencies.percentiles(),
            latency_curve_ms: run.latencies.curve(),
        }
    }
}
