//! What every client must be able to do, told with rust_socketio: the steps of `../story.mjs`.
//!
//! ```text
//! fanfare-client-story URL polling|websocket|upgrade PROXY
//! ```
//!
//! Prints `cut` when the connections through the proxy are to be lost: whoever runs it cuts them then. Ends with 0 if all went well.
//!
//! Left out is what this client cannot do: it answers no event of the server, joins one namespace on a connection, sends bytes as the
//! only argument of an event and never with an ack, splits bytes from a WebSocket at each 0x1e, takes an event without arguments for
//! the event `message`, and comes back when the server closes the connection behind a disconnect.

use std::{
    env,
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use rust_socketio::{ClientBuilder, Event, Payload, TransportType, client::Client};
use serde_json::{Value, json};

/// How long anything is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// From a lost connection to the next attempt, in milliseconds.
const RECONNECT_DELAY: u64 = 20;

const TEXT: &str = "wörter \"und\" ключ 😀 \u{2028} \\ \n & = ?";

/// What a client heard: the event's name, and its arguments.
type Heard = Arc<Mutex<Vec<(String, Payload)>>>;

struct Story {
    url: String,
    transport: TransportType,
    proxy: String,
}

/// A client, and what it heard.
struct Listener {
    client: Client,
    heard: Heard,
}

fn main() {
    let mut arguments = env::args().skip(1);
    let mut next = || arguments.next().expect("usage: fanfare-client-story URL polling|websocket|upgrade PROXY");
    let url = next();
    let transport = match next().as_str() {
        "polling" => TransportType::Polling,
        "websocket" => TransportType::Websocket,
        "upgrade" => TransportType::WebsocketUpgrade,
        other => panic!("no transport {other}"),
    };
    let story = Story { url, transport, proxy: next() };
    story.connects_with_auth();
    story.is_refused();
    story.exchanges_every_type();
    story.is_answered();
    story.shares_rooms();
    story.joins_namespaces();
    story.stays_away_when_disconnected();
    story.comes_back_after_loss();
}

/// Every type that JSON has.
fn everything() -> Vec<Value> {
    vec![
        json!(0),
        json!(-1),
        json!(1.5),
        json!(9_007_199_254_740_991_u64),
        json!(""),
        json!(TEXT),
        json!(true),
        json!(false),
        json!(null),
        json!([]),
        json!({}),
        json!([1, [2, [null, { "three": [3] }]]]),
        json!({ "": 0, TEXT: TEXT, "list": [true, { "deep": { "deeper": null } }] }),
    ]
}

impl Story {
    fn connect(&self, namespace: &str) -> Listener {
        let listener = self.open(&self.url, namespace, json!({ "token": "secret", "more": TEXT }));
        listener.connected(1);
        listener
    }

    fn open(&self, url: &str, namespace: &str, auth: Value) -> Listener {
        let heard = Heard::default();
        let keeper = |name: &'static str| {
            let heard = Arc::clone(&heard);
            move |payload, _| heard.lock().unwrap().push((name.to_owned(), payload))
        };
        let any = Arc::clone(&heard);
        let client = ClientBuilder::new(url)
            .namespace(namespace)
            .auth(auth)
            .transport_type(self.transport.clone())
            .reconnect_delay(RECONNECT_DELAY, RECONNECT_DELAY)
            .on(Event::Connect, keeper("connect"))
            .on(Event::Error, keeper("error"))
            .on(Event::Close, keeper("close"))
            .on_any(move |event, payload, _| any.lock().unwrap().push((event.as_str().to_owned(), payload)))
            .connect()
            .expect("the session opens");
        Listener { client, heard }
    }

    fn connects_with_auth(&self) {
        for namespace in ["/", "/custom"] {
            let client = self.connect(namespace);
            until("the server says what it was given", || client.count("auth") == 1);
            assert_eq!(client.arguments("auth"), [[json!({ "token": "secret", "more": TEXT })]]);
        }
    }

    fn is_refused(&self) {
        let wrong = json!({ "token": "wrong" });
        let words = json!({ "message": "not authorized", "data": { "code": 401, "hint": ["ask", null] } });
        let unknown = json!({ "message": "Invalid namespace" });
        for (namespace, auth, words) in [
            ("/", wrong.clone(), &words),
            ("/custom", wrong, &words),
            ("/nowhere", json!({}), &unknown),
            ("/dynamic-x", json!({}), &unknown),
        ] {
            let client = self.open(&self.url, namespace, auth);
            until("the client is refused", || client.count("error") == 1);
            let Some(Value::String(told)) = client.arguments("error").remove(0).pop() else {
                panic!("a refusal is told as text");
            };
            let json = told.split_once(": ").expect("a headline and the server's words").1;
            assert_eq!(serde_json::from_str::<Value>(json).unwrap(), *words);
            assert_eq!(client.count("connect"), 0);
        }
    }

    fn exchanges_every_type(&self) {
        let client = self.connect("/");
        let mut expected = vec![everything()];
        client.emit("message", everything());
        for value in everything() {
            client.emit("message", vec![value.clone()]);
            expected.push(vec![value]);
        }
        until("every message comes back", || client.count("message-back") == expected.len());
        assert_eq!(client.arguments("message-back"), expected);
        for bytes in [vec![0, 1, 0x7f, 0x80, 0xff], b"abc".repeat(25_000)] {
            let before = client.count("message-back");
            client.emit("message", bytes.clone());
            until("bytes come back", || client.count("message-back") > before);
            assert_eq!(client.last(), Payload::from(bytes));
        }
    }

    fn is_answered(&self) {
        let client = self.connect("/");
        assert_eq!(client.call("message-with-ack", everything()), Payload::from(json!(everything())));
        assert_eq!(client.call("message-with-ack", Vec::<Value>::new()), Payload::from(json!([])));
    }

    fn shares_rooms(&self) {
        let room = format!("room of {}", std::process::id());
        let clients @ [actor, member, stranger] = &[self.connect("/"), self.connect("/"), self.connect("/")];
        for client in [actor, member] {
            client.call("join", vec![json!(room)]);
        }
        actor.emit("say", vec![json!(room), json!(1)]);
        stranger.emit("say", vec![json!(room), json!(2)]);
        until("the members hear what is said", || [actor.count("say"), member.count("say")] == [1, 2]);
        member.call("leave", vec![json!(room)]);
        stranger.emit("say", vec![json!(room), json!(3)]);
        until("who stayed hears on", || actor.count("say") == 2);
        for client in clients {
            client.call("message-with-ack", vec![json!(0)]);
        }
        assert_eq!(clients.each_ref().map(|client| client.count("say")), [2, 2, 0]);
        actor.emit("announce", vec![json!(room)]);
        actor.emit("shout", vec![json!(room)]);
        let mine = |event| clients.each_ref().map(|client| client.heard(event, &[json!(room)]));
        until("all hear an announcement, the others a shout", || {
            (mine("announce"), mine("shout")) == ([1, 1, 1], [0, 1, 1])
        });
    }

    fn joins_namespaces(&self) {
        let unique = json!(format!("unique {}", std::process::id()));
        let clients = ["/", "/custom", "/dynamic-1", "/dynamic-2"].map(|namespace| self.connect(namespace));
        clients[1].emit("announce", vec![unique.clone()]);
        clients[2].emit("announce", vec![unique.clone()]);
        clients[2].emit("tell the family", vec![unique.clone()]);
        let mine = |event| clients.each_ref().map(|client| client.heard(event, std::slice::from_ref(&unique)));
        until("each namespace hears its own", || mine("announce") == [0, 1, 1, 0]);
        until("the children hear what their parent is told", || mine("family") == [0, 0, 1, 1]);
    }

    fn stays_away_when_disconnected(&self) {
        let (kicked, witness) = (self.connect("/"), self.through_proxy());
        kicked.emit("kick", vec![json!(0)]);
        until("the client is disconnected", || kicked.count("close") == 1);
        // Another client loses its connection later, and is back first: this one would have been, if it tried.
        for round in 1..=3 {
            lose(&witness, round);
        }
        assert_eq!(kicked.count("connect"), 1);
    }

    fn comes_back_after_loss(&self) {
        let client = self.through_proxy();
        lose(&client, 1);
        until("the server greets again", || client.count("auth") == 2);
        assert_eq!(client.call("message-with-ack", vec![json!("back")]), Payload::from(json!(["back"])));
    }

    fn through_proxy(&self) -> Listener {
        let client = self.open(&self.proxy, "/", json!({}));
        client.connected(1);
        client
    }
}

