//! `connect.token`: what is read, what is a mistake, and that no secret is shown in either.

use std::{fmt, path::PathBuf, time::Duration};

use super::tests::{file, mistake, mistakes, variables};
use crate::broker::{Algorithm, Login, NamespaceRules, Token, TokenPlace};

const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEGpjHS1pouyzy8azWojPzDlE4IeSi
tUkYcByCDY80K6anpiAcJGQnYuCvDXp0EzYiqV6wOxH3tpV92XfjIori0g==
-----END PUBLIC KEY-----
";

const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgHKiCUG+lO5ECClnP
7QDPbCpxzYkHWLYAfoom1euVjGOhRANCAAQamMdLWmi7LPLxrNaiM/MOUTgh5KK1
SRhwHIINjzQrpqemIBwkZCdi4K8NenQTNiKpXrA7Efe2lX3Zd+MiiuLS
-----END PRIVATE KEY-----
";

/// The namespaces of a file in which `/` has this token.
fn namespaces(token: &str) -> Vec<NamespaceRules> {
    let text = format!("[[namespace]]\nname = \"/\"\n[namespace.connect.token]\n{token}\n");
    file(&text)
        .load()
        .unwrap_or_else(|mistakes| panic!("{mistakes}"))
        .config
        .rules
        .namespaces
}

fn login(token: &str) -> Login {
    namespaces(token).remove(0).login.unwrap()
}

/// The one mistake of a file in which `/` has this token.
fn wrong(token: &str) -> String {
    mistake(&format!("[[namespace]]\nname = \"/\"\n[namespace.connect.token]\n{token}\n"))
}

/// A file of the test; gone with this value. Displayed as a text of TOML.
struct Written(PathBuf);

fn written(name: &str, text: &str) -> Written {
    let path = std::env::temp_dir().join(format!("fanfare-{}-{name}", std::process::id()));
    std::fs::write(&path, text).unwrap();
    Written(path)
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0.to_str().unwrap())
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

#[test]
fn static_keys_are_read_from_the_file_and_from_files_of_their_own() {
    let keys = written("keys", "the first of the keys\n\n  the second of the keys\n");
    let Token::Keys(inline) = login("keys = [\"the first of the keys\", \"the second of the keys\"]").token else {
        panic!("static keys are static keys")
    };
    assert_eq!(login(&format!("keys_file = {keys}")).token, Token::Keys(inline));
    assert_eq!(login("keys = [\"the first of the keys\"]").from, [TokenPlace::Auth]);
}

#[test]
fn a_key_is_read_with_what_belongs_to_it() {
    let key = written("public.pem", PUBLIC);
    let token = format!(
        "algorithm = \"ES256\"\nkey_file = {key}\nleeway = \"30s\"\nissuer = \"me\"\naudience = \"you\"\nuser_claim = \"email\"\n\
         rooms_claim = \"teams\"\nfrom = [\"query\", \"header\"]"
    );
    let Login { from, token } = login(&token);
    assert_eq!(from, [TokenPlace::Query, TokenPlace::Header]);
    let Token::Jwt(jwt) = token else {
        panic!("an algorithm is of a token")
    };
    assert_eq!((jwt.key.algorithm(), jwt.leeway), (Algorithm::Es256, Duration::from_secs(30)));
    assert_eq!((jwt.issuer.as_deref(), jwt.audience.as_deref()), (Some("me"), Some("you")));
    assert_eq!((jwt.user.as_str(), jwt.rooms.as_deref()), ("email", Some("teams")));

    let Token::Jwt(inline) = login(&format!("algorithm = \"ES256\"\nkey = \"\"\"\n{PUBLIC}\"\"\"")).token else {
        panic!("an algorithm is of a token")
    };
    assert_eq!(inline.key, jwt.key);
    assert_eq!((inline.leeway, inline.user.as_str(), inline.rooms), (Duration::ZERO, "sub", None));
}

