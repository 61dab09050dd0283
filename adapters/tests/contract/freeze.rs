//! A path to the backend that freezes: connections stay, and nothing passes, both ways or one alone; and single connections that do.

use std::{collections::BTreeSet, time::Duration};

use fanfare_adapters::{Delivery, GapCause};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    load::{Account, Heard, Load},
    outage::PROMPT,
    relay::{Relay, Way},
    world::{Bounds, Kind, Node, World, eventually, topic},
};

/// Shorter than it takes a node to give a connection up, and longer than a message may wait to be sent.
const BRIEF: Duration = Duration::from_secs(3);

/// Deliveries resume within this time of the thaw. An adapter waits for two seconds at most between two attempts.
const RESUME: Duration = Duration::from_secs(10);

/// Between two messages; many stories are told at a time.
const PAUSE: Duration = Duration::from_millis(5);

/// A node has given a frozen connection up after this time.
const NOTICED: Duration = Duration::from_secs(15);

/// How long after a path froze, or thawed, there may still be, or not yet be, something under way.
const SLACK: Duration = Duration::from_millis(500);

/// Whose path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Sender,
    Receiver,
}

/// What freezes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ice {
    end: End,
    ways: &'static [Way],
    /// The connections whose client has said this, or the whole path.
    only: Option<&'static str>,
}

const BOTH: &[Way] = &[Way::ToServer, Way::ToClient];
const DIRECTIONS: [&[Way]; 3] = [BOTH, &[Way::ToServer], &[Way::ToClient]];

/// What only one of a node's connections to Redis says.
const PUBLISHES: &str = "PUBLISH";
const LISTENS: &str = "SUBSCRIBE";

impl Ice {
    /// Each end's path, each way, and each connection alone where there are several.
    fn all(kind: Kind) -> Vec<Self> {
        let only: &[_] = if kind == Kind::Nats {
            &[None]
        } else {
            &[None, Some(PUBLISHES), Some(LISTENS)]
        };
        let mut all = Vec::new();
        for end in [End::Sender, End::Receiver] {
            for only in only {
                all.extend(DIRECTIONS.map(|ways| Self { end, ways, only: *only }));
            }
        }
        all
    }

    fn freeze(self, relay: &Relay) {
        for way in self.ways {
            match self.only {
                Some(word) => assert_eq!(relay.freeze_those_that_said(word, *way), 1, "{self:?}"),
                None => relay.freeze(*way),
            }
        }
    }

    fn thaw(self, relay: &Relay) {
        for way in self.ways {
            relay.thaw(*way);
        }
    }

    /// Whether the sender can publish nothing while it lasts.
    fn stops_publishing(self) -> bool {
        self.end == End::Sender && self.only != Some(LISTENS)
    }
}

/// A sender with a load and a receiver, each behind a relay of its own.
struct Scene {
    ice: Ice,
    /// Before the end that freezes.
    relay: Relay,
    sender: Node,
    load: Load,
    account: Account,
    #[expect(dead_code, reason = "ends after the nodes")]
    other: Relay,
}

impl Scene {
    async fn open(kind: Kind, (server, group): (u16, &str), ice: Ice) -> Self {
        let relays = [Relay::start(server).await, Relay::start(server).await];
        let scheme = if kind == Kind::Nats { "nats" } else { "redis" };
        let mut nodes = Vec::new();
        for relay in &relays {
            let mut node = Node::over(format!("{scheme}://127.0.0.1:{}", relay.port()), Bounds::default());
            assert_eq!(node.next().await, Delivery::Connected);
            // So that each connection has said what it is for.
            let greeting = format!("{group}:greeting.{}", nodes.len());
            node.subscribe(topic(&greeting)).await;
            node.publish(&greeting, "hello");
            assert_eq!(node.message().await.1, "hello");
            nodes.push(node);
        }
        let ([sending, receiving], [receiver, sender]) = (relays, [nodes.pop(), nodes.pop()].map(|node| node.expect("two nodes")));
        let account = Account::open(receiver, group).await;
        let load = Load::of(sender.adapter.clone(), group, 108, PAUSE);
        let (relay, other) = match ice.end {
            End::Sender => (sending, receiving),
            End::Receiver => (receiving, sending),
        };
        let scene = Self {
            ice,
            relay,
            sender,
            load,
            account,
            other,
        };
        // Long enough for some that belong to no outage.
        sleep(2 * SLACK).await;
        scene.up_to_date().await;
        scene
    }

    /// Waits until the receiver has what is published from now on.
    async fn up_to_date(&self) -> Instant {
        let now = self.load.taken();
        eventually(
            "the receiver is up to date",
            || self.account.highest(),
            |highest| highest.is_some_and(|highest| highest >= now),
        )
        .await;
        Instant::now()
    }

