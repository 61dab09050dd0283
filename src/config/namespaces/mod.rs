//! The array `namespace`: what clients may do, for the broker.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    document::Document,
    forms::Found,
    mistakes::{Mistake, Place},
    reader::NAMESPACES,
    suggest,
};
use crate::broker::{Action, EventName, Greeting, NamespaceName, NamespaceRules, RoomPattern, Rooms, Rule, Rules};

const NAMESPACE_KEYS: [&str; 3] = ["name", "on_connect", "rule"];
const RULE_KEYS: [&str; 3] = ["event", "action", "rooms"];
const GREETING_KEYS: [&str; 2] = ["event", "data"];

/// Reads the namespaces of the variable, or of the file when there is no variable; both are checked.
pub(super) fn read(document: Option<&Document<'_>>, variable: Option<&str>, mistakes: &mut Vec<Mistake>) -> Rules {
    let file = document
        .and_then(|document| Some((document, document.namespaces()?)))
        .map(|(document, value)| {
            let mut decoder = Decoder {
                place: &|offset| document.place(offset),
                mistakes,
            };
            decoder.rules(value)
        });
    let variable = variable.map(|text| {
        let place = Place::Variable(NAMESPACES.to_owned());
        match DeValue::parse(text) {
            Ok(value) => Decoder {
                place: &|_| place.clone(),
                mistakes,
            }
            .rules(&value),
            Err(error) => {
                let text = format!(
                    "not TOML: {}; expected an array such as [{{ name = \"/\", rule = [{{ event = \"chat\", action = \"emit\" }}] }}]",
                    error.message().trim()
                );
                mistakes.push(Mistake {
                    place,
                    key: "namespace".to_owned(),
                    text,
                });
                Rules::default()
            }
        }
    });
    variable.or(file).unwrap_or_default()
}

struct Decoder<'a> {
    place: &'a dyn Fn(usize) -> Place,
    mistakes: &'a mut Vec<Mistake>,
}

type Value<'a> = Spanned<DeValue<'a>>;

