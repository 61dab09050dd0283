//! What the scenarios share in which messages are delivered: `fanout` and `rooms`.
//!
//! | room | what it does |
//! |---|---|
//! | `message` | what a published message carries: publisher, sequence number, time |
//! | `schedule` | when the messages of an open loop are due |
//! | `flight` | the messages under way of a closed loop |
//! | `tally` | counts lost, missed, repeated and overtaken messages of one receiver |
//!
//! Publisher and receiver number i belong to room i mod R; in a fan-out there is one room.

use std::{
    collections::BTreeMap,
    ops::RangeInclusive,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use crate::{args::Pace, connect::Connector, latency::Latencies, progress};

mod flight;
mod message;
mod schedule;
mod tally;

use flight::Counting;
pub(crate) use flight::Flight;
pub(crate) use message::{Event, Message};
pub(crate) use schedule::Schedule;
pub(crate) use tally::{Counts, Tally};

/// A message that leaves later than this after it was due counts as overrun.
pub(crate) const LATE: Duration = Duration::from_millis(10);

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Run {
    /// Tells its messages from those of another one at the same servers.
    pub(crate) tag: u16,
    /// What is awaited.
    pub(crate) event: Event,
    pub(crate) size: usize,
    pub(crate) rooms: usize,
    pub(crate) publishers: usize,
    pub(crate) receivers: usize,
    pub(crate) turns: Turns,
    /// By publisher: how many messages have been emitted.
    sent: Vec<AtomicU64>,
    /// By publisher: messages of which nobody knows whether a server has got them, since the session ended in which they were emitted.
    doubted: Mutex<BTreeMap<usize, Vec<RangeInclusive<u64>>>>,
    begun: OnceLock<Instant>,
    pub(crate) connector: Connector,
    /// From the moment a message was due to its first delivery. Their count is progress, and tells when the stragglers have come.
    pub(crate) latencies: Latencies,
}

/// When a message is published.
#[derive(Debug)]
pub(crate) enum Turns {
    /// At a rate, whatever comes of it.
    Open(Schedule),
    /// When another one is done.
    Closed(Box<Flight>),
}

/// The places that a publisher is given in a closed loop; none in an open one.
pub(crate) type Given = Option<mpsc::Receiver<usize>>;

impl Run {
    /// Of so many publishers and receivers in so many rooms; and what each publisher is given.
    pub(crate) fn new(pace: &Pace, [publishers, receivers, rooms]: [usize; 3], connector: Connector) -> (Self, Vec<Given>) {
        let (turns, given) = match pace.in_flight {
            Some(places) => {
                let (flight, given) = Flight::new(places as usize, publishers, rooms, pace.duration, pace.patience);
                (Turns::Closed(Box::new(flight)), given.into_iter().map(Some).collect())
            }
            None => {
                let schedule = Schedule::new(publishers, pace.rate, pace.duration);
                (Turns::Open(schedule), (0..publishers).map(|_| None).collect())
            }
        };
        let tag = crate::client::random() as u16;
        let run = Self {
            tag,
            event: Event::new(&pace.event, &[], tag),
            size: pace.size as usize,
            rooms,
            publishers,
            receivers,
            turns,
            sent: (0..publishers).map(|_| AtomicU64::new(0)).collect(),
            doubted: Mutex::default(),
            begun: OnceLock::new(),
            connector,
            latencies: Latencies::new(),
        };
        (run, given)
    }

    /// Begins, now.
    pub(crate) fn begin(&self) -> Instant {
        let begun = *self.begun.get_or_init(Instant::now);
        if let Turns::Closed(flight) = &self.turns {
            flight.begin();
        }
        begun
    }

    /// How long it has gone on.
    pub(crate) fn now(&self) -> Duration {
        self.begun.get().map_or(Duration::ZERO, Instant::elapsed)
    }

    /// The next message of a publisher in a place that it was given; none when the run is over.
    pub(crate) fn fill(&self, place: usize, publisher: usize) -> Option<Message> {
        let (Turns::Closed(flight), Some(sent)) = (&self.turns, self.sent.get(publisher)) else {
            return None;
        };
        let message = flight.emit(place, publisher, sent.load(Relaxed) + 1, self.now())?;
        sent.store(message.sequence, Relaxed);
        Some(message)
    }

    /// Takes back a place that a publisher without a session was given.
    pub(crate) fn put_back(&self, place: usize) {
        if let Turns::Closed(flight) = &self.turns {
            flight.put_back(place);
        }
    }

    /// The next message of a publisher by the schedule, when it is due; whether it is late. None when it has sent all, or it is early.
    pub(crate) fn next_due(&self, publisher: usize, now: Duration) -> Option<(Message, bool)> {
        let sent = self.sent.get(publisher)?;
        let due = self.due(publisher)?;
        if due > now {
            return None;
        }
        let sequence = sent.load(Relaxed) + 1;
        sent.store(sequence, Relaxed);
        let message = Message {
            publisher,
            sequence,
            due,
            place: 0,
            number: 0,
        };
        Some((message, now > due + LATE))
    }

    /// When the next message of a publisher is due by the schedule; none when it has sent all.
    pub(crate) fn due(&self, publisher: usize) -> Option<Duration> {
        let Turns::Open(schedule) = &self.turns else { return None };
        let sequence = self.sent(publisher) + 1;
        (sequence <= schedule.total(publisher)).then(|| schedule.due(publisher, sequence))
    }

    /// The moment that lies so long after the beginning.
    pub(crate) fn at(&self, since: Duration) -> Instant {
        self.begun.get().copied().unwrap_or_else(Instant::now) + since
    }

    fn sent(&self, publisher: usize) -> u64 {
        self.sent.get(publisher).map_or(0, |sent| sent.load(Relaxed))
    }

    /// How many messages were published.
    pub(crate) fn published(&self) -> u64 {
        self.sent.iter().map(|sent| sent.load(Relaxed)).sum()
    }

    /// Deliveries that the messages of the schedule should make.
    pub(crate) fn scheduled(&self) -> u64 {
        let Turns::Open(schedule) = &self.turns else { return 0 };
        (0..self.publishers)
            .map(|publisher| schedule.total(publisher) * self.members_with(publisher))
            .sum()
    }

    /// Messages of the schedule that were not sent.
    pub(crate) fn unsent(&self) -> u64 {
        let Turns::Open(schedule) = &self.turns else { return 0 };
        (0..self.publishers)
            .map(|publisher| schedule.total(publisher).saturating_sub(self.sent(publisher)))
            .sum()
    }

    /// How many receivers there are in the room of a publisher.
    fn members_with(&self, publisher: usize) -> u64 {
        members(self.receivers, self.rooms, publisher % self.rooms) as u64
    }

    /// How many messages were given up.
    pub(crate) fn given_up(&self) -> u64 {
        match &self.turns {
            Turns::Open(_) => 0,
            Turns::Closed(flight) => flight.given_up(),
        }
    }

    /// Deliveries that the published messages should have made, had no session ended.
    pub(crate) fn expected(&self) -> u64 {
        let sent = self.sent.iter().enumerate();
        sent.map(|(publisher, sent)| sent.load(Relaxed) * self.members_with(publisher))
            .sum()
    }

    /// In a closed loop: awaits the end of the last message.
    pub(crate) async fn fly(&self, flight: &Flight, duration: Duration) {
        let progress = progress::bar(duration.as_secs(), "seconds");
        let mut ticks = tokio::time::interval(progress::TICK);
        loop {
            ticks.tick().await;
            let now = self.now();
            if flight.look_after(now) {
                break;
            }
            progress::show(&progress, now.min(duration).as_secs(), &self.connector);
        }
        progress.finish_and_clear();
    }

    /// Waits until it is `over`, or nothing has come for `patience`; when the last one came.
    pub(crate) async fn await_stragglers(&self, over: impl Fn() -> bool, patience: Duration) -> Duration {
        let mut arrived = self.latencies.count();
        let mut last = self.now();
        let mut ticks = tokio::time::interval(progress::TICK);
        while !over() && self.now().saturating_sub(last) < patience {
            ticks.tick().await;
            let count = self.latencies.count();
            if count != arrived {
                (arrived, last) = (count, self.now());
            }
        }
        last
    }
}

/// How many of `all` are in a room.
fn members(all: usize, rooms: usize, room: usize) -> usize {
    all.saturating_sub(room).div_ceil(rooms)
}

/// What one receiver has had.
#[derive(Debug)]
pub(crate) struct Reception {
    receiver: usize,
    room: usize,
    tally: Tally,
    /// Messages of other rooms.
    stray: u64,
    /// What the flight knows the present session by.
    since: Option<u64>,
}

impl Reception {
    /// Of a receiver that has a session.
    pub(crate) fn new(run: &Run, receiver: usize) -> Self {
        let room = receiver % run.rooms;
        let limit = match &run.turns {
            Turns::Open(schedule) => schedule.total(room),
            Turns::Closed(_) => u64::MAX >> 1,
        };
        let mut reception = Self {
            receiver,
            room,
            tally: Tally::new(members(run.publishers, run.rooms, room), limit),
            stray: 0,
            since: None,
        };
        reception.count(run);
        reception
    }

    fn count(&mut self, run: &Run) {
        if let Turns::Closed(flight) = &run.turns {
            self.since = flight.count(self.receiver).map(|mut counting| counting.began(self.room));
        }
    }

    /// Counts a packet that comes alone.
    pub(crate) fn receive(&mut self, run: &Run, text: &str) {
        self.batch(run).receive(text);
    }

    /// Counts what comes with one read.
    pub(crate) fn batch<'a>(&'a mut self, run: &'a Run) -> Batch<'a> {
        Batch {
            run,
            reception: self,
            now: None,
            counting: None,
        }
    }

    /// The session has ended in which this one has published, too. What has not come back to itself may not have reached a server.
    pub(crate) fn doubt(&self, run: &Run) {
        let doubted = self.tally.highest(self.receiver / run.rooms) + 1..=run.sent(self.receiver);
        if !doubted.is_empty() {
            let mut all = run.doubted.lock().unwrap_or_else(PoisonError::into_inner);
            all.entry(self.receiver).or_default().push(doubted);
        }
    }

    /// The session has ended.
    pub(crate) fn end_session(&mut self, run: &Run) {
        if let (Turns::Closed(flight), Some(since)) = (&run.turns, self.since.take())
            && let Some(mut counting) = flight.count(self.receiver)
        {
            counting.ended(self.room, since, flight.has(&self.tally), run.now());
        }
    }

    /// A new session has begun, at that moment.
    pub(crate) fn begin_session(&mut self, run: &Run, connected: Instant) {
        self.count(run);
        let since = run
            .begun
            .get()
            .map_or(Duration::ZERO, |begun| connected.saturating_duration_since(*begun));
        let room = self.room;
        self.tally.begin_session(|stream| {
            let publisher = stream * run.rooms + room;
            match &run.turns {
                Turns::Open(schedule) => schedule.not_before(publisher, since),
                Turns::Closed(_) => run.sent(publisher) + 1,
            }
        });
    }

    /// What was counted, and how many came from other rooms. What has not come yet is judged by the last session if it is `alive`, and
    /// else missed.
    pub(crate) fn finish(self, run: &Run, alive: bool) -> (Counts, u64) {
        let Self { room, tally, stray, .. } = self;
        let doubted = run.doubted.lock().unwrap_or_else(PoisonError::into_inner);
        let publisher = |stream| stream * run.rooms + room;
        let doubt = |stream| doubted.get(&publisher(stream)).map_or(&[][..], Vec::as_slice);
        let counts = tally.finish(alive, |stream| run.sent(publisher(stream)), doubt);
        (counts, stray)
    }
}

/// What comes to a receiver with one read: the clock is looked at once, and the shard locked once, which nobody else wants meanwhile.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    run: &'a Run,
    reception: &'a mut Reception,
    now: Option<Duration>,
    counting: Option<Counting<'a>>,
}

impl Batch<'_> {
    /// Counts a packet, if it is a message.
    pub(crate) fn receive(&mut self, text: &str) {
        let Self {
            run,
            reception,
            now,
            counting,
        } = self;
        let Some(message) = Message::decode(text, &run.event) else { return };
        // Those with the number 0 prove that somebody is in a room, and count as none.
        if message.publisher >= run.publishers || message.sequence == 0 {
            return;
        }
        if message.publisher % run.rooms != reception.room {
            reception.stray += 1;
            return;
        }
        if !reception.tally.deliver(message.publisher / run.rooms, message.sequence) {
            return;
        }
        let now = *now.get_or_insert_with(|| run.now());
        run.latencies.record(now.saturating_sub(message.due));
        if let (Turns::Closed(flight), Some(since)) = (&run.turns, reception.since) {
            if counting.is_none() {
                *counting = flight.count(reception.receiver);
            }
            if let Some(counting) = counting {
                counting.delivered(&message, since, now);
            }
        }
    }
}
