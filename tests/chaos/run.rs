//! A run: rounds of faults on three nodes over a backend, and what the checker says of each.

use std::{collections::BTreeMap, sync::PoisonError, time::Duration};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use super::{
    backend::{Bus, Kind},
    checker::{Checker, Figures, Wrong},
    clients::{Addresses, Crew, Record, listen},
    history::{Entry, Life},
    process::Process,
    random::Random,
    schedule::{Action, NODES, Round, Schedule},
};
use crate::dsl::Way;

/// The time between two events of a speaker.
const EVERY: Duration = Duration::from_millis(10);

/// How long nodes may take to be in order again, and what was lost to be counted.
const HEALING: Duration = Duration::from_secs(60);

/// How long marks are waited for before others are sent.
const MARKS: Duration = Duration::from_secs(2);

const POLL: Duration = Duration::from_millis(25);

/// A cluster, and all that is known of it.
pub(super) struct Run {
    random: Random,
    bus: Bus,
    /// Where nodes live, die, and live again.
    places: [Option<Node>; NODES],
    addresses: Addresses,
    record: Record,
    checker: Checker,
    lives: u32,
    listeners: JoinSet<()>,
}

struct Node {
    life: Life,
    process: Process,
    /// Once the others know the node.
    crew: Option<Crew>,
}

impl Run {
    pub(super) async fn start(kind: Kind, seed: u64) -> Self {
        let random = Random::new(seed);
        let mut run = Self {
            bus: Bus::start(kind).await,
            places: [const { None }; NODES],
            addresses: Addresses::default(),
            record: Record::default(),
            checker: Checker::default(),
            lives: 0,
            listeners: JoinSet::new(),
            random,
        };
        for place in 0..NODES {
            run.begin(place).await;
        }
        for (number, rooms) in [vec![0], vec![1], vec![2], vec![0, 2]].into_iter().enumerate() {
            let random = run.random.branch(1000 + number as u64);
            run.listeners
                .spawn(listen(run.record.clone(), run.addresses.clone(), rooms, random));
        }
        run
    }

    /// Does so many rounds; whatever is wrong is told with the round in which it was found.
    pub(super) async fn rounds(&mut self, count: u64) -> Result<Figures, String> {
        let mut schedule = Schedule::new(self.random.branch(1), self.bus.is_relayed());
        let begun = async {
            self.heal().await?;
            self.settle(false).await
        };
        begun.await.map_err(|wrong| format!("before the first round: {wrong}"))?;
        for number in 1..=count {
            let round = schedule.next_round();
            let before = self.checker.figures();
            let start = Instant::now();
            let done = self.round(&round).await;
            done.map_err(|wrong| format!("round {number}, {round:?}: {wrong}"))?;
            let figures = self.checker.figures();
            println!(
                "round {number}, {:.1?}: {:?}, silent: {}; {} missing, {} counted",
                start.elapsed(),
                round.actions,
                round.silent,
                figures.missing - before.missing,
                figures.counted - before.counted,
            );
        }
        Ok(self.checker.figures())
    }

    async fn round(&mut self, round: &Round) -> Result<(), Wrong> {
        self.crews(async |crew| crew.speak().await).await;
        let start = Instant::now();
        for (at, action) in &round.actions {
            sleep_until(start + *at).await;
            self.act(*action).await;
        }
        sleep(round.after).await;
        if round.silent {
            self.crews(Crew::rest).await;
        }
        self.heal().await?;
        self.settle(round.silent).await
    }

    async fn act(&mut self, action: Action) {
        match action {
            Action::Kill(place) => {
                let mut node = self.places[place].take().expect("a node that lives");
                self.addresses.lock().unwrap_or_else(PoisonError::into_inner)[place] = None;
                // Its speaker first: what it sends afterwards would be of a life that is over.
                drop(node.crew.take());
                self.record.write(Entry::Killed(node.life));
                node.process.kill();
            }
            Action::Start(place) => self.begin(place).await,
            Action::Pause(place) => self.process(place).signal("STOP"),
            Action::Continue(place) => self.process(place).signal("CONT"),
            Action::Freeze(place, way) => self.bus.relay(place).freeze(way),
            Action::Stick(place) => self.bus.stick(place),
            Action::Thaw(place) => {
                for way in [Way::ToServer, Way::ToClient] {
                    self.bus.relay(place).thaw(way);
                }
            }
            Action::Cut(place) => self.bus.relay(place).cut(),
            Action::KillBackend(which) => self.bus.kill(which),
            Action::StartBackend => self.bus.restart().await,
        }
    }

    fn process(&self, place: usize) -> &Process {
        &self.places[place].as_ref().expect("a node that lives").process
    }