impl Decoder<'_> {
    fn rules(&mut self, value: &Value<'_>) -> Rules {
        let mut rules = Rules::default();
        let tables = self.tables("namespace", value, "an array of tables: write [[namespace]] and its keys below");
        for (at, table) in tables {
            let namespace = self.namespace(at, table);
            if rules.namespaces.iter().any(|other| other.name == namespace.name) {
                self.mistake(at, "namespace.name", format!("{} is declared twice", namespace.name));
            } else {
                rules.namespaces.push(namespace);
            }
        }
        rules
    }

    fn namespace(&mut self, at: usize, table: &DeTable<'_>) -> NamespaceRules {
        self.unknown("namespace", table, &NAMESPACE_KEYS);
        let mut namespace = NamespaceRules::default();
        let Some(name) = self.needed(at, "namespace", "name", table, "a namespace such as \"/\" or \"/chat\"") else {
            return namespace;
        };
        if let Some(name) = self.text("namespace.name", name, NamespaceName::new) {
            namespace.name = name;
        }
        if let Some(value) = table.get("on_connect") {
            for (at, table) in self.tables(
                "namespace.on_connect",
                value,
                "an array of tables such as [{ event = \"news\", data = { hello = \"world\" } }]",
            ) {
                namespace.on_connect.extend(self.greeting(at, table));
            }
        }
        if let Some(value) = table.get("rule") {
            for (at, table) in self.tables(
                "namespace.rule",
                value,
                "an array of tables: write [[namespace.rule]] and its keys below",
            ) {
                let Some(rule) = self.rule(at, table) else { continue };
                if namespace.rules.iter().any(|other| other.event == rule.event) {
                    self.mistake(
                        at,
                        "namespace.rule.event",
                        format!("{:?} has a rule already in this namespace", rule.event.as_str()),
                    );
                } else {
                    namespace.rules.push(rule);
                }
            }
        }
        namespace
    }

    fn greeting(&mut self, at: usize, table: &DeTable<'_>) -> Option<Greeting> {
        self.unknown("namespace.on_connect", table, &GREETING_KEYS);
        let event = self.needed(at, "namespace.on_connect", "event", table, "the name of an event")?;
        let event = self.text("namespace.on_connect.event", event, EventName::new)?;
        let data = match table.get("data") {
            None => None,
            Some(value) => Some(json(value.get_ref()).or_else(|| {
                self.mistake(
                    value.span().start,
                    "namespace.on_connect.data",
                    "expected a value that JSON has too: no nan, no inf".to_owned(),
                );
                None
            })?),
        };
        Some(Greeting { event, data })
    }

    fn rule(&mut self, at: usize, table: &DeTable<'_>) -> Option<Rule> {
        self.unknown("namespace.rule", table, &RULE_KEYS);
        let event = self.needed(at, "namespace.rule", "event", table, "the name of an event");
        let event = event.and_then(|event| self.text("namespace.rule.event", event, EventName::new));
        let action = self.action(at, table);
        Some(Rule {
            event: event?,
            action: action?,
        })
    }

    fn action(&mut self, at: usize, table: &DeTable<'_>) -> Option<Action> {
        let expected = format!("expected one of {}", Action::WORDS.join(", "));
        let rooms = table.get("rooms").map(|value| (value.span().start, self.rooms(value)));
        let value = self.needed(
            at,
            "namespace.rule",
            "action",
            table,
            &format!("one of {}", Action::WORDS.join(", ")),
        )?;
        let word = self.text("namespace.rule.action", value, |word| {
            let hint = suggest::hint(word, Action::WORDS);
            if Action::WORDS.contains(&word) {
                Ok(word.to_owned())
            } else {
                Err(format!("{expected}{hint}"))
            }
        })?;
        let action: fn(Rooms) -> Action = match word.as_str() {
            "room" => Action::Room,
            "join" => Action::Join,
            "leave" => Action::Leave,
            _ => {
                if let Some((at, _)) = rooms {
                    self.mistake(
                        at,
                        "namespace.rule.rooms",
                        format!("the action {word} has no rooms: only room, join and leave do"),
                    );
                }
                return match word.as_str() {
                    "broadcast" => Some(Action::Broadcast),
                    "emit" => Some(Action::Emit),
                    _ => Some(Action::Ack),
                };
            }
        };
        match rooms {
            Some((_, rooms)) => rooms.map(action),
            None => {
                self.mistake(
                    at,
                    "namespace.rule.rooms",
                    format!("missing: the action {word} needs the rooms it allows, such as [\"chat-*\"]"),
                );
                None
            }
        }
    }

    fn rooms(&mut self, value: &Value<'_>) -> Option<Rooms> {
        let key = "namespace.rule.rooms";
        let Some(array) = value.get_ref().as_array().filter(|array| !array.is_empty()) else {
            let found = Found::Toml(value.get_ref());
            self.mistake(
                value.span().start,
                key,
                format!("found {found}, expected a list of rooms or patterns such as [\"chat-*\"]"),
            );
            return None;
        };
        let patterns: Vec<Option<RoomPattern>> = array.iter().map(|item| self.text(key, item, RoomPattern::new)).collect();
        patterns.into_iter().collect::<Option<Vec<_>>>().map(Rooms::new)
    }

    /// The tables of an array, each with its offset; what is no table is a mistake.
    fn tables<'v, 'a>(&mut self, key: &str, value: &'v Value<'a>, expected: &str) -> Vec<(usize, &'v DeTable<'a>)> {
        let mut tables = Vec::new();
        let Some(array) = value.get_ref().as_array() else {
            self.mistake(
                value.span().start,
                key,
                format!("found {}, expected {expected}", Found::Toml(value.get_ref())),
            );
            return tables;
        };
        for item in array {
            match item.get_ref().as_table() {
                Some(table) => tables.push((item.span().start, table)),
                None => self.mistake(
                    item.span().start,
                    key,
                    format!("found {}, expected {expected}", Found::Toml(item.get_ref())),
                ),
            }
        }
        tables
    }

    fn needed<'v, 'a>(&mut self, at: usize, parent: &str, name: &str, table: &'v DeTable<'a>, expected: &str) -> Option<&'v Value<'a>> {
        let value = table.get(name);
        if value.is_none() {
            self.mistake(at, &format!("{parent}.{name}"), format!("missing: expected {expected}"));
        }
        value
    }

    /// A text that `read` understands.
    fn text<T, E: ToString>(&mut self, key: &str, value: &Value<'_>, read: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        let found = Found::Toml(value.get_ref());
        let result = value.get_ref().as_str().map_or_else(
            || Err("expected a text".to_owned()),
            |text| read(text).map_err(|error| error.to_string()),
        );
        result
            .map_err(|expected| self.mistake(value.span().start, key, format!("found {found}, {expected}")))
            .ok()
    }

    fn unknown(&mut self, parent: &str, table: &DeTable<'_>, known: &[&str]) {
        for key in table.keys().filter(|key| !known.contains(&&**key.get_ref())) {
            let hint = suggest::hint(key.get_ref(), known.iter().copied());
            self.mistake(
                key.span().start,
                &format!("{parent}.{}", key.get_ref()),
                format!("there is no such key{hint}"),
            );
        }
    }

    fn mistake(&mut self, at: usize, key: &str, text: String) {
        self.mistakes.push(Mistake {
            place: (self.place)(at),
            key: key.to_owned(),
            text,
        });
    }
}

/// A TOML value as JSON; dates become texts. `None` for a number that JSON does not have.
fn json(value: &DeValue<'_>) -> Option<serde_json::Value> {
    use serde_json::Value as Json;
    Some(match value {
        DeValue::String(text) => Json::String(text.to_string()),
        DeValue::Integer(integer) => Json::from(i64::from_str_radix(integer.as_str(), integer.radix()).ok()?),
        DeValue::Float(float) => Json::Number(serde_json::Number::from_f64(float.as_str().parse().ok()?)?),
        DeValue::Boolean(boolean) => Json::Bool(*boolean),
        DeValue::Datetime(datetime) => Json::String(datetime.to_string()),
        DeValue::Array(items) => Json::Array(items.iter().map(|item| json(item.get_ref())).collect::<Option<_>>()?),
        DeValue::Table(table) => {
            let entries = table
                .iter()
                .map(|(key, value)| Some((key.get_ref().to_string(), json(value.get_ref())?)));
            Json::Object(entries.collect::<Option<_>>()?)
        }
    })
}
