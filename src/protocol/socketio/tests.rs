//! Packets as text, their attachments, and typed values: literal transcripts, round trips, and whatever a peer may send.

#![expect(clippy::string_slice, reason = "a test that panics has failed, and says where")]

use std::{borrow::Cow, collections::BTreeMap, fmt};

use bytes::Bytes;
use proptest::{collection::vec, prelude::*, sample::Index};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{
        self, IgnoredAny, MapAccess, SeqAccess, Visitor,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
};
use serde_json::{Value, json};

use super::*;

const LIMITS: Limits = Limits {
    max_attachments: 10,
    max_depth: 64,
    max_bytes: 1_000_000,
};

/// The default parser on one connection.
struct Connection {
    assembler: Assembler,
    limits: Limits,
}

impl Connection {
    fn new(limits: Limits) -> Self {
        Self {
            assembler: Assembler::new(),
            limits,
        }
    }

    fn text<'a>(&mut self, text: &'a str) -> Result<Option<Assembled<'a>>, DecodeError> {
        self.assembler.take(Message::Text(text), &JsonParser, &self.limits)
    }

    fn binary(&mut self, data: Bytes) -> Result<Option<Assembled<'static>>, DecodeError> {
        self.assembler.take(Message::Binary(data), &JsonParser, &self.limits)
    }

    fn is_pending(&self) -> bool {
        self.assembler.is_pending()
    }
}

fn decode(text: &str) -> Result<Packet<'_>, DecodeError> {
    text::decode(text, &LIMITS)
}

fn packet<'a>(kind: Kind, namespace: &'a str, id: Option<u64>, attachments: usize, data: Option<&'a str>) -> Packet<'a> {
    Packet {
        kind,
        namespace: Cow::Borrowed(namespace),
        id,
        attachments,
        data: data.map(Cow::Borrowed),
    }
}

