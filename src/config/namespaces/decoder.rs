//! Reads values of TOML one by one and collects what is wrong with them.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::config::{
    forms::Found,
    mistakes::{Mistake, Place},
    suggest,
};

pub(super) struct Decoder<'a> {
    pub(super) place: &'a dyn Fn(usize) -> Place,
    pub(super) mistakes: &'a mut Vec<Mistake>,
}

pub(super) type Value<'a> = Spanned<DeValue<'a>>;

impl Decoder<'_> {
    /// The tables of an array, each with its offset; what is no table is a mistake.
    pub(super) fn tables<'v, 'a>(&mut self, key: &str, value: &'v Value<'a>, expected: &str) -> Vec<(usize, &'v DeTable<'a>)> {
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

    /// A table; what is none is a mistake, and is not shown: it may be a secret that was meant to stand in the table.
    pub(super) fn table<'v, 'a>(&mut self, key: &str, value: &'v Value<'a>, expected: &str) -> Option<&'v DeTable<'a>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.mistake(value.span().start, key, format!("found no table, expected {expected}"));
        }
        table
    }

    pub(super) fn needed<'v, 'a>(
        &mut self,
        at: usize,
        parent: &str,
        name: &str,
        table: &'v DeTable<'a>,
        expected: &str,
    ) -> Option<&'v Value<'a>> {
        let value = table.get(name);
        if value.is_none() {
            self.mistake(at, &format!("{parent}.{name}"), format!("missing: expected {expected}"));
        }
        value
    }

    /// A text that `read` understands.
    pub(super) fn text<T, E: ToString>(&mut self, key: &str, value: &Value<'_>, read: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        let found = Found::Toml(value.get_ref());
        let result = value.get_ref().as_str().map_or_else(
            || Err("expected a text".to_owned()),
            |text| read(text).map_err(|error| error.to_string()),
        );
        result
            .map_err(|expected| self.mistake(value.span().start, key, format!("found {found}, {expected}")))
            .ok()
    }

    pub(super) fn unknown(&mut self, parent: &str, table: &DeTable<'_>, known: &[&str]) {
        for key in table.keys().filter(|key| !known.contains(&&**key.get_ref())) {
            let hint = suggest::hint(key.get_ref(), known.iter().copied());
            self.mistake(
                key.span().start,
                &format!("{parent}.{}", key.get_ref()),
                format!("there is no such key{hint}"),
            );
        }
    }

    pub(super) fn mistake(&mut self, at: usize, key: &str, text: String) {
        self.mistakes.push(Mistake {
            place: (self.place)(at),
            key: key.to_owned(),
            text,
        });
    }
}

/// A TOML value as JSON; dates become texts. `None` for a number that JSON does not have.
pub(super) fn json(value: &DeValue<'_>) -> Option<serde_json::Value> {
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
