//! Random schedules of emits, joins, leaves, cuts and returns: handlers see each event that was for them once and in order, or are told.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::hub::recovery::Offset;

/// What is done. Clients and rooms are small numbers.
#[derive(Debug, Clone)]
enum Step {
    /// From a node to rooms, but for others.
    Emit(usize, Vec<u8>, Vec<u8>),
    /// From the client's node to the client.
    Direct(usize),
    Volatile(usize),
    Local(usize),
    Join(usize, u8),
    Leave(usize, u8),
    /// The client reads so many of the packets that wait, and no more over this connection; the server learns of it, or does not yet.
    Cut(usize, usize, bool),
    Return(usize, usize, Memory),
    /// The client reads all that waits.
    Read(usize),
    Ping(usize),
    /// Milliseconds.
    Wait(u64),
}

/// What a client says of the offset when it returns.
#[derive(Debug, Clone, Copy)]
enum Memory {
    Right,
    Missing,
    /// That of another log.
    Foreign,
}

const CLIENTS: usize = 3;
const NODES: usize = 2;

fn step() -> impl Strategy<Value = Step> {
    let rooms = || prop::collection::vec(0_u8..3, 0..3);
    let who = 0..CLIENTS;
    let memory = prop_oneof![4 => Just(Memory::Right), 1 => Just(Memory::Missing), 1 => Just(Memory::Foreign)];
    prop_oneof![
        8 => (0..NODES, rooms(), rooms()).prop_map(|(node, rooms, except)| Step::Emit(node, rooms, except)),
        2 => who.clone().prop_map(Step::Direct),
        2 => (0..NODES).prop_map(Step::Volatile),
        1 => (0..NODES).prop_map(Step::Local),
        3 => (who.clone(), 0_u8..3).prop_map(|(who, room)| Step::Join(who, room)),
        2 => (who.clone(), 0_u8..3).prop_map(|(who, room)| Step::Leave(who, room)),
        4 => (who.clone(), 0_usize..6, any::<bool>()).prop_map(|(who, read, known)| Step::Cut(who, read, known)),
        5 => (who.clone(), 0..NODES, memory).prop_map(|(who, node, memory)| Step::Return(who, node, memory)),
        2 => who.clone().prop_map(Step::Read),
        1 => who.prop_map(Step::Ping),
        2 => (0_u64..100).prop_map(Step::Wait),
    ]
}

/// A client with what it must have seen.
struct Watched {
    client: Client,
    /// Where it is connected, as far as it knows.
    node: Option<usize>,
    /// Where its session was last.
    home: usize,
    /// Connections that it has left and the server has not.
    ghosts: Vec<Line>,
    rooms: BTreeSet<u8>,
    /// Logged events that were for it since its session began.
    meant: Vec<String>,
    /// What its handlers saw of them.
    seen: Vec<String>,
}

/// The nodes, their clients, and the number of the next event.
struct World {
    bus: MemoryBus,
    nodes: Vec<Node>,
    watched: Vec<Watched>,
    next: u64,
    /// Sessions lost although nothing made that necessary.
    lost: usize,
}

fn room(number: u8) -> String {
    format!("room{number}")
}

impl World {
    async fn new(recovery: &Recovery, config: &Config) -> Self {
        let bus = MemoryBus::new();
        let start = |_| Node::start_with(&bus, recovery.clone(), config.clone());
        let nodes: Vec<Node> = (0..NODES).map(start).collect();
        let mut watched = Vec::new();
        for number in 0..CLIENTS {
            let home = number % NODES;
            watched.push(Watched {
                client: Client::joined(&nodes[home]).await,
                node: Some(home),
                home,
                ghosts: Vec::new(),
                rooms: BTreeSet::new(),
                meant: Vec::new(),
                seen: Vec::new(),
            });
        }
        written().await;
        Self {
            bus,
            nodes,
            watched,
            next: 1,
            lost: 0,
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Emit(node, rooms, except) => {
                let number = self.number();
                let io = &self.nodes[node].io;
                let names: Vec<String> = rooms.iter().map(|number| room(*number)).collect();
                let left_out: Vec<String> = except.iter().map(|number| room(*number)).collect();
                io.to(names).except(left_out).emit("n", &number).unwrap();
                for watched in &mut self.watched {
                    let meant = rooms.is_empty() || rooms.iter().any(|room| watched.rooms.contains(room));
                    if meant && !except.iter().any(|room| watched.rooms.contains(room)) {
                        watched.meant.push(format!("n {number}"));
                    }
                }
            }
            Step::Direct(who) => {
                let number = self.number();
                let watched = &mut self.watched[who];
                self.nodes[watched.home]
                    .io
                    .to(watched.client.sid.as_str())
                    .emit("n", &number)
                    .unwrap();
                watched.meant.push(format!("n {number}"));
            }
            Step::Volatile(node) => self.nodes[node].io.volatile().emit("v", &"text").unwrap(),
            Step::Local(node) => self.nodes[node].io.local().emit("l", &"text").unwrap(),
            Step::Join(who, number) => {
                // A socket that is away joins nothing.
                if let Some(sid) = self.connected(who) {
                    self.nodes[self.watched[who].home].io.to(sid).local().sockets_join(room(number));
                    self.watched[who].rooms.insert(number);
                }
            }
            Step::Leave(who, number) => {
                if let Some(sid) = self.connected(who) {
                    self.nodes[self.watched[who].home].io.to(sid).local().sockets_leave(room(number));
                    self.watched[who].rooms.remove(&number);
                }
            }
            Step::Cut(who, read, known) => {
                let watched = &mut self.watched[who];
                if watched.node.take().is_some() {
                    watched.client.read_some(read);
                    watched.look();
                    if known {
                        watched.client.cut();
                    } else {
                        watched.ghosts.push(watched.client.lose_touch());
                    }
                }
            }
            Step::Return(who, node, memory) => self.come_back(who, node, memory).await,
            Step::Read(who) => {
                let watched = &mut self.watched[who];
                if watched.node.is_some() {
                    watched.client.read();
                    watched.look();
                }
            }
            Step::Ping(who) => {
                let watched = &mut self.watched[who];
                if watched.node.is_some() {
                    watched.client.answer_ping();
                    watched.look();
                }
            }
            Step::Wait(milliseconds) => tokio::time::sleep(Duration::from_millis(milliseconds)).await,
        }
        settle().await;
    }

