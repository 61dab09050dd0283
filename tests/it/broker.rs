//! Rules over real mailboxes: what clients send goes in as the engine would hand it over, what they get is read from their outboxes.

use std::sync::Arc;

use bytes::Bytes;
use fanfare::{
    broker::{Denied, MAX_ROOM, MAX_ROOMS, install},
    config::{File, Sources},
    engine::{Application, Arrival, Connection, Flow, Handle, Handshake, Incoming, Revision, Tap, Transport, id::NodeTag},
    hub::{Config, Hub, Io},
};

/// A broker with rules as a person writes them.
fn broker(text: &str) -> Io {
    let file = File {
        name: "fanfare.toml".to_owned(),
        text: text.to_owned(),
    };
    let rules = Sources {
        file: Some(file),
        ..Sources::default()
    }
    .load()
    .unwrap()
    .config
    .rules;
    let hub = Hub::new(Config::default(), NodeTag([1, 2, 3]));
    let io = Io::new(Arc::clone(&hub), hub);
    install(&io, &rules).unwrap();
    io
}

/// A client at the other end of a session.
struct Client {
    tap: Tap,
    connection: Box<dyn Connection>,
    id: String,
}

impl Client {
    fn open(io: &Io) -> Self {
        let (handle, tap) = Handle::detached();
        let handshake = Arc::new(Handshake::new(
            handle.id(),
            Transport::WebSocket,
            Revision::V4,
            Arrival::new(None, false, "/socket.io/?EIO=4", []),
        ));
        let connection = io.hub().opened(&handle, &handshake);
        Self {
            tap,
            connection,
            id: String::new(),
        }
    }

