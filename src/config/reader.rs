//! Reads every key from all the places where it may stand, and collects what is wrong.

use std::collections::BTreeMap;

use toml::de::DeValue;

use super::{
    Config, Mistakes, Sources, checks,
    document::Document,
    forms::{Form, Found},
    mistakes::{Mistake, Place},
    namespaces,
    settings::{Key, Settings, keys},
    sources::Flag,
    suggest,
};

/// A configuration without mistakes.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// As used.
    pub config: Config,
    /// The keys that somebody set, in the order of the table.
    pub set: Vec<SetKey>,
    /// What is worth telling the operator although it is no mistake.
    pub notes: Vec<String>,
}

/// A key that somebody set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetKey {
    /// The key.
    pub key: &'static str,
    /// Its value as it was written, with secrets masked.
    pub value: String,
    /// Where the value stands that wins.
    pub place: Place,
}

/// The places, while they are read.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    document: Option<Document<'a>>,
    /// By key; only variables of keys.
    variables: BTreeMap<&'static str, (String, &'a str)>,
    flags: &'a [Flag],
    pub(super) mistakes: Vec<Mistake>,
    pub(super) notes: Vec<String>,
    set: Vec<SetKey>,
    broken: Vec<&'static str>,
}

impl Sources {
    /// Reads the configuration.
    ///
    /// # Errors
    /// [`Mistakes`]: all of them.
    pub fn load(&self) -> Result<Loaded, Mistakes> {
        let mut mistakes = Vec::new();
        let document = self.file.as_ref().map(|file| Document::parse(file, &mut mistakes));
        let mut reader = Reader {
            document,
            variables: BTreeMap::new(),
            flags: &self.flags,
            mistakes,
            notes: Vec::new(),
            set: Vec::new(),
            broken: Vec::new(),
        };
        let namespace_variable = reader.sort_variables(&self.variables);
        let settings = Settings::read(&mut reader);
        let rules = namespaces::read(reader.document.as_ref(), namespace_variable, &mut reader.mistakes);
        let config = settings.map(|settings| {
            checks::cross_check(&settings, &rules, &mut reader);
            let config = Config::new(settings, rules);
            checks::check_adapter(&config.adapter, &mut reader);
            config
        });
        let Reader { mistakes, notes, set, .. } = reader;
        Mistakes::check(mistakes)?;
        match config {
            Some(config) => Ok(Loaded { config, set, notes }),
            None => Err(Mistakes::one(
                Place::Default,
                "",
                "a default of the table of keys has not the form of its key".to_owned(),
            )),
        }
    }
}

impl<'a> Reader<'a> {
    /// The value of a key. A place that has a value of another form gets a mistake, and the next place is asked.
    pub(super) fn value<F: Form>(&mut self, path: &'static str, default: &'static str) -> Option<F> {
        let flag = self
            .flags
            .iter()
            .find(|flag| flag.key == path)
            .map(|flag| (Found::Word(&flag.value), Place::Flag(flag.name)));
        let variable = self
            .variables
            .get(path)
            .map(|(name, word)| (Found::Word(word), Place::Variable(name.clone())));
        let file = self
            .document
            .as_ref()
            .and_then(|document| document.value(path))
            .map(|(value, place)| (Found::Toml(value), place));
        let mut won = None;
        for (found, place) in [flag, variable, file].into_iter().flatten() {
            match F::read(found) {
                Some(value) if won.is_none() => {
                    self.set.push(SetKey {
                        key: path,
                        value: F::show(found),
                        place,
                    });
                    won = Some(value);
                }
                Some(_) => {}
                None => {
                    self.broken.push(path);
                    let text = format!("found {}, expected {}", F::show(found), F::EXPECTED);
                    self.mistakes.push(Mistake {
                        place,
                        key: path.to_owned(),
                        text,
                    });
                }
            }
        }
        won.or_else(|| DeValue::parse(default).ok().and_then(|value| F::read(Found::Toml(value.get_ref()))))
    }

