//! `namespace.connect.token`: what a client must show to join.

use std::{fs::File, io::Read as _, time::Duration};

use toml::de::DeTable;

use super::decoder::{Decoder, Value};
use crate::{
    broker::{Algorithm, Jwt, JwtKey, Login, StaticKey, Token, TokenPlace},
    config::{
        forms::{Form, Found},
        suggest,
    },
};

const CONNECT_KEYS: [&str; 1] = ["token"];

/// The keys of a token, those of static keys first, then those of tokens with an algorithm.
const TOKEN_KEYS: [&str; 11] = [
    "from",
    "keys",
    "keys_file",
    "algorithm",
    "key",
    "key_file",
    "leeway",
    "issuer",
    "audience",
    "user_claim",
    "rooms_claim",
];

/// What only tokens with an algorithm have.
const JWT_KEYS: [&str; 8] = [
    "algorithm",
    "key",
    "key_file",
    "leeway",
    "issuer",
    "audience",
    "user_claim",
    "rooms_claim",
];

/// No clocks are further apart than this.
const LONGEST_LEEWAY: Duration = Duration::from_secs(600);

/// No key is longer than this.
const LARGEST_FILE: u64 = 64 << 10;

/// Where the table stands.
const PATH: &str = "namespace.connect.token";

impl Decoder<'_> {
    /// Reads `connect`. `None`, and a mistake, where it is wrong: a namespace that was to ask for tokens never becomes one that does not.
    pub(super) fn connect(&mut self, value: &Value<'_>) -> Option<Login> {
        let connect = self.table("namespace.connect", value, "a table with the key token")?;
        self.unknown("namespace.connect", connect, &CONNECT_KEYS);
        let at = value.span().start;
        let token = self.needed(
            at,
            "namespace.connect",
            "token",
            connect,
            "a table with keys, or with algorithm and key",
        )?;
        let table = self.table(PATH, token, "a table with keys, or with algorithm and key")?;
        self.unknown(PATH, table, &TOKEN_KEYS);
        let at = token.span().start;
        let from = table.get("from").map_or(Some(vec![TokenPlace::Auth]), |value| self.from(value));
        let fixed = ["keys", "keys_file"].into_iter().any(|key| table.contains_key(key));
        let signed = JWT_KEYS.into_iter().find_map(|key| table.get_key_value(key));
        let token = match (fixed, signed) {
            (true, None) => self.keys(table).map(Token::Keys),
            (false, Some(_)) => self.jwt(at, table).map(Token::Jwt),
            (true, Some((key, _))) => {
                let text = "expected one kind of token: keys or keys_file, or algorithm and key with what belongs to them".to_owned();
                self.mistake(key.span().start, &format!("{PATH}.{}", key.get_ref()), text);
                None
            }
            (false, None) => {
                let text = "missing: expected keys such as [\"a long random text\"], or algorithm and key".to_owned();
                self.mistake(at, PATH, text);
                None
            }
        };
        Some(Login {
            from: from?,
            token: token?,
        })
    }

    fn from(&mut self, value: &Value<'_>) -> Option<Vec<TokenPlace>> {
        let words = TokenPlace::WORDS.join(", ");
        let key = "namespace.connect.token.from";
        let Some(array) = value.get_ref().as_array().filter(|array| !array.is_empty()) else {
            let found = Found::Toml(value.get_ref());
            self.mistake(value.span().start, key, format!("found {found}, expected a list of {words}"));
            return None;
        };
        let mut places = Vec::new();
        for item in array {
            places.push(self.text(key, item, |word| match word {
                "auth" => Ok(TokenPlace::Auth),
                "header" => Ok(TokenPlace::Header),
                "query" => Ok(TokenPlace::Query),
                _ => Err(format!("expected one of {words}{}", suggest::hint(word, TokenPlace::WORDS))),
            }));
        }
        places.into_iter().collect()
    }

    fn keys(&mut self, table: &DeTable<'_>) -> Option<Vec<StaticKey>> {
        let mut keys = Vec::new();
        if let Some(value) = table.get("keys") {
            let Some(array) = value.get_ref().as_array() else {
                let text = "found ***, expected a list of texts".to_owned();
                self.mistake(value.span().start, "namespace.connect.token.keys", text);
                return None;
            };
            for item in array {
                keys.push(self.secret("namespace.connect.token.keys", item, StaticKey::new));
            }
        }
        if let Some(value) = table.get("keys_file") {
            let key = "namespace.connect.token.keys_file";
            let text = self.file(key, value)?;
            let at = value.span().start;
            for (n, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
                let read = StaticKey::new(line.trim());
                keys.push(
                    read.map_err(|error| self.mistake(at, key, format!("in line {} of the file: {error}", n + 1)))
                        .ok(),
                );
            }
        }
        if keys.is_empty() {
            let place = table
                .get("keys")
                .or_else(|| table.get("keys_file"))
                .map_or(0, |value| value.span().start);
            self.mistake(
                place,
                "namespace.connect.token.keys",
                "expected a key at least: without one nobody could connect".to_owned(),
            );
            return None;
        }
        keys.into_iter().collect()
    }

    fn jwt(&mut self, at: usize, table: &DeTable<'_>) -> Option<Jwt> {
        let algorithm = self.algorithm(at, table);
        let key = algorithm.and_then(|algorithm| self.key(at, table, algorithm));
        let leeway = table.get("leeway").map_or(Some(Duration::ZERO), |value| {
            let read = Duration::read(Found::Toml(value.get_ref())).filter(|leeway| *leeway <= LONGEST_LEEWAY);
            if read.is_none() {
                let found = Found::Toml(value.get_ref());
                let text = format!("found {found}, expected a duration with its unit such as \"30s\", at most 10m");
                self.mistake(value.span().start, "namespace.connect.token.leeway", text);
            }
            read
        });
        let mut name = |key: &str| match table.get(key) {
            None => Some(None),
            Some(value) => self
                .text(&format!("{PATH}.{key}"), value, |text| {
                    if text.is_empty() {
                        Err("expected a text that is not empty")
                    } else {
                        Ok(text.to_owned())
                    }
                })
                .map(Some),
        };
        let (issuer, audience, user, rooms) = (name("issuer"), name("audience"), name("user_claim"), name("rooms_claim"));
        Some(Jwt {
            key: key?,
            leeway: leeway?,
            issuer: issuer?,
            audience: audience?,
            user: user?.unwrap_or_else(|| "sub".to_owned()),
            rooms: rooms?,
        })
    }

    fn algorithm(&mut self, at: usize, table: &DeTable<'_>) -> Option<Algorithm> {
        let expected = format!("one of {}", Algorithm::WORDS.join(", "));
        let value = self.needed(at, PATH, "algorithm", table, &expected)?;
        self.text("namespace.connect.token.algorithm", value, |word| match word {
            "HS256" => Ok(Algorithm::Hs256),
            "RS256" => Ok(Algorithm::Rs256),
            "ES256" => Ok(Algorithm::Es256),
            "EdDSA" => Ok(Algorithm::EdDsa),
            _ => Err(format!("expected {expected}{}", suggest::hint(word, Algorithm::WORDS))),
        })
    }

    fn key(&mut self, at: usize, table: &DeTable<'_>, algorithm: Algorithm) -> Option<JwtKey> {
        match (table.get("key"), table.get("key_file")) {
            (Some(value), None) => self.secret("namespace.connect.token.key", value, |text| JwtKey::new(algorithm, text)),
            (None, Some(value)) => {
                let key = "namespace.connect.token.key_file";
                let text = self.file(key, value)?;
                let read = JwtKey::new(algorithm, &text);
                read.map_err(|error| self.mistake(value.span().start, key, format!("in the file: {error}")))
                    .ok()
            }
            (Some(_), Some(value)) => {
                let text = "expected one of key and key_file".to_owned();
                self.mistake(value.span().start, "namespace.connect.token.key_file", text);
                None
            }
            (None, None) => {
                let text = format!("missing: expected the key of {}, or key_file with its path", algorithm.name());
                self.mistake(at, "namespace.connect.token.key", text);
                None
            }
        }
    }

    /// A text that is never shown.
    fn secret<T, E: ToString>(&mut self, key: &str, value: &Value<'_>, read: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        let result = value.get_ref().as_str().map_or_else(
            || Err("expected a text".to_owned()),
            |text| read(text).map_err(|error| error.to_string()),
        );
        result
            .map_err(|expected| self.mistake(value.span().start, key, format!("found ***, {expected}")))
            .ok()
    }

    /// The text of a file that a key names. The path is not shown: it may be the key itself, in the wrong place.
    fn file(&mut self, key: &str, value: &Value<'_>) -> Option<String> {
        self.secret(key, value, |path| {
            let mut text = String::new();
            let read = File::open(path).and_then(|file| file.take(LARGEST_FILE + 1).read_to_string(&mut text));
            match read {
                Ok(length) if length as u64 > LARGEST_FILE => Err("expected a file of at most 64KiB".to_owned()),
                Ok(_) => Ok(text),
                Err(error) => Err(format!("expected the path of a text file: {error}")),
            }
        })
    }
}