#[test]
fn packets_of_the_transcripts_decode_and_encode() {
    let bin = r#"["bin",{"_placeholder":true,"num":0}]"#;
    for (text, expected) in [
        ("40", packet(Kind::Connect, "/", None, 0, None)),
        (r#"40{"token":1}"#, packet(Kind::Connect, "/", None, 0, Some(r#"{"token":1}"#))),
        (
            r#"40/chat,{"sid":"P"}"#,
            packet(Kind::Connect, "/chat", None, 0, Some(r#"{"sid":"P"}"#)),
        ),
        ("40/custom?a=b,", packet(Kind::Connect, "/custom?a=b", None, 0, None)),
        ("41", packet(Kind::Disconnect, "/", None, 0, None)),
        ("41/chat,", packet(Kind::Disconnect, "/chat", None, 0, None)),
        (r#"42["welcome"]"#, packet(Kind::Event, "/", None, 0, Some(r#"["welcome"]"#))),
        (r#"420["rpc",1]"#, packet(Kind::Event, "/", Some(0), 0, Some(r#"["rpc",1]"#))),
        (
            r#"42/chat,17["rpc"]"#,
            packet(Kind::Event, "/chat", Some(17), 0, Some(r#"["rpc"]"#)),
        ),
        (r#"430["ok"]"#, packet(Kind::Ack, "/", Some(0), 0, Some(r#"["ok"]"#))),
        ("430[]", packet(Kind::Ack, "/", Some(0), 0, Some("[]"))),
        (&format!("451-{bin}"), packet(Kind::Event, "/", None, 1, Some(bin))),
        (&format!("461-/chat,7{bin}"), packet(Kind::Ack, "/chat", Some(7), 1, Some(bin))),
        (
            r#"44/nope,{"message":"Invalid namespace"}"#,
            packet(Kind::ConnectError, "/nope", None, 0, Some(r#"{"message":"Invalid namespace"}"#)),
        ),
        (r#"44"nope""#, packet(Kind::ConnectError, "/", None, 0, Some(r#""nope""#))),
    ] {
        // The first character is Engine.IO's type `message`.
        assert_eq!(decode(&text[1..]).as_ref(), Ok(&expected), "{text}");
        assert_eq!(text::encode(&expected), text[1..]);
    }
}

#[test]
fn forms_that_are_not_canonical_are_understood() {
    for (text, expected) in [
        ("0/custom", packet(Kind::Connect, "/custom", None, 0, None)),
        ("1/custom", packet(Kind::Disconnect, "/custom", None, 0, None)),
        ("44", packet(Kind::ConnectError, "/", Some(4), 0, None)),
        (r#"2007["a"]"#, packet(Kind::Event, "/", Some(7), 0, Some(r#"["a"]"#))),
        (r#"2/,["a"]"#, packet(Kind::Event, "/", None, 0, Some(r#"["a"]"#))),
        (r#"50-["x"]"#, packet(Kind::Event, "/", None, 0, Some(r#"["x"]"#))),
        ("2 [ 1.5 , \"x\" ]\n", packet(Kind::Event, "/", None, 0, Some("[ 1.5 , \"x\" ]"))),
        (
            r#"29007199254740991["a"]"#,
            packet(Kind::Event, "/", Some((1 << 53) - 1), 0, Some(r#"["a"]"#)),
        ),
        (r#"2["connection"]"#, packet(Kind::Event, "/", None, 0, Some(r#"["connection"]"#))),
        (
            r#"2["a",{"_placeholder":true,"num":3}]"#,
            packet(Kind::Event, "/", None, 0, Some(r#"["a",{"_placeholder":true,"num":3}]"#)),
        ),
    ] {
        assert_eq!(decode(text), Ok(expected), "{text}");
    }
}

#[test]
fn what_is_no_packet_is_refused_by_name() {
    use DecodeError::*;
    for (text, error) in [
        ("", Empty),
        ("7", UnknownType('7')),
        ("x", UnknownType('x')),
        ("é", UnknownType('é')),
        ("0[]", InvalidPayload(Kind::Connect)),
        ("0null", InvalidPayload(Kind::Connect)),
        ("0\"x\"", InvalidPayload(Kind::Connect)),
        ("0{", InvalidJson { offset: 1 }),
        ("0{}{}", InvalidJson { offset: 2 }),
        ("1{}", InvalidPayload(Kind::Disconnect)),
        ("51-", InvalidPayload(Kind::Event)),
        ("2{}", InvalidPayload(Kind::Event)),
        ("2[]", InvalidPayload(Kind::Event)),
        ("2[null]", InvalidPayload(Kind::Event)),
        ("2[[\"a\"]]", InvalidPayload(Kind::Event)),
        ("2[\"a\"", InvalidJson { offset: 4 }),
        ("2[\"a\",]", InvalidJson { offset: 5 }),
        ("2[\"a\"]]", InvalidJson { offset: 4 }),
        ("2[\"a\"]x]", InvalidJson { offset: 4 }),
        ("2[", InvalidJson { offset: 1 }),
        ("2[\"connect\"]", ReservedEvent("connect")),
        ("2[\"\\u0063onnect\"]", ReservedEvent("connect")),
        ("50-[\"disconnect\"]", ReservedEvent("disconnect")),
        ("31{}", InvalidPayload(Kind::Ack)),
        ("4[]", InvalidPayload(Kind::ConnectError)),
        ("29007199254740992[\"a\"]", IdTooLarge),
        ("299999999999999999999[\"a\"]", IdTooLarge),
        ("5[\"a\"]", IllegalAttachments),
        ("5-[\"a\"]", IllegalAttachments),
        ("51", IllegalAttachments),
        ("5x-[\"a\"]", IllegalAttachments),
        ("51.5-[\"a\"]", IllegalAttachments),
        ("5+1-[\"a\"]", IllegalAttachments),
        ("511-[\"a\"]", TooManyAttachments { max: 10 }),
        ("599999999999999999999999-[\"a\"]", TooManyAttachments { max: 10 }),
    ] {
        assert_eq!(decode(text), Err(error), "{text}");
    }
    assert_eq!(
        text::decode("2[\"ab\"]", &Limits { max_bytes: 6, ..LIMITS }),
        Err(TooLarge { max: 6 })
    );
    for reserved in RESERVED_EVENTS {
        assert_eq!(decode(&format!("2[\"{reserved}\"]")), Err(ReservedEvent(reserved)));
    }
}

#[test]
fn placeholders_must_name_announced_attachments() {
    for (object, legal) in [
        (r#"{"_placeholder":true,"num":1}"#, true),
        (r#"{"num":0,"x":[],"_placeholder":true}"#, true),
        (r#"{"_placeholder":false,"num":9}"#, true),
        (r#"{"_placeholder":"true","num":9}"#, true),
        (r#"{"_placeholder":[true],"num":9}"#, true),
        (r#"{"_placeholder":true,"num":2}"#, false),
        (r#"{"_placeholder":true,"num":-1}"#, false),
        (r#"{"_placeholder":true,"num":0.5}"#, false),
        (r#"{"_placeholder":true,"num":"0"}"#, false),
        (r#"{"_placeholder":true,"num":[0]}"#, false),
        (r#"{"_placeholder":true}"#, false),
        (r#"{"\u005fplaceholder":true,"num":2}"#, false),
        (r#"{"_placeholder":false,"num":2,"_placeholder":true}"#, false),
        (r#"{"_placeholder":true,"num":2,"_placeholder":false}"#, true),
        (r#"{"_placeholder":true,"num":0,"num":{}}"#, false),
        (r#"{"a":[1,{"b":{"_placeholder":true,"num":2}}]}"#, false),
        (r#"[{"_placeholder":true,"num":1},{"_placeholder":true,"num":1}]"#, true),
    ] {
        let result = decode(&format!(r#"52-["x",{object}]"#)).map(drop);
        assert_eq!(
            result,
            if legal { Ok(()) } else { Err(DecodeError::IllegalAttachments) },
            "{object}"
        );
    }
}

#[test]
fn nesting_is_bounded_without_recursion() {
    let nested = |depth: usize| format!("2[\"a\",{}{}]", "[".repeat(depth - 1), "]".repeat(depth - 1));
    assert!(decode(&nested(64)).is_ok());
    assert_eq!(decode(&nested(65)), Err(DecodeError::TooDeep { max: 64 }));
    assert_eq!(decode(&nested(400_000)), Err(DecodeError::TooDeep { max: 64 }));
    assert!(
        decode(&format!("2[\"{}\"]", "[{".repeat(1000))).is_ok(),
        "brackets in a string do not nest"
    );
    assert!(decode(r#"2["a","\"[[[[\\"]"#).is_ok());
    let generous = Limits {
        max_depth: usize::MAX,
        ..LIMITS
    };
    assert!(text::decode(&nested(127), &generous).is_ok());
    assert_eq!(text::decode(&nested(128), &generous), Err(DecodeError::TooDeep { max: 127 }));
    let payload = Payload::from_parts(nested(127)[1..].to_owned().into(), Attachments::new()).unwrap();
    assert!(payload.arg::<Value>(0).is_ok(), "what is accepted can be decoded");
    let objects = format!("0{}1{}", "{\"a\":".repeat(64), "}".repeat(64));
    assert!(decode(&objects).is_ok());
    assert_eq!(
        text::decode(&objects, &Limits { max_depth: 63, ..LIMITS }),
        Err(DecodeError::TooDeep { max: 63 })
    );
    assert_eq!(
        text::decode("2[\"a\"]", &Limits { max_depth: 0, ..LIMITS }),
        Err(DecodeError::TooDeep { max: 0 })
    );
}

#[test]
fn event_name_splits_the_array() {
    for (data, expected) in [
        (r#"["a"]"#, Some(("a", ""))),
        (r#"["a",1,[2]]"#, Some(("a", "1,[2]"))),
        (r#" [ "a" , 1 ] "#, Some(("a", "1"))),
        (r#"["\"\u00e9",null]"#, Some(("\"é", "null"))),
        ("[42,true]", Some(("42", "true"))),
        ("[-1.5e3]", Some(("-1.5e3", ""))),
        ("[]", None),
        ("[null]", None),
        ("[[]]", None),
        ("[\"a\"", None),
        ("", None),
        ("]", None),
        ("[", None),
        (r#"["\ud800"]"#, None),
    ] {
        assert_eq!(event_name(data), expected.map(|(name, args)| (name.into(), args)), "{data}");
    }
}

#[test]
fn assembler_waits_for_attachments_and_forgets_after_errors() {
    let mut assembler = Connection::new(LIMITS);
    let text = r#"52-["bin",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]"#;
    let event = |assembler: &mut Connection| assembler.text(r#"2["x"]"#).map(|assembled| assembled.is_some());
    assert_eq!(assembler.text(text), Ok(None));
    assert_eq!(assembler.binary("one".into()), Ok(None));
    assert!(assembler.is_pending());
    let assembled = assembler.binary("two".into()).unwrap().unwrap();
    assert_eq!(assembled.packet, decode(text).unwrap());
    let payload = assembled.into_payload();
    assert_eq!(
        (payload.json(), payload.attachments()),
        (&text[3..], &[Bytes::from("one"), Bytes::from("two")][..])
    );
    assert_eq!(event(&mut assembler), Ok(true));

    assert_eq!(assembler.binary("x".into()), Err(DecodeError::UnexpectedBinary));
    assert_eq!(assembler.text(text), Ok(None));
    assert_eq!(event(&mut assembler), Err(DecodeError::AttachmentsMissing));
    assert_eq!(event(&mut assembler), Ok(true), "nothing waits any more");

    let empty = assembler.text(r#"50-["x"]"#).unwrap().unwrap();
    assert_eq!(empty.into_payload().json(), r#"["x"]"#);
    assert_eq!(event(&mut assembler), Ok(true), "no attachments, none awaited");

    let connect = assembler.text("0").unwrap().unwrap();
    assert_eq!(connect.into_payload().json(), "[]");
}

#[test]
fn assembler_bounds_text_and_attachments_together() {
    let text = r#"52-["x"]"#;
    let mut assembler = Connection::new(Limits {
        max_bytes: text.len() + 10,
        ..LIMITS
    });
    for (second, fits) in [("12345", true), ("123456", false)] {
        assert_eq!(assembler.text(text), Ok(None));
        assert_eq!(assembler.binary("12345".into()), Ok(None));
        let result = assembler.binary(second.into()).map(|assembled| assembled.is_some());
        assert_eq!(
            result,
            if fits {
                Ok(true)
            } else {
                Err(DecodeError::TooLarge { max: text.len() + 10 })
            }
        );
        assert!(!assembler.is_pending());
    }
}

/// JSON with binary values anywhere in it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
enum Tree {
    Null,
    Bool(bool),
    Number(i64),
    Text(String),
    Binary(Bytes),
    List(Vec<Tree>),
    Map(BTreeMap<String, Tree>),
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

/// (An untagged enum would take bytes that are UTF-8 for text.)
struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON or bytes")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Number(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Tree, E> {
        i64::try_from(value).map(Tree::Number).map_err(E::custom)
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Text(value.into()))
    }

    fn visit_byte_buf<E>(self, value: Vec<u8>) -> Result<Tree, E> {
        Ok(Tree::Binary(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Tree, A::Error> {
        Deserialize::deserialize(SeqAccessDeserializer::new(seq)).map(Tree::List)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Tree, A::Error> {
        Deserialize::deserialize(MapAccessDeserializer::new(map)).map(Tree::Map)
    }
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        Just(Tree::Null),
        any::<bool>().prop_map(Tree::Bool),
        any::<i64>().prop_map(Tree::Number),
        ".{0,12}".prop_map(Tree::Text),
        vec(any::<u8>(), 0..12).prop_map(|data| Tree::Binary(data.into())),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Tree::List),
            proptest::collection::btree_map("[a-z_]{0,6}", inner, 0..5).prop_map(Tree::Map),
        ]
    })
}

impl Tree {
    fn count_binary(&self) -> usize {
        match self {
            Self::Binary(_) => 1,
            Self::List(list) => list.iter().map(Self::count_binary).sum(),
            Self::Map(map) => map.values().map(Self::count_binary).sum(),
            _ => 0,
        }
    }
}

/// A valid packet as it stands on the wire.
fn wire() -> impl Strategy<Value = (String, Vec<Bytes>)> {
    (
        any::<bool>(),
        "(/|/[a-z?=]{1,8})",
        proptest::option::of(0..1_u64 << 53),
        vec(tree(), 0..4),
    )
        .prop_map(|(ack, namespace, id, trees)| {
            let args: Vec<_> = trees.iter().collect();
            let payload = Payload::ack(&args).unwrap();
            let kind = if ack { Kind::Ack } else { Kind::Event };
            // The one argument is an array; with a name in front it is an event's.
            let json = &payload.json()[1..payload.json().len() - 1];
            let data = if ack {
                json.to_owned()
            } else {
                json.replacen('[', if trees.is_empty() { "[\"ev\"" } else { "[\"ev\"," }, 1)
            };
            let head = text::head(kind, &namespace, id, payload.attachments().len());
            (head + &data, payload.attachments().to_vec())
        })
}

/// Runs messages through an assembler, and everything that comes out of it through the decoders of values.
fn digest(messages: impl IntoIterator<Item = Result<String, Bytes>>) -> usize {
    let mut assembler = Connection::new(Limits {
        max_attachments: 1000,
        ..LIMITS
    });
    let mut packets = 0;
    for message in messages {
        let assembled = match message {
            Ok(text) => assembler
                .text(&text)
                .map(|assembled| assembled.map(|assembled| (assembled.packet.into_owned(), assembled.attachments))),
            Err(data) => assembler
                .binary(data)
                .map(|assembled| assembled.map(|assembled| (assembled.packet, assembled.attachments))),
        };
        if let Ok(Some((packet, attachments))) = assembled {
            packets += 1;
            assert_eq!(packet.attachments, attachments.len());
            let payload = Assembled {
                packet: packet.clone(),
                attachments,
            }
            .into_payload();
            drop(payload.arguments().decode::<Tree>());
            drop(payload.args::<(Tree, Option<Tree>, Value)>());
            if packet.kind == Kind::Event && packet.data.is_some() {
                let (_, arguments) = payload.as_event().expect("an event with data has a name");
                assert!(
                    arguments
                        .iter()
                        .all(|argument| serde_json::from_str::<IgnoredAny>(argument).is_ok())
                );
            }
            drop(format!("{payload:?}"));
        }
    }
    packets
}

proptest! {
    #[test]
    fn values_survive_the_wire(trees in vec(tree(), 3), id in proptest::option::of(0..1_u64 << 53), name in "[^\u{0}]{1,10}") {
        prop_assume!(!is_reserved(&name));
        let args = (&trees[0], &trees[1], &trees[2]);
        let payload = Payload::event(&name, &args).unwrap();
        prop_assert_eq!(payload.attachments().len(), trees.iter().map(Tree::count_binary).sum::<usize>());

        let text = text::head(Kind::Event, "/chat", id, payload.attachments().len()) + payload.json();
        let mut assembler = Connection::new(Limits { max_attachments: 1000, ..LIMITS });
        let mut assembled = assembler.text(&text).unwrap();
        for attachment in payload.attachments() {
            prop_assert_eq!(assembled, None);
            assembled = assembler.binary(attachment.clone()).unwrap();
        }
        let assembled = assembled.unwrap();
        prop_assert_eq!((&*assembled.packet.namespace, assembled.packet.id), ("/chat", id));
        let received = assembled.into_payload();
        prop_assert_eq!(&received, &payload);
        prop_assert_eq!(received.as_event().unwrap().0, name);
        let (a, b, c): (Tree, Tree, Tree) = received.args().unwrap();
        prop_assert_eq!(vec![a, b, c], trees.clone());
        prop_assert_eq!(&received.arg::<Tree>(1).unwrap(), &trees[1]);
    }

    #[test]
    fn packets_survive_the_wire(
        kind in 0..5_usize,
        namespace in "/[^,]{0,12}",
        id in proptest::option::of(0..1_u64 << 53),
        attachments in 0..=10_usize,
        args in vec("[^\u{0}]{0,8}", 1..4),
    ) {
        let list = serde_json::to_string(&args).unwrap();
        prop_assume!(!is_reserved(&args[0]));
        let (kind, attachments, data) = match kind {
            0 => (Kind::Connect, 0, Some("{\"a\":1}")),
            1 => (Kind::Disconnect, 0, None),
            2 => (Kind::Event, attachments, Some(list.as_str())),
            3 => (Kind::Ack, attachments, Some(list.as_str())),
            _ => (Kind::ConnectError, 0, Some("\"no\"")),
        };
        let packet = packet(kind, &namespace, id, attachments, data);
        let text = text::encode(&packet);
        prop_assert_eq!(decode(&text), Ok(packet));
    }

    #[test]
    fn valid_packets_are_taken((text, attachments) in wire()) {
        prop_assert_eq!(digest([Ok(text)].into_iter().chain(attachments.into_iter().map(Err))), 1);
    }

    #[test]
    fn no_message_panics(messages in vec(prop_oneof![
        ".{0,60}".prop_map(Ok),
        "[0-6][0-9/,-]{0,4}[\\[\\]{}\",:0-9a-z_\\\\ .-]{0,60}".prop_map(Ok),
        vec(any::<u8>(), 0..8).prop_map(|data| Err(data.into())),
    ], 0..6)) {
        digest(messages);
    }

    #[test]
    fn no_mutation_of_a_valid_packet_panics(
        (text, attachments) in wire(),
        edits in vec((any::<Index>(), "[\\[\\]{}\",:0-9\\\\e -]{0,2}"), 1..4),
    ) {
        let mut characters: Vec<String> = text.chars().map(String::from).collect();
        for (place, edit) in edits {
            let place = place.index(characters.len());
            characters[place] = edit;
        }
        digest([Ok(characters.concat())].into_iter().chain(attachments.into_iter().map(Err)));
    }

    #[test]
    fn json_is_what_serde_json_skips_over(
        seed in prop_oneof![
            "[\\[\\]{}\",:0-9truefalsn\\\\ .eE+-]{0,24}",
            tree().prop_map(|tree| serde_json::to_string(&tree).unwrap()),
        ],
        edits in vec((any::<Index>(), "[\\[\\]{}\",:0-9\\\\eu\t -]{0,2}"), 0..3),
    ) {
        let mut characters: Vec<String> = seed.chars().map(String::from).collect();
        for (place, edit) in edits {
            if !characters.is_empty() {
                let place = place.index(characters.len());
                characters[place] = edit;
            }
        }
        let text = characters.concat();
        let rules = json::Rules { depth: usize::MAX, attachments: None };
        let accepted = json::check(&text, rules).is_ok();
        prop_assert_eq!(accepted, serde_json::from_str::<IgnoredAny>(&text).is_ok(), "{}", text);
        let elements = json::Elements::of_array(&text, rules).and_then(|mut elements| elements.try_for_each(|element| element.map(drop)));
        prop_assert_eq!(elements.is_ok(), accepted && text.trim_matches(json::SPACE).starts_with('['), "{}", text);
    }
}

#[test]
fn placeholder_shape_is_the_reference_s() {
    let payload = Payload::event("bin", &(Bytes::from_static(&[1]), json!({"a": 1}))).unwrap();
    assert_eq!(payload.json(), r#"["bin",{"_placeholder":true,"num":0},{"a":1}]"#);
    assert_eq!(payload.size(), payload.json().len() + 1);
}
