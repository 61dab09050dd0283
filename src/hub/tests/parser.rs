//! A hub with a parser of the application's own: whatever it sends and reads goes through it.

use std::{borrow::Cow, str};

use super::*;
use crate::{
    hub::{Ack, AckError, Args, ConnectError, Data, Date, EmitError, EventMut, JsonParser, MsgpackParser, Raw, Socket},
    protocol::socketio::{
        Assembled, Attachments, DecodeError, Decoded, EncodeError, Encoded, Kind, Limits, Message, Packet, Parser, Pending, Unencodable,
        text,
    },
};

/// The default parser's text, reversed, in binary messages; an event called `long` is continued in a second message. Cannot encode
/// attachments.
#[derive(Debug)]
struct Mirror;

impl Parser for Mirror {
    fn encode<'a>(&self, packet: &'a Packet<'_>, _: &'a [Bytes]) -> Result<Encoded<'a>, Unencodable> {
        if packet.attachments > 0 {
            return Err(Unencodable(Cow::Borrowed("a mirror shows no attachments")));
        }
        Ok(Encoded::Binary(text::encode(packet).bytes().rev().collect()))
    }

    fn decode<'a>(&self, message: Message<'a>, limits: &Limits) -> Result<Decoded<'a>, DecodeError> {
        let text = mirrored(message)?;
        if text == "long" {
            return Ok(Decoded::Pending(Box::new(Long)));
        }
        let packet = text::decode(&text, limits)?.into_owned();
        Ok(Decoded::Packet(Assembled {
            packet,
            attachments: Attachments::new(),
        }))
    }
}

#[derive(Debug)]
struct Long;

