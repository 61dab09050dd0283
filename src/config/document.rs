//! The configuration file: its syntax, the values by key, and the keys that nobody knows.

use std::{collections::BTreeMap, sync::Arc};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    mistakes::{Mistake, Place},
    settings::{SECTIONS, keys},
    sources::File,
    suggest,
};

/// A file that was parsed as far as it could be.
#[derive(Debug)]
pub(super) struct Document<'a> {
    name: Arc<str>,
    /// Offsets at which the lines after the first begin.
    breaks: Vec<usize>,
    values: BTreeMap<String, Spanned<DeValue<'a>>>,
    namespaces: Option<Spanned<DeValue<'a>>>,
}

impl<'a> Document<'a> {
    /// Parses a file; what is wrong with its syntax and its keys is added to `mistakes`.
    pub(super) fn parse(file: &'a File, mistakes: &mut Vec<Mistake>) -> Self {
        let (table, errors) = DeTable::parse_recoverable(&file.text);
        let mut document = Self {
            name: file.name.as_str().into(),
            breaks: file.text.match_indices('\n').map(|(at, _)| at + 1).collect(),
            values: BTreeMap::new(),
            namespaces: None,
        };
        let mut broken = Vec::new();
        for error in errors {
            let place = document.place(error.span().map_or(0, |span| span.start));
            if !broken.contains(&place) {
                mistakes.push(Mistake {
                    place: place.clone(),
                    key: String::new(),
                    text: format!("not TOML: {}", error.message().trim()),
                });
                broken.push(place);
            }
        }
        let mut unknown = Vec::new();
        document.walk("", table.into_inner(), &mut unknown);
        // What stands on a line that is no TOML was read by guessing: it is not worth a second mistake.
        mistakes.extend(unknown.into_iter().filter(|mistake| !broken.contains(&mistake.place)));
        let starts: Vec<(String, Place)> = document
            .values
            .iter()
            .map(|(path, value)| (path.clone(), document.place(value.span().start)))
            .collect();
        for (path, place) in starts {
            if broken.contains(&place) {
                document.values.remove(&path);
            }
        }
        document
    }

    /// The value of a key and where it stands.
    pub(super) fn value(&self, path: &str) -> Option<(&DeValue<'a>, Place)> {
        self.values.get(path).map(|value| (value.get_ref(), self.place(value.span().start)))
    }

    /// The array of tables `namespace`, undecoded.
    pub(super) const fn namespaces(&self) -> Option<&Spanned<DeValue<'a>>> {
        self.namespaces.as_ref()
    }

    /// The line of an offset.
    pub(super) fn place(&self, offset: usize) -> Place {
        Place::File(self.name.clone(), 1 + self.breaks.partition_point(|line| *line <= offset))
    }

    /// Sorts what stands in a table: values of known keys, known tables to go into, and mistakes.
    fn walk(&mut self, prefix: &str, table: DeTable<'a>, mistakes: &mut Vec<Mistake>) {
        for (key, value) in table {
            let path = if prefix.is_empty() {
                key.get_ref().to_string()
            } else {
                format!("{prefix}.{}", key.get_ref())
            };
            let place = self.place(key.span().start);
            let section = SECTIONS.iter().any(|section| section.path == path);
            let mistake = |text| Mistake {
                place,
                key: path.clone(),
                text,
            };
            if path == "namespace" {
                self.namespaces = Some(value);
            } else if keys().any(|key| key.path == path) {
                self.values.insert(path, value);
            } else if !section {
                let names = keys()
                    .map(|key| key.path)
                    .chain(SECTIONS.iter().map(|section| section.path))
                    .chain(["namespace"]);
                mistakes.push(mistake(format!("there is no such key{}", suggest::hint(&path, names))));
            } else if let DeValue::Table(inner) = value.into_inner() {
                self.walk(&path, inner, mistakes);
            } else {
                mistakes.push(mistake(format!("expected a table: write [{path}] and its keys below")));
            }
        }
    }
}