/// Each of these tokens is one mistake, which begins so.
fn are_wrong(tokens: &[(&str, &str)]) {
    for (token, expected) in tokens {
        let found = wrong(token);
        assert!(found.starts_with(expected), "{token}\n{found}");
    }
}

#[test]
fn what_cannot_be_a_static_key_is_a_mistake() {
    let (public, empty) = (written("keys.pem", "-----BEGIN PUBLIC KEY-----\n"), written("empty", "\n"));
    are_wrong(&[
        ("", "namespace.connect.token: missing: expected keys"),
        ("from = [\"auth\"]", "namespace.connect.token: missing: expected keys"),
        ("keys = []", "namespace.connect.token.keys: expected a key at least"),
        (
            "keys = \"one long key of some bytes\"",
            "namespace.connect.token.keys: found ***, expected a list",
        ),
        (
            "keys = [\"short\"]",
            "namespace.connect.token.keys: found ***, expected a text of 16 to 8192 bytes",
        ),
        ("keys = [4711]", "namespace.connect.token.keys: found ***, expected a text"),
        (
            &format!("keys_file = {empty}"),
            "namespace.connect.token.keys: expected a key at least",
        ),
        (
            &format!("keys_file = {public}"),
            "namespace.connect.token.keys_file: in line 1 of the file: expected a text that clients show, not a key in PEM",
        ),
        (
            "keys_file = \"/nowhere\"",
            "namespace.connect.token.keys_file: found ***, expected the path of a text file: No such",
        ),
        (
            "keys = [\"one long key of some bytes\"]\nissuer = \"me\"",
            "namespace.connect.token.issuer: expected one kind of token",
        ),
    ]);
}

#[test]
fn what_cannot_be_a_key_is_a_mistake() {
    let (public, private) = (written("p.pem", PUBLIC), written("s.pem", PRIVATE));
    let secret = "key = \"a secret that has more than 32 bytes\"";
    are_wrong(&[
        (
            "algorithm = \"none\"\nkey = \"x\"",
            "namespace.connect.token.algorithm: found \"none\", expected one of HS256, RS256",
        ),
        (
            "algorithm = \"HS265\"\nkey = \"x\"",
            "namespace.connect.token.algorithm: found \"HS265\", expected one of HS256, RS256, ES256, EdDSA; did you mean HS256?",
        ),
        (secret, "namespace.connect.token.algorithm: missing: expected one of HS256"),
        (
            "algorithm = \"HS256\"",
            "namespace.connect.token.key: missing: expected the key of HS256",
        ),
        (
            "algorithm = \"HS256\"\nkey = \"short\"",
            "namespace.connect.token.key: found ***, expected a secret of at least 32",
        ),
        (
            &format!("algorithm = \"HS256\"\nkey_file = {public}"),
            "namespace.connect.token.key_file: in the file: expected a secret for HS256, not",
        ),
        (
            &format!("algorithm = \"ES256\"\nkey_file = {private}"),
            "namespace.connect.token.key_file: in the file: expected a public key, not a private",
        ),
        (
            &format!("algorithm = \"RS256\"\nkey_file = {public}"),
            "namespace.connect.token.key_file: in the file: expected an RSA key",
        ),
        (
            &format!("algorithm = \"ES256\"\nkey = \"\"\"\n{PRIVATE}\"\"\""),
            "namespace.connect.token.key: found ***, expected a public key, not a private",
        ),
        (
            &format!("algorithm = \"ES256\"\n{secret}\nkey_file = {public}"),
            "namespace.connect.token.key_file: expected one of key and key_file",
        ),
    ]);
}