impl Pending for Long {
    fn proceed(self: Box<Self>, message: Message<'_>, limits: &Limits) -> Result<Decoded<'static>, DecodeError> {
        let text = mirrored(message)?;
        let packet = text::decode(&text, limits)?.into_owned();
        Ok(Decoded::Packet(Assembled {
            packet,
            attachments: Attachments::new(),
        }))
    }
}

fn mirrored(message: Message<'_>) -> Result<String, DecodeError> {
    let Message::Binary(bytes) = message else {
        return Err(DecodeError::Foreign(Cow::Borrowed("a text message")));
    };
    String::from_utf8(bytes.iter().rev().copied().collect()).map_err(|_| DecodeError::Foreign(Cow::Borrowed("not UTF-8")))
}

fn mirrors() -> Io {
    server_with(Config {
        parser: Arc::new(Mirror),
        ..Config::default()
    })
}

fn send(peer: &mut Peer, text: &str) -> Flow {
    peer.connection.message(Incoming::Binary(text.bytes().rev().collect()))
}

/// What came, un-mirrored; a text message would come as such, in front.
fn got(peer: &Peer) -> Vec<String> {
    let frames = peer.tap.frames().into_iter();
    frames
        .map(|(text, attachments)| {
            text + &attachments
                .iter()
                .flat_map(|bytes| bytes.iter().rev())
                .map(|byte| char::from(*byte))
                .collect::<String>()
        })
        .collect()
}

fn joined(io: &Io) -> Peer {
    let mut peer = Peer::open(io);
    assert_eq!(send(&mut peer, "0"), Flow::Continue);
    assert!(matches!(&got(&peer)[..], [answer] if answer.starts_with(r#"0{"sid":""#)));
    peer
}

#[tokio::test]
async fn every_packet_goes_through_the_parser() {
    let io = mirrors();
    io.of("/")
        .on("double", async |Data(number): Data<u32>, ack: Ack| ack.send(&(number * 2)))
        .unwrap();
    io.of("/closed").with(async || Err::<(), _>(ConnectError::new("no"))).unwrap();
    let (mut one, other) = (joined(&io), joined(&io));
    assert_eq!(send(&mut one, r#"27["double",21]"#), Flow::Continue);
    quiet(&io).await;
    assert_eq!(got(&one), ["37[42]"]);
    assert_eq!(send(&mut one, "0/closed"), Flow::Continue);
    assert_eq!(send(&mut one, "0/nowhere"), Flow::Continue);
    quiet(&io).await;
    let mut refusals = got(&one);
    refusals.sort();
    assert_eq!(
        refusals,
        [r#"4/closed,{"message":"no"}"#, r#"4/nowhere,{"message":"Invalid namespace"}"#]
    );

    io.emit("all", &(1, "x")).unwrap();
    assert_eq!(got(&one), [r#"2["all",1,"x"]"#]);
    assert_eq!(got(&other), [r#"2["all",1,"x"]"#]);
    io.disconnect_sockets(false);
    assert_eq!(got(&other), ["1"]);
}

#[tokio::test]
async fn a_packet_may_take_several_messages_and_must_come_in_time() {
    let io = mirrors();
    io.of("/")
        .on("double", async |Data(number): Data<u32>, ack: Ack| ack.send(&(number * 2)))
        .unwrap();
    let mut peer = joined(&io);
    assert_eq!(send(&mut peer, "long"), Flow::Continue);
    assert!(peer.connection.deadline().is_some(), "what waits is not waited for endlessly");
    assert_eq!(send(&mut peer, r#"21["double",1]"#), Flow::Continue);
    assert!(peer.connection.deadline().is_none());
    quiet(&io).await;
    assert_eq!(got(&peer), ["31[2]"]);
}

#[tokio::test]
async fn what_the_parser_does_not_take_closes_the_connection() {
    let io = mirrors();
    for message in [
        Incoming::Text("0"),
        Incoming::Binary(Bytes::from_static(b"\xff")),
        Incoming::Binary(Bytes::from_static(b"[")),
    ] {
        let mut peer = joined(&io);
        assert_eq!(peer.connection.message(message), Flow::Close(CloseReason::ForcedClose));
    }
    assert_eq!(io.hub().counters().protocol_errors.get(), 3);
}

#[tokio::test]
async fn what_the_parser_cannot_encode_is_dropped_and_counted() {
    let io = mirrors();
    let (sockets, mut connected) = tokio::sync::mpsc::channel(2);
    io.of("/")
        .on_connect(move |socket: Socket| {
            let sockets = sockets.clone();
            async move { sockets.send(socket).await }
        })
        .unwrap();
    let (peer, _other) = (joined(&io), joined(&io));
    let socket = connected.recv().await.unwrap();
    let bytes = Bytes::from_static(b"x");
    assert!(matches!(socket.emit("e", &bytes), Err(EmitError::Encode(EncodeError::Parser(_)))));
    assert!(matches!(
        socket.emit_with_ack::<()>("e", &bytes).await,
        Err(AckError::Emit(EmitError::Encode(EncodeError::Parser(_))))
    ));
    io.emit("e", &bytes).unwrap();
    assert_eq!(
        io.hub().counters().unencodable.get(),
        3,
        "once for each packet, not for each recipient"
    );
    assert!(got(&peer).is_empty());
    assert_eq!(io.hub().counters().messages_out.get(), 0);
}

#[tokio::test]
async fn auth_and_arguments_in_msgpack_reach_handlers_as_typed_values() {
    let io = server_with(Config {
        parser: Arc::new(MsgpackParser),
        ..Config::default()
    });
    io.sockets()
        .with(async |Data(auth): Data<serde_json::Value>| {
            // `{token: undefined, since: new Date(1)}`
            if auth == serde_json::json!({"since": "1970-01-01T00:00:00.001Z"}) {
                Ok(())
            } else {
                Err(ConnectError::new(auth.to_string()))
            }
        })
        .unwrap();
    io.sockets()
        .on("typed", async |Args(typed): Args<(Option<u8>, i64, Bytes)>, ack: Ack| {
            assert_eq!(typed, (None, 1, Bytes::from_static(&[7])));
            ack.send(&typed)
        })
        .unwrap();
    let mut peer = Peer::open(&io);
    let connect = b"\x83\xa4type\0\xa3nsp\xa1/\xa4data\x82\xa5token\xd4\0\0\xa5since\xd7\0\0\0\0\0\0\0\0\x01";
    assert_eq!(peer.send_binary(connect), Flow::Continue);
    quiet(&io).await;
    let answer = peer.tap.frames().pop().unwrap().1.remove(0);
    assert!(answer.starts_with(b"\x83\xa4type\0\xa4data\x82\xa3sid"), "{answer:?}");
    // `emit("typed", undefined, new Date(1), new Uint8Array([7]), ack)`
    let event = b"\x84\xa4type\x02\xa4data\x94\xa5typed\xd4\0\0\xd7\0\0\0\0\0\0\0\0\x01\xc7\x01\0\x07\xa2id\x05\xa3nsp\xa1/";
    assert_eq!(peer.send_binary(event), Flow::Continue);
    quiet(&io).await;
    let answer = peer.tap.frames().pop().unwrap().1.remove(0);
    assert_eq!(
        answer,
        &b"\x84\xa2id\x05\xa4type\x03\xa4data\x93\xc0\x01\xc4\x01\x07\xa3nsp\xa1/"[..]
    );
}

/// Wherever an application emits, and in each of the forms that a client may know.
#[tokio::test]
async fn a_date_is_one_for_clients_with_msgpack_and_text_for_others() {
    let date = Date::from_millis(1_795_801_200_123).unwrap();
    for (parser, sent) in [
        (
            Arc::new(MsgpackParser) as Arc<dyn Parser>,
            &b"\xd7\x00\x00\x00\x01\xa2\x1e\x17\xb5\xfb"[..],
        ),
        (Arc::new(JsonParser), b"\"2026-11-27T17:40:00.123Z\""),
    ] {
        let io = server_with(Config {
            parser: Arc::clone(&parser),
            ..Config::default()
        });
        io.of("/")
            .with_packet(move |event: EventMut| std::future::ready(event.set_arg(0, &date)))
            .unwrap()
            .on("all", async |socket: Socket, raw: Raw, Data(date): Data<Date>, ack: Ack| {
                let io = socket.io().clone();
                socket.compress(false).emit("e", &date)?;
                socket.emit("e", &date)?;
                drop(socket.emit_with_ack::<()>("e", &date));
                io.emit("e", &date)?;
                drop(io.emit_with_ack::<()>("e", &date));
                io.all().emit_logged("e", &date)?.await?;
                io.all().emit_payload(raw.payload().clone())?;
                ack.send(&date)
            })
            .unwrap();
        let mut peer = Peer::open(&io);
        let mut give = |kind, id, data| {
            let packet = Packet {
                id,
                ..Packet::new(kind, "/", data)
            };
            match parser.encode(&packet, &[]).unwrap() {
                Encoded::Binary(message) => peer.connection.message(Incoming::Binary(message.into())),
                Encoded::Text { head, body, .. } => peer.connection.message(Incoming::Text(&format!("{head}{body}"))),
            }
        };
        assert_eq!(give(Kind::Connect, None, None), Flow::Continue);
        quiet(&io).await;
        assert_eq!(give(Kind::Event, Some(1), Some(r#"["all",0]"#)), Flow::Continue);
        quiet(&io).await;
        let frames = peer.tap.frames();
        let messages: Vec<Vec<u8>> = frames
            .into_iter()
            .map(|(text, attachments)| [text.as_bytes(), &attachments.concat()].concat())
            .filter(|message| message.windows(sent.len()).any(|part| part == sent))
            .collect();
        assert_eq!(messages.len(), 8, "{messages:?}");
    }
}
