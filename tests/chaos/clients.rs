//! The clients of a run: witnesses and speakers, which stay with their node, and listeners, which are cut and come back.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures_util::{
    SinkExt as _, StreamExt as _,
    stream::{SplitSink, SplitStream},
};
use serde_json::Value;
use tokio::{
    net::TcpStream,
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

use super::{
    history::{Audience, Client, Entry, Event, Life, ROOMS, Role},
    random::Random,
    schedule::NODES,
};
use crate::dsl::within;

/// How long a listener waits for a node that may just be paused.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a listener is away.
const AWAY: Duration = Duration::from_secs(2);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Where everything that happens is written down.
#[derive(Debug, Clone, Default)]
pub(super) struct Record {
    entries: Arc<Mutex<Vec<Entry>>>,
    clients: Arc<AtomicU32>,
}

impl Record {
    pub(super) fn write(&self, entry: Entry) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
    }

    /// What was written since the last time.
    pub(super) fn take(&self) -> Vec<Entry> {
        std::mem::take(&mut *self.entries.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A connection that has ended. Nodes are killed, so that is no failure by itself.
#[derive(Debug)]
struct Ended;

/// A connection, of which every event is written down.
#[derive(Debug)]
struct Connection {
    client: Client,
    sink: SplitSink<Socket, Message>,
    stream: SplitStream<Socket>,
    record: Record,
}

impl Connection {
    /// Connects to a life and joins rooms.
    async fn open(record: &Record, (at, address): (Life, SocketAddr), role: Role, rooms: &[u8]) -> Result<Self, Ended> {
        let client = Client(record.clients.fetch_add(1, Ordering::Relaxed));
        record.write(Entry::Connected {
            client,
            at,
            role,
            rooms: rooms.to_vec(),
        });
        let url = format!("ws://{address}/socket.io/?EIO=4&transport=websocket");
        let (socket, _) = connect_async(url).await.map_err(|_| Ended)?;
        let (sink, stream) = socket.split();
        let mut connection = Self {
            client,
            sink,
            stream,
            record: record.clone(),
        };
        connection.send("40".to_owned()).await?;
        while !connection.packet().await?.starts_with("40{") {}
        for (number, room) in rooms.iter().enumerate() {
            let room = ROOMS[usize::from(*room)];
            connection.send(format!(r#"42{number}["join","{room}"]"#)).await?;
            let answer = format!(r#"43{number}[{{"ok":true}}]"#);
            // What is said in between was written down.
            while connection.packet().await? != answer {}
        }
        Ok(connection)
    }

    async fn send(&mut self, packet: String) -> Result<(), Ended> {
        self.sink.send(Message::text(packet)).await.map_err(|_| Ended)
    }

    /// The next packet that is no event.
    async fn packet(&mut self) -> Result<String, Ended> {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => match text.strip_prefix("42") {
                    Some(json) => self.record.write(Entry::Got {
                        client: self.client,
                        event: event(json),
                    }),
                    None => return Ok(text.to_string()),
                },
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(other)) => panic!("{:?} was sent {other:?}", self.client),
                None | Some(Err(_)) => return Err(Ended),
            }
        }
    }
}

/// The event of a packet: `["all",life,number]` or `["say",room,life,number]`.
fn event(json: &str) -> Event {
    let parts: Vec<Value> = serde_json::from_str(json).unwrap();
    let number = |place: usize| parts[place].as_u64().unwrap();
    let (audience, at) = match parts[0].as_str().unwrap() {
        "all" => (Audience::Everyone, 1),
        "say" => {
            let room = ROOMS.iter().position(|room| parts[1] == *room).unwrap();
            (Audience::Room(u8::try_from(room).unwrap()), 2)
        }
        other => panic!("nobody sends {other}"),
    };
    Event {
        from: Life(u32::try_from(number(at)).unwrap()),
        number: number(at + 1),
        audience,
    }
}

/// The packet of an event, whose number is its ack's, too.
fn packet(event: Event) -> String {
    let (id, Life(from)) = (event.number, event.from);
    match event.audience {
        Audience::Everyone => format!(r#"42{id}["all",{from},{id}]"#),
        Audience::Room(room) => format!(r#"42{id}["say","{}",{from},{id}]"#, ROOMS[usize::from(room)]),
    }
}

/// The two clients that stay with a life.
#[derive(Debug)]
pub(super) struct Crew {
    orders: mpsc::Sender<Order>,
    tasks: [JoinHandle<()>; 3],
}

/// What a speaker is told. It answers when its node has dealt with everything that it has sent.
enum Order {
    Speak,
    Rest(oneshot::Sender<()>),
    /// Sends an event to each audience.
    Mark(oneshot::Sender<()>),
}

impl Crew {
    /// The witness has joined all rooms, and the speaker rests.
    pub(super) async fn join(record: &Record, node: (Life, SocketAddr), random: Random, every: Duration) -> Self {
        let opening = async {
            let witness = Connection::open(record, node, Role::Witness, &[0, 1, 2]).await?;
            let speaker = Connection::open(record, node, Role::Speaker, &[]).await?;
            Ok::<_, Ended>((witness, speaker))
        };
        let (mut witness, speaker) = within("the clients to be let in", opening).await.unwrap();
        let hearing = tokio::spawn(async move { while witness.packet().await.is_ok() {} });
        let Connection {
            client,
            sink,
            stream,
            record,
        } = speaker;
        let (orders, ordered) = mpsc::channel(1);
        let (dealt, acks) = watch::channel(0);
        let speech = Speech {
            life: node.0,
            sink,
            record: record.clone(),
            sent: 0,
            acks,
            random,
        };
        // Nobody sends with this half.
        let (mut spare, _) = (stream, ());
        let answers = tokio::spawn(async move { hear_answers(client, &mut spare, &record, &dealt).await });
        let speaking = tokio::spawn(async move {
            // It ends with its node.
            speech.obey(ordered, every).await.ok();
        });
        Self {
            orders,
            tasks: [hearing, answers, speaking],
        }
    }

    pub(super) async fn speak(&self) {
        // One that has ended says nothing, which is noticed.
        self.orders.send(Order::Speak).await.ok();
    }

    /// Silences the speaker; waits until its node has dealt with what it has sent.
    pub(super) async fn rest(&self) {
        self.done(Order::Rest).await;
    }

    pub(super) async fn mark(&self) {
        self.done(Order::Mark).await;
    }

    async fn done(&self, order: impl FnOnce(oneshot::Sender<()>) -> Order) {
        let (answer, answered) = oneshot::channel();
        self.orders.send(order(answer)).await.ok();
        within("a node to deal with what its speaker has sent", answered).await.ok();
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Hears the answers to a speaker, and the events that it gets as everybody.
async fn hear_answers(client: Client, stream: &mut SplitStream<Socket>, record: &Record, dealt: &watch::Sender<u64>) {
    while let Some(Ok(message)) = stream.next().await {
        let Message::Text(text) = message else { continue };
        if let Some(json) = text.strip_prefix("42") {
            let event = event(json);
            record.write(Entry::Got { client, event });
        } else {
            // Handlers of one socket run one after the other, and so do their answers.
            let answer = format!(r#"43{}[{{"ok":true}}]"#, *dealt.borrow());
            assert_eq!(text.as_str(), answer);
            dealt.send_modify(|dealt| *dealt += 1);
        }
    }
}

/// A speaker at work.
struct Speech {
    life: Life,
    sink: SplitSink<Socket, Message>,
    record: Record,
    sent: u64,
    /// How many of its events its node has dealt with.
    acks: watch::Receiver<u64>,
    random: Random,
}

impl Speech {
    async fn obey(mut self, mut orders: mpsc::Receiver<Order>, every: Duration) -> Result<(), Ended> {
        let mut speaks = false;
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    None => return Ok(()),
                    Some(Order::Speak) => speaks = true,
                    Some(Order::Rest(answer)) => {
                        speaks = false;
                        self.dealt().await?;
                        answer.send(()).ok();
                    }
                    Some(Order::Mark(answer)) => {
                        for audience in Audience::ALL {
                            self.say(audience).await?;
                        }
                        self.dealt().await?;
                        answer.send(()).ok();
                    }
                },
                _ = ticks.tick(), if speaks => {
                    let audience = self.random.pick(&Audience::ALL);
                    self.say(audience).await?;
                }
            }
        }
    }

    async fn say(&mut self, audience: Audience) -> Result<(), Ended> {
        let event = Event {
            from: self.life,
            number: self.sent,
            audience,
        };
        self.sent += 1;
        self.record.write(Entry::Sent(event));
        self.sink.send(Message::text(packet(event))).await.map_err(|_| Ended)
    }

    /// Waits until its node has dealt with everything.
    async fn dealt(&mut self) -> Result<(), Ended> {
        let (from, count) = (self.life, self.sent);
        self.acks.wait_for(|acks| *acks == count).await.map_err(|_| Ended)?;
        self.record.write(Entry::Dealt { from, count });
        Ok(())
    }
}

/// Where the living nodes are.
pub(super) type Addresses = Arc<Mutex<[Option<(Life, SocketAddr)>; NODES]>>;

/// A client in these rooms that is cut at random, is away for two seconds, and comes back at some node.
pub(super) async fn listen(record: Record, addresses: Addresses, rooms: Vec<u8>, mut random: Random) {
    loop {
        let place = random.below(NODES);
        let stay = random.millis(500..5000);
        let node = addresses.lock().unwrap_or_else(PoisonError::into_inner)[place];
        if let Some(node) = node {
            let opening = timeout(PATIENCE, Connection::open(&record, node, Role::Listener, &rooms));
            if let Ok(Ok(mut connection)) = opening.await {
                // Until the node is killed, or the client is cut.
                timeout(stay, async { while connection.packet().await.is_ok() {} }).await.ok();
            }
        }
        sleep(AWAY).await;
    }
}