#[test]
fn what_belongs_to_a_key_has_its_form() {
    let with = |rest: &str| format!("algorithm = \"ES256\"\nkey = \"\"\"\n{PUBLIC}\"\"\"\n{rest}");
    are_wrong(&[
        (&with("leeway = \"11m\""), "namespace.connect.token.leeway: found \"11m\", expected"),
        (
            &with("audience = \"\""),
            "namespace.connect.token.audience: found \"\", expected a text",
        ),
        (
            &with("user_claim = 1"),
            "namespace.connect.token.user_claim: found 1, expected a text",
        ),
        (
            &with("from = []"),
            "namespace.connect.token.from: found [], expected a list of auth, header, query",
        ),
        (
            &with("from = [\"cookie\"]"),
            "namespace.connect.token.from: found \"cookie\", expected one of auth",
        ),
        (
            &with("kyes = []"),
            "namespace.connect.token.kyes: there is no such key; did you mean keys?",
        ),
    ]);
    for (text, expected) in [
        ("connect = \"my secret\"", "namespace.connect: found no table"),
        ("connect = {}", "namespace.connect.token: missing"),
        ("connect.token = \"my secret\"", "namespace.connect.token: found no table"),
        (
            "connect.tokens = {}\nconnect.token.keys = [\"one long key of some bytes\"]",
            "namespace.connect.tokens: there is no such key; did you mean token?",
        ),
    ] {
        let found = mistake(&format!("[[namespace]]\nname = \"/\"\n{text}"));
        assert!(found.starts_with(expected) && !found.contains("my secret"), "{text}\n{found}");
    }
}

#[test]
fn a_room_of_a_user_where_nobody_has_one_is_a_mistake() {
    let rule = "rule = [{ event = \"a\", action = \"join\", rooms = [\"chat\", \"inbox-{user}\"] }]";
    for (connect, expected) in [
        ("", Some("nobody logs in here")),
        (
            "connect.token.keys = [\"one long key of some bytes\"]",
            Some("static keys name no user"),
        ),
        (
            "connect.token = { algorithm = \"HS256\", key = \"a secret that has more than 32 bytes\" }",
            None,
        ),
    ] {
        let found = mistakes(&file(&format!("[[namespace]]\nname = \"/\"\n{connect}\n{rule}")));
        let texts: Vec<_> = expected.into_iter().collect();
        assert_eq!(found.len(), texts.len(), "{found:?}");
        for (found, text) in found.iter().zip(texts) {
            assert!(
                found.contains("namespace.rule.rooms: \"inbox-{user}\" covers no room of anybody") && found.contains(text),
                "{found}"
            );
        }
    }
}

#[test]
fn no_secret_is_shown_wherever_it_stands() {
    let good = "[{ name = \"/\", connect.token = { keys = [\"hunter2 hunter2 hunter2\"] } }, \
                { name = \"/a\", connect.token = { algorithm = \"HS256\", key = \"hunter2 hunter2 hunter2 hunter2 hunter2\" } }]";
    let loaded = variables(&[("FANFARE_NAMESPACE", good)]).load().unwrap();
    assert_eq!(loaded.config.rules.namespaces.len(), 2);
    assert!(!format!("{loaded:?}").contains("hunter2"), "{loaded:?}");
    for bad in [
        "[{ name = \"/\", connect.token = { keys = [\"hunter2\"] } }]",
        "[{ name = \"/\", connect.token = { keys = \"hunter2 hunter2\" } }]",
        "[{ name = \"/\", connect.token = { keys_file = \"hunter2\" } }]",
        "[{ name = \"/\", connect.token = { algorithm = \"HS256\", key = \"hunter2\" } }]",
        "[{ name = \"/\", connect.token = { algorithm = \"HS256\", key_file = \"hunter2 hunter2\" } }]",
        "[{ name = \"/\", connect.token = [\"hunter2\"] }]",
        "[{ name = \"/\", connect.token = { hunter3 = \"hunter2\" } }]",
    ] {
        let found = mistakes(&variables(&[("FANFARE_NAMESPACE", bad)])).join("\n");
        assert!(!found.is_empty() && !found.contains("hunter2"), "{bad}\n{found}");
    }
}
