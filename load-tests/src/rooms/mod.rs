//! The scenario `rooms`: every connection is in one of some rooms, publishes into it, and receives what is published there.
//!
//! | room | what it does |
//! |---|---|
//! | `member` | one client |
//! | `report` | the result, for people and as JSON |

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::{
    sync::watch,
    task::{JoinError, JoinSet},
};

use crate::{
    args::Rooms,
    client::ClientError,
    connect::{ConnectError, Connector},
    cpu::{CpuError, Meter},
    deliveries::{Run, Turns},
    fanout, progress,
    report::Report,
    threads,
};

mod member;
mod report;

pub(crate) use report::RoomDeliveries;

use member::{Member, Outcome};

/// How long memberships may take until they are proven.
const JOINING: Duration = Duration::from_secs(20);

/// Why a run could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RoomsError {
    /// A connection was not made.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A client lost its connection before the run began.
    #[error("a client lost its connection before the run began: {0}")]
    Client(ClientError),
    /// Not everybody received what was published into its room.
    #[error(
        "{missing} of {all} clients did not receive what a client at each target published into their room within {secs} s: is the server's application `{join}(room)` and `{publish}(room, message)`, answered by `{event}(message)`?",
        secs = JOINING.as_secs()
    )]
    NotInRoom {
        missing: usize,
        all: usize,
        join: String,
        publish: String,
        event: String,
    },
    /// A server's process cannot be read.
    #[error(transparent)]
    Cpu(#[from] CpuError),
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Phase {
    Connecting,
    /// Everybody has connected and asked to join. A message of one member at each target proves that: with it, what comes from there
    /// comes to all.
    Probing,
    Running,
    Over,
}

/// How clients become members.
#[derive(Debug)]
struct Joining {
    join_event: String,
    publish_event: String,
    targets: usize,
    rooms: usize,
    clients: usize,
    /// Clients that have had what they were to have.
    proven: AtomicUsize,
    /// Clients that have nothing left to publish by the schedule.
    finished: AtomicUsize,
}

impl Joining {
    /// Of the clients in the room of this one, the first at each target.
    fn probers(&self, client: usize) -> BTreeSet<usize> {
        let members = (client % self.rooms..self.clients).step_by(self.rooms);
        let mut targets = BTreeSet::new();
        // Their targets repeat after so many.
        members
            .take(self.targets)
            .filter(|member| targets.insert(member % self.targets))
            .collect()
    }

    fn is_proven(&self) -> bool {
        self.proven.load(Relaxed) >= self.clients
    }
}

/// Runs the scenario to its end.
///
/// # Errors
/// [`RoomsError`] when it cannot be made; lost messages are a result.
pub(crate) async fn run(args: &Rooms) -> Result<Report<RoomDeliveries>, RoomsError> {
    let (connecting, pace) = (&args.connecting, &args.pace);
    let (clients, rooms) = (connecting.connections.get(), args.rooms.get());
    let (run, mut given) = Run::new(pace, [clients, clients, rooms], Connector::new(connecting));
    let run = Arc::new(run);
    let joining = Arc::new(Joining {
        join_event: args.join_event.clone(),
        publish_event: args.publish_event.clone(),
        targets: connecting.targets.len(),
        rooms,
        clients,
        proven: AtomicUsize::new(0),
        finished: AtomicUsize::new((0..clients).filter(|client| run.due(*client).is_none()).count()),
    });
    let (phase, phases) = watch::channel(Phase::Connecting);
    let mut members = JoinSet::new();
    let live = |index: usize, client| {
        let given = given.get_mut(index).and_then(Option::take);
        let member = Member::new(&run, &joining, index, client, given, phases.clone());
        drop(members.spawn_on(member.live(), &threads::of(index)));
    };
    let handshakes = run.connector.connect(clients, connecting.transport, live).await?;
    phase.send_replace(Phase::Probing);
    let begun = Instant::now();
    while !joining.is_proven() {
        if begun.elapsed() > JOINING {
            return Err(RoomsError::NotInRoom {
                missing: clients - joining.proven.load(Relaxed),
                all: clients,
                join: args.join_event.clone(),
                publish: args.publish_event.clone(),
                event: pace.event.clone(),
            });
        }
        tokio::select! {
            Some(ended) = members.join_next() => drop(outcome(ended)?),
            () = tokio::time::sleep(progress::TICK / 10) => {}
        }
    }

    let meter = Meter::start(&connecting.server_pids)?;
    run.begin();
    phase.send_replace(Phase::Running);
    let last_arrival = match &run.turns {
        Turns::Open(_) => follow(&run, &joining, pace.duration, pace.patience).await,
        Turns::Closed(flight) => {
            run.fly(flight, pace.duration).await;
            flight.last_done()
        }
    };
    let used = meter.stop().within(last_arrival.max(pace.duration));

    phase.send_replace(Phase::Over);
    let mut all = fanout::Outcome::default();
    while let Some(ended) = members.join_next().await {
        let Outcome { reception, late, alive } = outcome(ended)?;
        all.add(&run, reception, alive);
        all.overrun += late;
    }
    let unsent = run.unsent();
    all.overrun += unsent;
    let findings = RoomDeliveries {
        rooms,
        stray: all.stray,
        unsent,
        of: all.deliveries(&run, pace, last_arrival),
    };
    Ok(Report::new(all.connections(&run, &handshakes), findings, used))
}

/// Waits until everybody has published all that is scheduled, and all of it has come or nothing comes any more; when the last one came.
async fn follow(run: &Run, joining: &Joining, duration: Duration, patience: Duration) -> Duration {
    let progress = progress::bar(run.scheduled(), "delivered");
    let mut ticks = tokio::time::interval(progress::TICK);
    while run.now() < duration {
        ticks.tick().await;
        progress.set_position(run.latencies.count());
    }
    progress.finish_and_clear();
    let over = || joining.finished.load(Relaxed) >= joining.clients && run.latencies.count() >= run.expected();
    run.await_stragglers(over, patience).await
}

fn outcome(ended: Result<Result<Outcome, ClientError>, JoinError>) -> Result<Outcome, RoomsError> {
    match ended {
        Ok(outcome) => outcome.map_err(RoomsError::Client),
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_member_at_each_target_that_a_room_has_members_at_proves_it() {
        let probers = |client, targets, rooms| {
            let joining = Joining {
                join_event: String::new(),
                publish_event: String::new(),
                targets,
                rooms,
                clients: 12,
                proven: AtomicUsize::new(0),
                finished: AtomicUsize::new(0),
            };
            joining.probers(client).into_iter().collect::<Vec<_>>()
        };
        assert_eq!(probers(7, 1, 5), [2]);
        assert_eq!(probers(7, 3, 5), [2, 7]);
        assert_eq!(probers(11, 3, 1), [0, 1, 2]);
        // All members of a room are at the same target.
        assert_eq!(probers(8, 3, 3), [2]);
    }
}