    /// Ends the load. Answers when each message was taken, and which of them are missing or have come late.
    async fn close(self) -> (Vec<Instant>, Heard, Vec<u64>) {
        let run = self.load.stop().await;
        assert!(run.slowest < PROMPT, "publish took {:?}", run.slowest);
        let taken = run.taken.len() as u64;
        let counters = eventually(
            "all is accounted for",
            || self.sender.adapter.counters(),
            |counters| counters.published + counters.dropped == taken + 1,
        )
        .await;
        eventually(
            "the last has come",
            || self.account.highest(),
            |highest| *highest == Some(taken - 1),
        )
        .await;
        let heard = self.account.heard();
        let missing: Vec<_> = (0..taken).filter(|number| !heard.numbers.contains(number)).collect();
        // What the sender has counted is lost; besides, a receiver that was away has missed something, and of a batch that was given up
        // some may have come.
        let (lost, ice) = (missing.len() as u64, self.ice);
        match ice.end {
            End::Sender if counters.connects == 1 => assert_eq!(lost, counters.dropped, "{ice:?}"),
            End::Sender => assert!(lost <= counters.dropped, "{ice:?}: {lost} missing, {counters:?}"),
            End::Receiver => assert_eq!(counters.dropped, 0, "{ice:?}"),
        }
        (run.taken, heard, missing)
    }
}

/// Runs a story for each kind of ice, side by side.
async fn each<F: Future<Output = ()> + Send + 'static>(kind: Kind, story: fn(Scene) -> F) {
    let world = World::new(kind).await;
    let mut stories = JoinSet::new();
    for (number, ice) in Ice::all(kind).into_iter().enumerate() {
        let (port, group) = (world.server().port, format!("g{number}"));
        stories.spawn(async move { story(Scene::open(kind, (port, &group), ice).await).await });
    }
    while let Some(ended) = stories.join_next().await {
        ended.expect("a story that does not panic");
    }
}

pub async fn a_path_that_is_frozen_briefly_costs_what_is_too_old_and_nothing_else(kind: Kind) {
    each(kind, briefly).await;
}

async fn briefly(scene: Scene) {
    let ice = scene.ice;
    ice.freeze(&scene.relay);
    let frozen = Instant::now();
    sleep(BRIEF).await;
    ice.thaw(&scene.relay);
    let thawed = Instant::now();
    let resumed = scene.up_to_date().await;
    assert!(resumed - thawed < RESUME, "{ice:?}: resumed after {:?}", resumed - thawed);
    sleep(SLACK).await;
    // Neither end takes a connection for lost that is not; who heard all is told of no gap.
    assert_eq!(scene.account.signals(), [], "{ice:?}");
    assert_eq!(scene.sender.adapter.counters().connects, 1, "{ice:?}");
    let age = scene.sender.adapter.limits().outage_age;
    let (taken, heard, missing) = scene.close().await;
    assert!(heard.late.is_empty(), "{ice:?}: {:?}", heard.late);
    check_age(ice, &taken, &missing, [frozen, thawed, resumed], age);
}

/// What could not be sent and was too old when it could be is missing; the rest is not.
fn check_age(ice: Ice, taken: &[Instant], missing: &[u64], [frozen, thawed, resumed]: [Instant; 3], age: Duration) {
    if !ice.stops_publishing() {
        assert!(missing.is_empty(), "{ice:?}: {missing:?}");
        return;
    }
    let missing: BTreeSet<_> = missing.iter().copied().collect();
    let (mut gone, mut there) = (0, 0);
    for (number, at) in taken.iter().enumerate() {
        let missing = missing.contains(&(number as u64));
        if *at > frozen + SLACK && *at + age + SLACK < thawed {
            assert!(missing, "{ice:?}: {number} came, taken {:?} before the thaw", thawed - *at);
            gone += 1;
        } else if *at < frozen - SLACK || *at > resumed {
            assert!(!missing, "{ice:?}: {number} is missing");
            there += 1;
        }
    }
    assert!(gone > 20 && there > 20, "{ice:?}: {gone}, {there}");
}

pub async fn a_path_that_is_frozen_for_long_ends_in_a_new_session(kind: Kind) {
    each(kind, for_long).await;
}