    /// A client that has joined `/`.
    async fn connect(io: &Io) -> Self {
        let mut client = Self::open(io);
        client.send("0");
        let answer = client.next().await;
        client.id = answer.trim_start_matches(r#"0{"sid":""#).trim_end_matches("\"}").to_owned();
        client
    }

    fn send(&mut self, text: &str) {
        assert_eq!(self.connection.message(Incoming::Text(text)), Flow::Continue, "{text}");
    }

    fn send_binary(&mut self, bytes: &'static [u8]) {
        assert_eq!(self.connection.message(Incoming::Binary(Bytes::from_static(bytes))), Flow::Continue);
    }

    /// Sends an event that asks for an ack, and waits for the answer; by then all that the event does is done.
    async fn ask(&mut self, event: &str) -> String {
        self.send(&format!("27{event}"));
        let answer = self.next().await;
        answer.strip_prefix("37").unwrap_or(&answer).to_owned()
    }

    /// What was sent to the client since the last time.
    fn got(&self) -> Vec<String> {
        self.tap.frames().into_iter().map(|(text, _)| text).collect()
    }

    /// Waits for one packet; fails after far longer than it could take.
    async fn next(&self) -> String {
        for _ in 0..100_000 {
            if let Some(packet) = self.got().pop() {
                return packet;
            }
            tokio::task::yield_now().await;
        }
        panic!("nothing came");
    }
}

const OK: &str = r#"[{"ok":true}]"#;

fn refused(denied: Denied) -> String {
    format!(r#"[{{"ok":false,"error":"{denied}"}}]"#)
}

#[tokio::test]
async fn without_rules_clients_connect_and_nothing_goes_anywhere() {
    let io = broker("");
    let (mut a, b) = (Client::connect(&io).await, Client::connect(&io).await);
    a.send(r#"2["chat message","hello"]"#);
    a.send(r#"25["join","chat-1"]"#);
    a.send("0/chat,");
    assert_eq!(a.next().await, r#"4/chat,{"message":"Invalid namespace"}"#);
    for _ in 0..100_000 {
        if io.hub().tasks() == 0 {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(io.hub().tasks(), 0, "every event was dealt with");
    assert_eq!((a.got(), b.got()), (vec![], vec![]));
}

#[tokio::test]
async fn broadcast_reaches_everyone_else() {
    let io = broker("[[namespace]]\nname = \"/\"\nrule = [{ event = \"chat\", action = \"broadcast\" }]");
    let (mut a, b, c) = (Client::connect(&io).await, Client::connect(&io).await, Client::connect(&io).await);
    assert_eq!(a.ask(r#"["chat","hello",{"n":1}]"#).await, OK);
    assert_eq!(b.got(), [r#"2["chat","hello",{"n":1}]"#]);
    assert_eq!(c.got(), [r#"2["chat","hello",{"n":1}]"#]);
    assert_eq!(a.got(), Vec::<String>::new());
}

#[tokio::test]
async fn emit_reaches_the_sender_too_and_binary_is_passed_on() {
    let io = broker("[[namespace]]\nname = \"/\"\nrule = [{ event = \"image\", action = \"emit\" }]");
    let (mut a, b) = (Client::connect(&io).await, Client::connect(&io).await);
    a.send(r#"51-["image",{"data":{"_placeholder":true,"num":0}}]"#);
    a.send_binary(b"\x00\xffpixels");
    let packet = r#"51-["image",{"data":{"_placeholder":true,"num":0}}]"#;
    assert_eq!(a.next().await, packet);
    assert_eq!(b.tap.frames(), [(packet.to_owned(), vec![Bytes::from_static(b"\x00\xffpixels")])]);
}

#[tokio::test]
async fn rooms_are_joined_spoken_to_and_left() {
    let io = broker(
        "[[namespace]]\nname = \"/\"\nrule = [{ event = \"join\", action = \"join\", rooms = [\"chat-*\"] }, \
         { event = \"leave\", action = \"leave\", rooms = [\"chat-*\"] }, { event = \"say\", action = \"room\", rooms = [\"chat-*\"] }]",
    );
    let (mut a, mut b, c) = (Client::connect(&io).await, Client::connect(&io).await, Client::connect(&io).await);
    assert_eq!(a.ask(r#"["join","chat-1"]"#).await, OK);
    assert_eq!(b.ask(r#"["join","chat-1"]"#).await, OK);
    assert_eq!(a.ask(r#"["say","chat-1","hello"]"#).await, OK);
    assert_eq!(
        b.got(),
        [r#"2["say","chat-1","hello"]"#],
        "the name of the room stays the first argument"
    );
    assert_eq!((a.got(), c.got()), (vec![], vec![]), "neither the sender nor a stranger hears it");
    assert_eq!(b.ask(r#"["leave","chat-1"]"#).await, OK);
    assert_eq!(a.ask(r#"["say","chat-1","hello?"]"#).await, OK);
    assert_eq!(b.got(), Vec::<String>::new());
}

#[tokio::test]
async fn rooms_that_are_not_allowed_are_refused() {
    let io = broker(
        "[[namespace]]\nname = \"/\"\nrule = [{ event = \"join\", action = \"join\", rooms = [\"*\"] }, { event = \"say\", action = \"room\", rooms = [\"*\"] }, \
         { event = \"whisper\", action = \"room\", rooms = [\"chat-*\"] }]",
    );
    let (mut a, b) = (Client::connect(&io).await, Client::connect(&io).await);
    assert_eq!(
        a.ask(&format!(r#"["say","{}","psst"]"#, b.id)).await,
        refused(Denied::NotAllowed),
        "another client's own room"
    );
    assert_eq!(a.ask(r#"["join","_private"]"#).await, refused(Denied::NotAllowed));
    assert_eq!(a.ask(r#"["whisper","attic","psst"]"#).await, refused(Denied::NotAllowed));
    assert_eq!(
        a.ask(&format!(r#"["join","{}"]"#, "x".repeat(MAX_ROOM + 1))).await,
        refused(Denied::Length)
    );
    assert_eq!(a.ask(r#"["join",42]"#).await, refused(Denied::NoRoom));
    assert_eq!(a.ask(r#"["join"]"#).await, refused(Denied::NoRoom));
    assert_eq!(b.got(), Vec::<String>::new());
}

#[tokio::test]
async fn a_client_is_in_a_bounded_number_of_rooms() {
    let io = broker("[[namespace]]\nname = \"/\"\nrule = [{ event = \"join\", action = \"join\", rooms = [\"*\"] }]");
    let mut a = Client::connect(&io).await;
    for n in 0..MAX_ROOMS {
        assert_eq!(a.ask(&format!(r#"["join","room-{n}"]"#)).await, OK);
    }
    assert_eq!(a.ask(r#"["join","one more"]"#).await, refused(Denied::TooMany));
    assert_eq!(a.ask(r#"["join","room-0"]"#).await, OK, "it is in that one");
}

#[tokio::test]
async fn ack_answers_with_the_arguments() {
    let io = broker("[[namespace]]\nname = \"/\"\nrule = [{ event = \"echo\", action = \"ack\" }]");
    let mut a = Client::connect(&io).await;
    assert_eq!(a.ask(r#"["echo",1,"two",[3]]"#).await, r#"[1,"two",[3]]"#);
    assert_eq!(a.ask(r#"["echo"]"#).await, "[]");
    a.send(r#"2["echo","nobody asks"]"#);
    assert_eq!(a.ask(r#"["echo","next"]"#).await, r#"["next"]"#);
}

#[tokio::test]
async fn clients_are_greeted_in_their_namespace() {
    let io =
        broker("[[namespace]]\nname = \"/news\"\non_connect = [{ event = \"news\", data = { hello = \"world\" } }, { event = \"ready\" }]");
    let mut a = Client::open(&io);
    a.send("0/news,");
    let mut got = Vec::new();
    while got.len() < 3 {
        got.extend(a.got());
        tokio::task::yield_now().await;
    }
    assert!(got[0].starts_with(r#"0/news,{"sid":"#), "{got:?}");
    assert_eq!(got[1..], [r#"2/news,["news",{"hello":"world"}]"#, r#"2/news,["ready"]"#]);
}
