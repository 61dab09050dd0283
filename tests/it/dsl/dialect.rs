//! What clients of each parser say and hear, told as the default parser writes it, so that one story is for all of them.

use std::{collections::BTreeMap, fmt, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use fanfare::hub::{JsonParser, MsgpackParser, Parser};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Value, json};

/// Which parser nodes and their clients use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Json,
    Msgpack,
}

impl Dialect {
    /// What the nodes are to be configured with.
    pub(crate) fn parser(self) -> Arc<dyn Parser> {
        match self {
            Self::Json => Arc::new(JsonParser),
            Self::Msgpack => Arc::new(MsgpackParser),
        }
    }

    /// A packet as it is sent over polling.
    pub(crate) fn polled(self, packet: &str) -> String {
        match self {
            Self::Json => packet.to_owned(),
            Self::Msgpack => format!("b{}", STANDARD.encode(to_msgpack(packet, &[]))),
        }
    }

    /// A packet as it came over polling.
    pub(crate) fn read_poll(self, packet: &str) -> String {
        match self {
            Self::Json => packet.to_owned(),
            Self::Msgpack => from_msgpack(&STANDARD.decode(packet.strip_prefix('b').unwrap()).unwrap()).0,
        }
    }
}

/// A packet of the msgpack parser.
#[derive(Debug, Serialize, Deserialize)]
struct Packet {
    #[serde(rename = "type")]
    kind: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<Tree>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    nsp: String,
}

/// JSON with bytes.
#[derive(Debug)]
enum Tree {
    Plain(Value),
    Bytes(Vec<u8>),
    List(Vec<Self>),
    Map(BTreeMap<String, Self>),
}

/// Writes a message of the default parser, which begins with `4`, as the msgpack parser does.
pub(crate) fn to_msgpack(message: &str, attachments: &[&[u8]]) -> Vec<u8> {
    let packet = message.strip_prefix('4').unwrap_or_else(|| panic!("no message: {message}"));
    let (kind, rest) = packet.split_at(1);
    let kind: u8 = kind.parse().unwrap();
    let rest = if kind >= 5 { rest.split_once('-').unwrap().1 } else { rest };
    let (nsp, rest) = if rest.starts_with('/') {
        rest.split_once(',').unwrap()
    } else {
        ("/", rest)
    };
    let json = rest.trim_start_matches(|digit: char| digit.is_ascii_digit());
    let id = &rest[..rest.len() - json.len()];
    let packet = Packet {
        kind: if kind >= 5 { kind - 3 } else { kind },
        data: (!json.is_empty()).then(|| Tree::new(serde_json::from_str(json).unwrap(), attachments)),
        id: (!id.is_empty()).then(|| id.parse().unwrap()),
        nsp: nsp.to_owned(),
    };
    rmp_serde::to_vec_named(&packet).unwrap()
}

/// Writes a packet of the msgpack parser as the default parser does: its message, and its attachments.
pub(crate) fn from_msgpack(packet: &[u8]) -> (String, Vec<Vec<u8>>) {
    let Packet { kind, data, id, nsp } = rmp_serde::from_slice(packet).unwrap_or_else(|error| panic!("{error}: {packet:02x?}"));
    let mut attachments = Vec::new();
    let json = data.map_or_else(String::new, |data| data.json(&mut attachments).to_string());
    let kind = match attachments.len() {
        0 => kind.to_string(),
        count => format!("{}{count}-", kind + 3),
    };
    let nsp = if nsp == "/" { String::new() } else { format!("{nsp},") };
    let id = id.map_or_else(String::new, |id| id.to_string());
    (format!("4{kind}{nsp}{id}{json}"), attachments)
}

impl Tree {
    fn new(value: Value, attachments: &[&[u8]]) -> Self {
        match value {
            Value::Array(values) => Self::List(values.into_iter().map(|value| Self::new(value, attachments)).collect()),
            Value::Object(members) => match members.get("_placeholder") {
                Some(_) => Self::Bytes(attachments[members["num"].as_u64().unwrap() as usize].to_vec()),
                None => {
                    let members = members.into_iter();
                    Self::Map(members.map(|(name, value)| (name, Self::new(value, attachments))).collect())
                }
            },
            plain => Self::Plain(plain),
        }
    }

    fn json(self, attachments: &mut Vec<Vec<u8>>) -> Value {
        match self {
            Self::Plain(value) => value,
            Self::Bytes(bytes) => {
                attachments.push(bytes);
                json!({ "_placeholder": true, "num": attachments.len() - 1 })
            }
            Self::List(trees) => trees.into_iter().map(|tree| tree.json(attachments)).collect(),
            Self::Map(members) => {
                let members = members.into_iter();
                members.map(|(name, tree)| (name, tree.json(attachments))).collect()
            }
        }
    }
}

impl Serialize for Tree {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Plain(value) => value.serialize(serializer),
            Self::Bytes(bytes) => serializer.serialize_bytes(bytes),
            Self::List(trees) => serializer.collect_seq(trees),
            Self::Map(members) => serializer.collect_map(members),
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyTree)
    }
}

struct AnyTree;

impl<'de> Visitor<'de> for AnyTree {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of msgpack")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Plain(Value::Null))
    }

    /// An extension type: what JavaScript calls undefined.
    fn visit_newtype_struct<D: Deserializer<'de>>(self, extension: D) -> Result<Tree, D::Error> {
        IgnoredAny::deserialize(extension)?;
        self.visit_unit()
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Plain(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Plain(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Plain(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree::Plain(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Plain(value.into()))
    }

    fn visit_bytes<E>(self, value: &[u8]) -> Result<Tree, E> {
        Ok(Tree::Bytes(value.to_vec()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Tree, A::Error> {
        let mut trees = Vec::new();
        while let Some(tree) = sequence.next_element()? {
            trees.push(tree);
        }
        Ok(Tree::List(trees))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut members = BTreeMap::new();
        while let Some((name, tree)) = map.next_entry()? {
            members.insert(name, tree);
        }
        Ok(Tree::Map(members))
    }
}

#[test]
fn what_was_written_in_one_dialect_is_read_in_the_other() {
    for (message, attachments) in [
        ("40", &[][..]),
        (r#"40/chat,{"token":null}"#, &[]),
        ("41/chat,", &[]),
        (r#"4217["e",-1,1.5,true,{"a":[]}]"#, &[]),
        (r#"437["x"]"#, &[]),
        (
            r#"452-/chat,3["e",{"_placeholder":true,"num":0},[{"_placeholder":true,"num":1}]]"#,
            &[&b"one"[..], b""],
        ),
    ] {
        let (read, bytes) = from_msgpack(&to_msgpack(message, attachments));
        assert_eq!(
            (&*read, &*bytes),
            (message, &*attachments.iter().map(|bytes| bytes.to_vec()).collect::<Vec<_>>())
        );
    }
}
