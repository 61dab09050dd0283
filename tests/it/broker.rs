//! Rules over real mailboxes: what clients send goes in as the engine would hand it over, what they get is read from their outboxes.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use fanfare::{
    broker::{Denied, MAX_ROOM, install},
    config::{File, Sources},
    engine::{Application, Arrival, Connection, Flow, Handle, Handshake, Incoming, Revision, Tap, Transport, id::NodeTag},
    hub::{Config, Hub, Io},
};
use ring::hmac;

/// Rooms that a client may be in.
const MAX_ROOMS: usize = 16;

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
    let config = Config {
        max_rooms: MAX_ROOMS,
        ..Config::default()
    };
    let hub = Hub::new(config, NodeTag([1, 2, 3]));
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
        Self::arrive(io, "", "")
    }

    /// A client of a session whose request had this query and this header.
    fn arrive(io: &Io, query: &str, authorization: &str) -> Self {
        Self::arrive_as(io, Revision::V4, query, authorization)
    }

    /// The same, with a client of this revision of Engine.IO: of 3 those of Socket.IO 1 and 2.
    fn arrive_as(io: &Io, revision: Revision, query: &str, authorization: &str) -> Self {
        let (handle, tap) = Handle::detached();
        let url = format!("/socket.io/?EIO=4{query}");
        let arrival = Arrival::new(None, false, &url, [("authorization", authorization.as_bytes())]);
        let handshake = Arc::new(Handshake::new(handle.id(), Transport::WebSocket, revision, arrival));
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

const KEY: &str = "a secret of the tests, 32 bytes or more";

/// A broker whose namespace `/` asks for tokens signed with [`KEY`], from wherever `from` says.
fn guarded(from: &str) -> Io {
    broker(&format!(
        "[[namespace]]\nname = \"/\"\nconnect.token = {{ algorithm = \"HS256\", key = \"{KEY}\", rooms_claim = \"rooms\", from = {from} }}\n\
         rule = [{{ event = \"join\", action = \"join\", rooms = [\"inbox-{{user}}\", \"lobby\"] }}, \
         {{ event = \"say\", action = \"room\", rooms = [\"*\"] }}]"
    ))
}

/// A token with these claims, signed with `key`.
fn token(key: &str, claims: &str) -> String {
    let encode = |part: &[u8]| URL_SAFE_NO_PAD.encode(part);
    let message = format!("{}.{}", encode(br#"{"alg":"HS256","typ":"JWT"}"#), encode(claims.as_bytes()));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()), message.as_bytes());
    format!("{message}.{}", encode(signature.as_ref()))
}

/// A token that is good for a long time.
fn good(claims: &str) -> String {
    token(KEY, &format!(r#"{{"exp":32503680000,{claims}}}"#))
}

/// Connects with a token in `auth`; gives what the CONNECT packet is answered with.
async fn show(client: &mut Client, token: &str) -> String {
    client.send(&format!(r#"0{{"token":"{token}"}}"#));
    client.next().await
}

fn denied(message: &str, code: &str) -> String {
    format!(r#"4{{"message":"{message}","data":{{"code":"{code}"}}}}"#)
}

#[tokio::test]
async fn without_a_good_token_nobody_connects_and_is_told_why() {
    let io = guarded(r#"["auth"]"#);
    let changed = good(r#""sub":"ann""#).replace("eyJleH", "eyJleI");
    for (token, answer) in [
        (String::new(), denied("a token is needed", "token_missing")),
        ("open sesame".into(), denied("the token is not valid", "token_invalid")),
        (
            token("another secret, as long as the first one", r#"{"exp":32503680000}"#),
            denied("the token is not valid", "token_invalid"),
        ),
        (changed, denied("the token is not valid", "token_invalid")),
        (token(KEY, r#"{"exp":1000}"#), denied("the token has expired", "token_expired")),
        (token(KEY, r#"{"sub":"ann"}"#), denied("the token is not valid", "token_invalid")),
        (good(r#""nbf":32503670000"#), denied("the token is not valid yet", "token_early")),
        (
            good(r#""rooms":["_admin"]"#),
            denied("the token names a user or rooms that are not allowed", "token_claims"),
        ),
    ] {
        let mut client = Client::open(&io);
        assert_eq!(show(&mut client, &token).await, answer, "{token}");
    }
    let mut client = Client::open(&io);
    for (packet, answer) in [
        ("0", denied("a token is needed", "token_missing")),
        (r#"0{"token":{"a":1}}"#, denied("the token is not valid", "token_invalid")),
        (r#"0{"tokens":"x"}"#, denied("a token is needed", "token_missing")),
    ] {
        client.send(packet);
        assert_eq!(client.next().await, answer, "{packet}");
    }
    // The connection is kept: the client may try again with a better one.
    assert!(show(&mut client, &good(r#""sub":"ann""#)).await.starts_with(r#"0{"sid":"#));
    assert_eq!(io.hub().counters().connects.get(), 1);
    assert_eq!(io.hub().counters().connects_refused.get(), 11);
}

#[tokio::test]
async fn the_user_of_the_token_opens_its_own_rooms_and_no_others() {
    let io = guarded(r#"["auth"]"#);
    let mut star = Client::open(&io);
    show(&mut star, &good(r#""sub":"*""#)).await;
    assert_eq!(star.ask(r#"["join","inbox-*"]"#).await, OK);
    assert_eq!(star.ask(r#"["join","inbox-ann"]"#).await, refused(Denied::NotAllowed));

    let mut ann = Client::open(&io);
    show(&mut ann, &good(r#""sub":"ann""#)).await;
    assert_eq!(ann.ask(r#"["join","inbox-ann"]"#).await, OK);
    assert_eq!(ann.ask(r#"["join","inbox-*"]"#).await, refused(Denied::NotAllowed));
    assert_eq!(ann.ask(r#"["join","lobby"]"#).await, OK);

    let mut nobody = Client::open(&io);
    show(&mut nobody, &good(r#""admin":true"#)).await;
    assert_eq!(nobody.ask(r#"["join","inbox-"]"#).await, refused(Denied::NotAllowed));
    assert_eq!(nobody.ask(r#"["join","inbox-{user}"]"#).await, refused(Denied::NotAllowed));
    assert_eq!(nobody.ask(r#"["join","lobby"]"#).await, OK);

    assert_eq!(nobody.ask(r#"["say","inbox-ann","hello"]"#).await, OK);
    assert_eq!(ann.got(), [r#"2["say","inbox-ann","hello"]"#]);
    assert_eq!(star.got(), Vec::<String>::new());
}

#[tokio::test]
async fn the_rooms_of_the_token_are_joined_with_the_connect() {
    let io = guarded(r#"["auth"]"#);
    let (mut member, mut other) = (Client::open(&io), Client::open(&io));
    show(&mut member, &good(r#""sub":"ann","rooms":["team-1","team-2"]"#)).await;
    show(&mut other, &good(r#""sub":"bob""#)).await;
    assert_eq!(other.ask(r#"["say","team-2","hello"]"#).await, OK);
    assert_eq!(member.got(), [r#"2["say","team-2","hello"]"#]);
    // A refused client is in none of them.
    let mut refused = Client::open(&io);
    show(&mut refused, &token(KEY, r#"{"exp":1000,"rooms":["team-3"]}"#)).await;
    assert!(!io.hub().interested("/", &["team-3".into()]));
}

#[tokio::test]
async fn a_token_is_taken_from_where_the_configuration_says() {
    let (token, other) = (good(r#""sub":"ann""#), "x".to_owned());
    let missing = denied("a token is needed", "token_missing");
    for (from, auth, header, query, welcome) in [
        (r#"["auth"]"#, "", &token, &token, false),
        (r#"["header"]"#, "", &token, &other, true),
        (r#"["header"]"#, &*token, &String::new(), &token, false),
        (r#"["query"]"#, "", &other, &token, true),
        (r#"["header", "query", "auth"]"#, &*token, &String::new(), &String::new(), true),
        (r#"["query", "header"]"#, "", &token, &String::new(), true),
    ] {
        let io = guarded(from);
        let mut client = Client::arrive(&io, &format!("&token=first&token={query}"), &format!("bEARER {header}"));
        let answer = show(&mut client, auth).await;
        assert_eq!(answer.starts_with(r#"0{"sid":"#), welcome, "{from} {answer}");
        assert!(welcome || answer == missing, "{from} {answer}");
    }
    let io = guarded(r#"["header"]"#);
    let mut client = Client::arrive(&io, "", &format!("Basic {token}"));
    assert_eq!(show(&mut client, "").await, missing, "another scheme is no token");
}

#[tokio::test]
async fn static_keys_open_their_namespace_and_no_other() {
    let io = broker(
        "[[namespace]]\nname = \"/a\"\nconnect.token.keys = [\"the first key of /a\", \"the second key of /a\"]\n\
         [[namespace]]\nname = \"/b\"\nconnect.token.keys = [\"the only key of /b\"]",
    );
    for (key, a, b) in [
        ("the first key of /a", true, false),
        ("the second key of /a", true, false),
        ("the only key of /b", false, true),
    ] {
        for (namespace, welcome) in [("/a", a), ("/b", b)] {
            let mut client = Client::open(&io);
            client.send(&format!(r#"0{namespace},{{"token":"{key}"}}"#));
            let answer = client.next().await;
            assert_eq!(answer.starts_with(&format!(r#"0{namespace},{{"sid":"#)), welcome, "{answer}");
        }
    }
}

#[tokio::test]
async fn namespaces_of_a_pattern_come_to_be_by_being_asked_for_and_are_apart() {
    let io = broker(&format!(
        "[[namespace]]\nname = \"/tenant-*\"\nconnect.token = {{ algorithm = \"HS256\", key = \"{KEY}\" }}\n\
         on_connect = [{{ event = \"welcome\" }}]\nrule = [{{ event = \"say\", action = \"emit\" }}]"
    ));
    let mut clients = Vec::new();
    for namespace in ["/tenant-1", "/tenant-1", "/tenant-2"] {
        let mut client = Client::open(&io);
        client.send(&format!("0{namespace},"));
        let refused = format!(r#"4{namespace},{{"message":"a token is needed","data":{{"code":"token_missing"}}}}"#);
        assert_eq!(client.next().await, refused);
        client.send(&format!(r#"0{namespace},{{"token":"{}"}}"#, good(r#""sub":"ann""#)));
        let mut got = Vec::new();
        while got.len() < 2 {
            got.extend(client.got());
            tokio::task::yield_now().await;
        }
        assert_eq!(got[1], format!(r#"2{namespace},["welcome"]"#), "{got:?}");
        clients.push(client);
    }
    clients[0].send(r#"2/tenant-1,7["say","hello"]"#);
    let said = r#"2/tenant-1,["say","hello"]"#;
    assert_eq!(clients[1].next().await, said);
    assert_eq!(clients[2].got(), Vec::<String>::new());

    let mut stranger = Client::open(&io);
    for namespace in ["/tenant", "/tenants-1", "/tenant-*"] {
        stranger.send(&format!("0{namespace},"));
        let answer = stranger.next().await;
        let covered = namespace == "/tenant-*";
        assert_eq!(answer.contains("Invalid namespace"), !covered, "{answer}");
        assert_eq!(
            answer.contains("token_missing"),
            covered,
            "a name with a star is one like others: {answer}"
        );
    }
}

/// Clients of Socket.IO 2 are in `/` without a word, and put what they have to say into a query.
#[tokio::test]
async fn older_clients_show_their_token_in_a_query() {
    let token = good(r#""sub":"ann""#);
    let io = guarded(r#"["query"]"#);
    let mut ann = Client::arrive_as(&io, Revision::V3, &format!("&token={token}"), "");
    assert_eq!(ann.next().await, "0");
    assert_eq!(ann.ask(r#"["join","inbox-ann"]"#).await, OK);
    let nobody = Client::arrive_as(&io, Revision::V3, "", "");
    assert_eq!(
        nobody.next().await,
        r#"4{"code":"token_missing"}"#,
        "the data of an error is all that they are told"
    );

    let io = broker(&format!(
        "[[namespace]]\nname = \"/a\"\nconnect.token = {{ algorithm = \"HS256\", key = \"{KEY}\" }}"
    ));
    let mut client = Client::arrive_as(&io, Revision::V3, "", "");
    assert_eq!(client.next().await, "0");
    client.send(&format!("0/a?token={token},"));
    assert_eq!(client.next().await, "0/a,");
}