    /// The id of a client whose socket is connected for sure, and live.
    fn connected(&self, who: usize) -> Option<&str> {
        let watched = &self.watched[who];
        (watched.node.is_some() && watched.client.connected).then_some(watched.client.sid.as_str())
    }

    async fn come_back(&mut self, who: usize, node: usize, memory: Memory) {
        // What the store does not know yet, another node cannot know.
        written().await;
        let watched = &mut self.watched[who];
        if watched.node.is_some() {
            return;
        }
        let right = watched.client.offset.clone();
        let offset = match memory {
            Memory::Right => right,
            // Without it what was seen since the last proof comes again, so the stock client forgets it only together with its pid.
            Memory::Missing if right.is_none() => None,
            Memory::Foreign if right.is_none() => Some(Offset { epoch: 1, position: 99 }.to_string()),
            Memory::Missing | Memory::Foreign => right,
        };
        let pid = watched.client.pid.clone();
        watched.client.connect_saying(&self.nodes[node], pid, offset.map(Value::from)).await;
        watched.node = Some(node);
        // The answer alone tells whose session it is; the rest may be lost.
        let answered = watched.client.line().handle.waiting() > 0;
        assert!(answered, "CONNECT is answered");
        let sid = watched.client.sid.clone();
        let frames = watched.client.line().tap.frames();
        for (number, (text, _)) in frames.iter().enumerate() {
            watched.client.packet(text);
            if number == 0 {
                assert!(watched.client.connected, "the answer comes first");
                if !watched.client.recovered {
                    assert_ne!(watched.client.sid, sid);
                    self.lost += 1;
                    watched.meant.clear();
                    watched.seen.clear();
                    watched.rooms.clear();
                    watched.client.saw();
                }
            }
        }
        watched.home = node;
        watched.look();
    }

    /// Everybody comes back and reads; then nothing is missing.
    async fn finish(&mut self) {
        for who in 0..CLIENTS {
            if self.watched[who].node.is_none() {
                self.come_back(who, who % NODES, Memory::Right).await;
            }
            tokio::time::sleep(Duration::from_secs(30)).await;
            let watched = &mut self.watched[who];
            watched.client.read();
            watched.look();
            assert_eq!(watched.seen, watched.meant, "client {who}");
        }
    }
}

impl Watched {
    /// Notes what handlers saw. It is the beginning of what was meant, whole and in order.
    fn look(&mut self) {
        let logged = self.client.saw().into_iter().filter(|said| said.starts_with('n'));
        self.seen.extend(logged);
        let beginning = self.meant.get(..self.seen.len());
        assert_eq!(beginning, Some(&*self.seen), "of {:?}", self.meant);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn handlers_see_each_event_that_was_for_them_once_and_in_order(
        steps in prop::collection::vec(step(), 1..80),
        // Some ten events a second: then most of what is done happens in the midst of a replay.
        replay_rate in prop_oneof![Just(4 << 20), 100..400_u64],
        // Then what was missed is read from the log and comes from memory, in turns.
        tail_entries in prop_oneof![Just(4096), 1..8_usize],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let recovery = Recovery {
                replay_rate: replay_rate.try_into().unwrap(),
                ..Recovery::default()
            };
            let config = Config {
                tail_entries,
                ..Config::default()
            };
            let mut world = World::new(&recovery, &config).await;
            for step in steps {
                world.take(step).await;
            }
            world.finish().await;
            assert_eq!(world.lost, 0, "nothing was so long ago that a session had to be lost");
            drop(world.bus);
        });
    }
}