    /// Adds a mistake about how `keys` fit together, at the place of the first of them that somebody set; nothing when one of them is
    /// broken already.
    pub(super) fn conflict(&mut self, keys: &[&'static str], text: String) {
        if keys.iter().any(|key| self.broken.contains(key)) {
            return;
        }
        let set = keys.iter().find_map(|key| self.set.iter().find(|set| set.key == *key));
        let (key, place) = set.map_or_else(
            || (keys.first().copied().unwrap_or_default(), Place::Default),
            |set| (set.key, set.place.clone()),
        );
        self.mistakes.push(Mistake {
            place,
            key: key.to_owned(),
            text,
        });
    }

    /// Whether somebody set a key.
    pub(super) fn is_set(&self, key: &str) -> bool {
        self.set.iter().any(|set| set.key == key)
    }

    /// Whether somebody set a key to something else than its default.
    pub(super) fn is_changed(&self, key: &Key) -> bool {
        self.set.iter().any(|set| set.key == key.path && set.value != key.default)
    }

    /// Finds the variables of keys; others that begin with `FANFARE_` are mistakes, or what Kubernetes injects. Returns the variable that
    /// holds the namespaces.
    fn sort_variables(&mut self, variables: &'a [(std::ffi::OsString, std::ffi::OsString)]) -> Option<&'a str> {
        let known: BTreeMap<String, &'static str> = keys().map(|key| (Key::variable(key.path), key.path)).collect();
        let mut namespaces = None;
        let mut injected = Vec::new();
        for (name, value) in variables {
            let Some(name) = name.to_str().filter(|name| name.starts_with("FANFARE_")) else {
                continue;
            };
            let key = known.get(name).copied();
            if key.is_none() && OTHER_READERS.contains(&name) {
                continue;
            }
            let mut mistake = |text| {
                self.mistakes.push(Mistake {
                    place: Place::Variable(name.to_owned()),
                    key: key.unwrap_or_default().to_owned(),
                    text,
                })
            };
            match (key, value.to_str()) {
                (_, None) => mistake("the value is not UTF-8".to_owned()),
                (Some(key), Some(value)) => {
                    self.variables.insert(key, (name.to_owned(), value));
                }
                (None, Some(value)) if name == NAMESPACES => namespaces = Some(value),
                (None, Some(value)) if is_service_link(name, value) => injected.push(name),
                (None, Some(_)) => {
                    let names = known.keys().map(String::as_str).chain([NAMESPACES]);
                    mistake(format!("there is no key for this variable{}", suggest::hint(name, names)));
                }
            }
        }
        if let Some(first) = injected.first() {
            let rest = if injected.len() > 1 {
                format!(" and {} more", injected.len() - 1)
            } else {
                String::new()
            };
            self.notes.push(format!(
                "ignored {first}{rest}: injected by Kubernetes for a Service; set enableServiceLinks: false to be rid of them"
            ));
        }
        namespaces
    }
}

/// The variable that holds the array `namespace` as a TOML value.
pub(super) const NAMESPACES: &str = "FANFARE_NAMESPACE";

/// Variables that are no keys: the name of the file, and a directory that the build script reads.
const OTHER_READERS: [&str; 2] = ["FANFARE_CONFIG", "FANFARE_CLIENT_DIST"];

/// Whether this is a variable that Kubernetes (or Docker links) makes of a Service whose name begins with `fanfare`:
/// `FANFARE_SERVICE_HOST`, `FANFARE_SERVICE_PORT_HTTP`, `FANFARE_PORT=tcp://…`, `FANFARE_PORT_3000_TCP_ADDR`, and the same after
/// `FANFARE_HEADLESS_`.
fn is_service_link(name: &str, value: &str) -> bool {
    let url = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    let numbered = name.split_once("_PORT_").is_some_and(|(_, rest)| {
        let mut parts = rest.split('_');
        let number = parts.next().is_some_and(|part| part.parse::<u16>().is_ok());
        let protocol = parts.next().is_some_and(|part| matches!(part, "TCP" | "UDP" | "SCTP"));
        number && protocol && parts.next().is_none_or(|part| matches!(part, "PROTO" | "PORT" | "ADDR"))
    });
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || numbered
        || (name.ends_with("_PORT") && url)
}