    async fn begin(&mut self, place: usize) {
        let life = Life(self.lives);
        self.lives += 1;
        let process = Process::start(life, &self.bus.adapter(place)).await;
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)[place] = Some((life, process.public));
        let crew = None;
        self.places[place] = Some(Node { life, process, crew });
    }

    /// Waits until the backend is whole, and all nodes know each other and hear themselves; then those that are new get their clients.
    async fn heal(&mut self) -> Result<(), Wrong> {
        let deadline = Instant::now() + HEALING;
        while !self.bus.is_whole() {
            if Instant::now() > deadline {
                return Err(Wrong::Malformed("the backend is not whole again".to_owned()));
            }
            sleep(POLL).await;
        }
        for place in 0..NODES {
            loop {
                self.hear()?;
                let node = self.places[place].as_mut().expect("a node that lives");
                if node.process.has_ended() {
                    return Err(Wrong::Malformed(format!("the node of {:?} has ended by itself", node.life)));
                }
                let numbers = node.process.numbers().await;
                let is = |name: &str, value: u64| numbers.get(name) == Some(&value);
                if is("fanfare_cluster_peers", NODES as u64 - 1)
                    && is("fanfare_cluster_suspected", 0)
                    && is("fanfare_adapter_connected", 1)
                    && is("fanfare_degraded", 0)
                {
                    break;
                }
                if Instant::now() > deadline {
                    return Err(Wrong::Malformed(format!("place {place} is not in order again: {numbers:?}")));
                }
                sleep(POLL).await;
            }
        }
        for node in self.places.iter_mut().flatten() {
            if node.crew.is_none() {
                let random = self.random.branch(u64::from(node.life.0) + 1_000_000);
                let at = (node.life, node.process.public);
                node.crew = Some(Crew::join(&self.record, at, random, EVERY).await);
            }
        }
        Ok(())
    }

    /// Silences everybody, waits until nothing is under way, and has the checker compare.
    async fn settle(&mut self, silent: bool) -> Result<(), Wrong> {
        self.crews(Crew::rest).await;
        if silent {
            self.count_in_silence().await?;
        }
        let deadline = Instant::now() + HEALING;
        while !self.marks_arrive().await? {
            if Instant::now() > deadline {
                return Err(Wrong::Malformed(
                    "what is sent does not arrive, though all nodes are in order".to_owned(),
                ));
            }
        }
        let holes = self.holes().await;
        self.take(&Entry::Settled { holes })
    }

    /// Has every speaker send to each audience; answers whether it has reached every witness.
    async fn marks_arrive(&mut self) -> Result<bool, Wrong> {
        self.crews(Crew::mark).await;
        let lives: Vec<Life> = self.nodes().map(|node| node.life).collect();
        let deadline = Instant::now() + MARKS;
        loop {
            self.hear()?;
            if lives.iter().all(|from| self.checker.lacking(*from, &lives).next().is_none()) {
                return Ok(true);
            }
            if Instant::now() > deadline {
                return Ok(false);
            }
            sleep(POLL).await;
        }
    }

    /// Waits until each node has counted what its witness misses, though nothing is sent.
    async fn count_in_silence(&mut self) -> Result<(), Wrong> {
        let deadline = Instant::now() + HEALING;
        loop {
            self.hear()?;
            let holes = self.holes().await;
            let differs = holes.iter().find_map(|(at, count)| {
                let (base, missing) = self.checker.base(*at).zip(self.checker.missing(*at))?;
                let counted = count - base;
                (counted != missing.values().sum::<u64>()).then_some((*at, counted, missing))
            });
            let Some((at, counted, missing)) = differs else { return Ok(()) };
            if Instant::now() > deadline {
                return Err(Wrong::Miscounted { at, counted, missing });
            }
            sleep(POLL).await;
        }
    }

    async fn holes(&self) -> BTreeMap<Life, u64> {
        let mut holes = BTreeMap::new();
        for node in self.nodes() {
            let numbers = node.process.numbers().await;
            holes.insert(node.life, numbers["fanfare_cluster_holes_total"]);
        }
        holes
    }

    /// Has the checker look at what has happened.
    fn hear(&mut self) -> Result<(), Wrong> {
        self.record.take().iter().try_for_each(|entry| self.checker.take(entry))
    }

    fn take(&mut self, entry: &Entry) -> Result<(), Wrong> {
        self.hear()?;
        self.checker.take(entry)
    }

    fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.places.iter().flatten()
    }

    /// Tells all crews something at once.
    async fn crews(&self, tell: impl AsyncFn(&Crew)) {
        let crews = self.nodes().filter_map(|node| node.crew.as_ref());
        futures_util::future::join_all(crews.map(|crew| tell(crew))).await;
    }
}