/// Has the connection cut for the `round`th time, and waits until the client is back.
fn lose(client: &Listener, round: usize) {
    let lost = client.count("error");
    until("the client notices that its connection is lost", || {
        // Between two polls there is no connection to cut.
        println!("cut");
        thread::sleep(Duration::from_millis(100));
        client.count("error") > lost
    });
    client.connected(round + 1);
}

impl Listener {
    fn connected(&self, times: usize) {
        until("the client is connected", || self.count("connect") >= times);
    }

    fn count(&self, event: &str) -> usize {
        self.heard.lock().unwrap().iter().filter(|(name, _)| name == event).count()
    }

    /// The arguments of each event of that name.
    fn arguments(&self, event: &str) -> Vec<Vec<Value>> {
        let heard = self.heard.lock().unwrap();
        let arguments = heard.iter().filter(|(name, _)| name == event).map(|(_, payload)| match payload {
            Payload::Text(values) => values.clone(),
            other => panic!("{event} came with {other:?}"),
        });
        arguments.collect()
    }

    /// How often an event came with these arguments.
    fn heard(&self, event: &str, arguments: &[Value]) -> usize {
        self.arguments(event).iter().filter(|heard| *heard == arguments).count()
    }

    fn last(&self) -> Payload {
        self.heard.lock().unwrap().last().expect("it heard something").1.clone()
    }

    fn emit(&self, event: &str, payload: impl Into<Payload>) {
        self.client.emit(event, payload).expect("the event is sent");
    }

    /// Emits an event, and waits for its answer.
    #[track_caller]
    fn call(&self, event: &str, payload: Vec<Value>) -> Payload {
        let (answered, answer) = mpsc::channel();
        self.client
            .emit_with_ack(event, payload, PATIENCE, move |payload, _| answered.send(payload).unwrap_or_default())
            .expect("the event is sent");
        answer.recv_timeout(PATIENCE).expect("an answer")
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // One that was disconnected says so.
        drop(self.client.disconnect());
    }
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}