async fn for_long(mut scene: Scene) {
    const STORY: [Delivery; 3] = [Delivery::Disconnected, Delivery::Gap(GapCause::Reconnected), Delivery::Connected];
    let ice = scene.ice;
    ice.freeze(&scene.relay);
    let frozen = Instant::now();
    // The sender's signals wait in its inbox.
    let mut sender_signals = Vec::new();
    let mut signals = |scene: &mut Scene| match ice.end {
        End::Receiver => scene.account.signals(),
        End::Sender => {
            sender_signals.extend(std::iter::from_fn(|| scene.sender.inbox.try_next()));
            sender_signals.clone()
        }
    };
    eventually("the end of the connection is told", || signals(&mut scene), |told| !told.is_empty()).await;
    let noticed = frozen.elapsed();
    assert!(noticed < NOTICED && noticed > BRIEF, "{ice:?}: noticed after {noticed:?}");
    // A path stays frozen while the node tries again and again; single connections are given up, and others take their place.
    if ice.only.is_none() {
        sleep(BRIEF).await;
        assert_eq!(signals(&mut scene), STORY[..1], "{ice:?}");
        ice.thaw(&scene.relay);
    }
    let thawed = Instant::now();
    eventually("the node is back", || signals(&mut scene), |told| told.len() >= 3).await;
    assert!(thawed.elapsed() < RESUME, "{ice:?}: resumed after {:?}", thawed.elapsed());
    let resumed = scene.up_to_date().await;
    // What the old connections still carry comes now, if ever.
    ice.thaw(&scene.relay);
    sleep(SLACK).await;
    scene.up_to_date().await;
    assert_eq!(signals(&mut scene), STORY, "{ice:?}");
    if ice.end == End::Sender {
        assert_eq!(scene.account.signals(), [], "{ice:?}");
    }
    let age = scene.sender.adapter.limits().outage_age;
    let (taken, heard, missing) = scene.close().await;
    // Late is at most what was under way when the path froze.
    let under_way = |number: &u64| (frozen - age..frozen + SLACK).contains(&taken[*number as usize]);
    assert!(ice.stops_publishing() || heard.late.is_empty(), "{ice:?}: {:?}", heard.late);
    assert!(heard.late.iter().all(under_way), "{ice:?}: {:?}", heard.late);
    if ice.stops_publishing() {
        check_age(ice, &taken, &missing, [frozen, thawed, resumed], age);
    } else {
        // Nothing but what was under way or published while the node was away.
        let (first, last) = (frozen - SLACK, thawed + RESUME);
        let of_the_outage = |number: &u64| (first..last).contains(&taken[*number as usize]);
        assert!(missing.iter().all(of_the_outage), "{ice:?}: {missing:?}");
    }
}

pub async fn a_flood_into_a_frozen_path_takes_no_more_than_its_bounds(kind: Kind) {
    const BYTES: usize = 16 * 1024;
    let world = World::new(kind).await;
    let receiver = Account::open(world.node().await, "g").await;
    let relay = Relay::start(world.server().port).await;
    let scheme = if kind == Kind::Nats { "nats" } else { "redis" };
    let mut sender = Node::over(format!("{scheme}://127.0.0.1:{}", relay.port()), Bounds::default());
    assert_eq!(sender.next().await, Delivery::Connected);
    let load = Load::of(sender.adapter.clone(), "g", BYTES, Duration::from_millis(1));
    eventually("the load flows", || receiver.highest(), |highest| *highest > Some(100)).await;

    BOTH.iter().for_each(|way| relay.freeze(*way));
    let frozen = Instant::now();
    sleep(BRIEF).await;
    BOTH.iter().for_each(|way| relay.thaw(*way));
    let thawed = Instant::now();
    let after = load.taken();
    eventually("it flows again", || receiver.highest(), |highest| *highest > Some(after + 100)).await;
    assert_eq!(sender.adapter.counters().connects, 1);

    let limits = sender.adapter.limits();
    let run = load.stop().await;
    assert!(run.slowest < PROMPT, "publish took {:?}", run.slowest);
    let taken = run.taken.len() as u64;
    eventually("the last has come", || receiver.highest(), |highest| *highest == Some(taken - 1)).await;
    let counters = sender.adapter.counters();
    assert_eq!(
        (counters.published + counters.dropped, counters.dropped > 0, run.refused > 0),
        (taken, true, true)
    );
    // The queue takes its bound, and as much again each time that what is in it has become too old.
    let during = run.taken.iter().filter(|at| (frozen..thawed).contains(at)).count();
    let rounds = BRIEF.div_duration_f64(limits.outage_age).ceil() as usize + 1;
    assert!(during * BYTES <= rounds * limits.queue_bytes, "{during} messages taken");
    // What was sent of it is a queue that is not too old, and the batch that was under way.
    let heard = receiver.heard();
    assert!(heard.late.is_empty());
    let of_the_outage = |number: &&u64| (frozen..thawed).contains(&run.taken[**number as usize]);
    let sent = heard.numbers.iter().filter(of_the_outage).count();
    assert!(sent * BYTES <= 2 * limits.queue_bytes, "{sent} messages of the outage sent");
    assert_eq!((receiver.signals(), receiver.counters().connects), (vec![], 1));
}
