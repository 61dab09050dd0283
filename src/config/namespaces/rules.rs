//! The rules of a namespace, and what it greets clients with.

use toml::de::DeTable;

use super::decoder::{Decoder, Value, json};
use crate::{
    broker::{Action, Delivery, EventName, Greeting, RoomPattern, Rooms, Rule},
    config::{forms::Found, suggest},
};

const RULE_KEYS: [&str; 3] = ["event", "action", "rooms"];
const GREETING_KEYS: [&str; 2] = ["event", "data"];

/// Whether clients of the namespace can have a user.
#[derive(Debug, Clone, Copy)]
pub(super) enum Users {
    Known,
    /// They cannot, for this reason.
    Unknown(&'static str),
}

impl Decoder<'_> {
    pub(super) fn delivery(&mut self, value: &Value<'_>) -> Option<Delivery> {
        self.text("namespace.delivery", value, |word| match word {
            "live" => Ok(Delivery::Live),
            "recoverable" => Ok(Delivery::Recoverable),
            _ => {
                let words = Delivery::WORDS.join(" or ");
                Err(format!("expected {words}{}", suggest::hint(word, Delivery::WORDS)))
            }
        })
    }

    pub(super) fn greeting(&mut self, at: usize, table: &DeTable<'_>) -> Option<Greeting> {
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

    pub(super) fn rule(&mut self, at: usize, table: &DeTable<'_>, users: Users) -> Option<Rule> {
        self.unknown("namespace.rule", table, &RULE_KEYS);
        let event = self.needed(at, "namespace.rule", "event", table, "the name of an event");
        let event = event.and_then(|event| self.text("namespace.rule.event", event, EventName::new));
        let action = self.action(at, table, users);
        Some(Rule {
            event: event?,
            action: action?,
        })
    }

    fn action(&mut self, at: usize, table: &DeTable<'_>, users: Users) -> Option<Action> {
        let expected = format!("expected one of {}", Action::WORDS.join(", "));
        let rooms = table.get("rooms").map(|value| (value.span().start, self.rooms(value, users)));
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

    fn rooms(&mut self, value: &Value<'_>, users: Users) -> Option<Rooms> {
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
        let patterns: Vec<Option<RoomPattern>> = array
            .iter()
            .map(|item| {
                let pattern = self.text(key, item, RoomPattern::new)?;
                if let Users::Unknown(why) = users
                    && pattern.has_user()
                {
                    let found = Found::Toml(item.get_ref());
                    self.mistake(item.span().start, key, format!("{found} covers no room of anybody: {why}"));
                }
                Some(pattern)
            })
            .collect();
        patterns.into_iter().collect::<Option<Vec<_>>>().map(Rooms::new)
    }
}
