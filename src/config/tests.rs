//! The configuration by its promises: all mistakes at once, each with its place; precedence; masking; a default file that changes nothing.

use proptest::prelude::*;

use super::{
    settings::{Key, SECTIONS, keys},
    *,
};
use crate::broker::Action;

pub(super) fn file(text: &str) -> Sources {
    Sources {
        file: Some(File {
            name: "fanfare.toml".to_owned(),
            text: text.to_owned(),
        }),
        ..Sources::default()
    }
}

pub(super) fn variables(pairs: &[(&str, &str)]) -> Sources {
    Sources {
        variables: pairs.iter().map(|(name, value)| (name.into(), value.into())).collect(),
        ..Sources::default()
    }
}

/// The mistakes as lines.
pub(super) fn mistakes(sources: &Sources) -> Vec<String> {
    sources
        .load()
        .map_or_else(|mistakes| mistakes.iter().map(ToString::to_string).collect(), |_| Vec::new())
}

/// The one mistake of a file, without its place.
pub(super) fn mistake(text: &str) -> String {
    let found = mistakes(&file(text));
    assert_eq!(found.len(), 1, "{text:?} {found:#?}");
    found[0].split_once(": ").unwrap().1.to_owned()
}

fn settings(sources: &Sources) -> Vec<String> {
    sources
        .load()
        .unwrap()
        .set
        .iter()
        .map(|set| format!("{} = {} ({})", set.key, set.value, set.place))
        .collect()
}

#[test]
fn the_default_file_is_a_configuration_that_changes_nothing() {
    let defaults = format!("{:?}", Sources::default().load().unwrap().config);
    let loaded = file(&default_file()).load().unwrap();
    assert_eq!(format!("{:?}", loaded.config), defaults);
    assert_eq!(loaded.set.len(), keys().count(), "every key stands in the file");
    assert_eq!(loaded.notes, Vec::<String>::new());
}

#[test]
fn the_example_in_the_default_file_is_a_configuration() {
    let (_, example) = default_file()
        .split_once("# [[namespace]]")
        .map(|(head, rest)| (head.to_owned(), format!("# [[namespace]]{rest}")))
        .unwrap();
    let text: String = example
        .lines()
        .map(|line| format!("{}\n", line.trim_start_matches("# ").trim_start_matches('#')))
        .collect();
    let rules = file(&text).load().unwrap().config.rules;
    assert_eq!(rules.namespaces.len(), 2);
    assert_eq!(rules.namespaces[0].rules.len(), 3);
    assert!(rules.namespaces[1].login.is_some() && rules.namespaces[1].rules.len() == 1);
    assert_eq!(rules.namespaces[0].on_connect[0].data, Some(serde_json::json!({"hello": "world"})));
}

#[test]
fn every_key_has_a_documentation_and_a_default_of_its_form() {
    for section in SECTIONS {
        assert!(!section.doc.is_empty(), "{}", section.path);
        for key in section.keys {
            assert!(!key.doc.is_empty(), "{}", key.path);
            assert!(!key.expected.is_empty(), "{}", key.path);
            let (parent, name) = key.path.rsplit_once('.').unwrap();
            assert_eq!(
                mistakes(&file(&format!("[{parent}]\n{name} = {}", key.default))),
                Vec::<String>::new()
            );
        }
    }
}

#[test]
fn every_key_refuses_a_table_and_names_line_key_and_expected_form() {
    for key in keys() {
        let (parent, name) = key.path.rsplit_once('.').unwrap();
        let found = mistakes(&file(&format!("# a comment\n\n[{parent}]\n{name} = {{ a = 1 }}\n")));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with(&format!("fanfare.toml:4: {}: found ", key.path)), "{found:?}");
        assert!(found[0].ends_with(&format!("expected {}", key.expected)), "{found:?}");
    }
}

#[test]
fn every_default_can_be_given_as_a_variable_too() {
    for key in keys() {
        let word = key.default.replace(['"', '[', ']', ' '], "");
        assert_eq!(
            mistakes(&variables(&[(&Key::variable(key.path), &word)])),
            Vec::<String>::new(),
            "{}",
            key.path
        );
    }
}

#[test]
fn all_mistakes_of_all_places_are_reported_at_once_in_order() {
    let mut sources = file(
        "[server]\nlisten = \"everywhere\"\nlissten = \"0.0.0.0:1\"\n\n[engine]\nping_interval = \"0s\"\nping_timeout = 20\n\n[adapters]\nkind = \"redis\"\n\n\
         [[namespace]]\nname = \"/\"\n[[namespace.rule]]\nevent = \"disconnect\"\naction = \"brodcast\"\n",
    );
    sources.variables = vec![
        ("FANFARE_ENGINE__TRANSPORTS".into(), "polling,carrier-pigeon".into()),
        ("FANFARE_SERVER_LISTEN".into(), "0.0.0.0:1".into()),
        ("PATH".into(), "/bin".into()),
    ];
    sources.flags = vec![Flag {
        name: "--adapter",
        key: "adapter.kind",
        value: "kafka".into(),
    }];
    let found = mistakes(&sources);
    let expected = [
        "fanfare.toml:2: server.listen: found \"everywhere\", expected an IP address",
        "fanfare.toml:3: server.lissten: there is no such key; did you mean server.listen?",
        "fanfare.toml:6: engine.ping_interval: found \"0s\", expected a duration above zero",
        "fanfare.toml:7: engine.ping_timeout: found 20, expected a duration above zero with its unit",
        "fanfare.toml:9: adapters: there is no such key; did you mean adapter?",
        "fanfare.toml:15: namespace.rule.event: found \"disconnect\", expected an event that clients can send; reserved are",
        "fanfare.toml:16: namespace.rule.action: found \"brodcast\", expected one of broadcast, emit, room, join, leave, ack; did you mean broadcast?",
        "FANFARE_ENGINE__TRANSPORTS: engine.transports: found \"polling,carrier-pigeon\", expected a list of",
        "FANFARE_SERVER_LISTEN: there is no key for this variable; did you mean FANFARE_SERVER__LISTEN?",
        "--adapter: adapter.kind: found \"kafka\", expected \"memory\", \"redis\" or \"nats\"",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\n{expected}");
    }
}

#[test]
fn mistakes_of_syntax_come_with_the_others_and_once_a_line() {
    let found = mistakes(&file(
        "[server]\nlisten = 0.0.0.0:3000\n[engine]\nping_interval = \"never\"\n[log\nformat = \"xml\"\n",
    ));
    assert!(found[0].starts_with("fanfare.toml:2: not TOML: "), "{found:#?}");
    assert!(
        found[1].starts_with("fanfare.toml:4: engine.ping_interval: found \"never\""),
        "{found:#?}"
    );
    assert!(found[2].starts_with("fanfare.toml:5: not TOML: "), "{found:#?}");
    assert!(
        found.iter().all(|line| found.iter().filter(|other| *other == line).count() == 1),
        "{found:#?}"
    );
}

#[test]
fn flags_win_over_variables_over_the_file_over_defaults() {
    let mut sources = file("[server]\nlisten = \"127.0.0.1:1\"\n[log]\nlevel = \"debug\"\n[cluster]\nname = \"a\"");
    sources.variables = vec![
        ("FANFARE_SERVER__LISTEN".into(), "127.0.0.1:2".into()),
        ("FANFARE_LOG__LEVEL".into(), "warn".into()),
    ];
    sources.flags = vec![Flag {
        name: "--listen",
        key: "server.listen",
        value: "127.0.0.1:3".into(),
    }];
    assert_eq!(
        settings(&sources),
        [
            "server.listen = \"127.0.0.1:3\" (--listen)",
            "cluster.name = \"a\" (fanfare.toml:6)",
            "log.level = \"warn\" (FANFARE_LOG__LEVEL)"
        ]
    );
}

#[test]
fn a_value_that_loses_is_checked_too() {
    let mut sources = file("[server]\nlisten = \"nowhere\"");
    sources.flags = vec![Flag {
        name: "--listen",
        key: "server.listen",
        value: "127.0.0.1:3".into(),
    }];
    assert!(mistakes(&sources)[0].starts_with("fanfare.toml:2: server.listen"));
}

#[test]
fn what_kubernetes_injects_is_ignored_with_a_note_and_nothing_else_is() {
    let sources = variables(&[
        ("FANFARE_SERVICE_HOST", "10.0.0.1"),
        ("FANFARE_SERVICE_PORT", "3000"),
        ("FANFARE_SERVICE_PORT_HTTP", "3000"),
        ("FANFARE_PORT", "tcp://10.0.0.1:3000"),
        ("FANFARE_PORT_3000_TCP", "tcp://10.0.0.1:3000"),
        ("FANFARE_PORT_3000_TCP_PROTO", "tcp"),
        ("FANFARE_PORT_3000_TCP_ADDR", "10.0.0.1"),
        ("FANFARE_HEADLESS_SERVICE_HOST", "None"),
        ("FANFARE_HEADLESS_PORT_3001_TCP_PORT", "3001"),
        ("FANFARE_CLIENT_DIST", "/tmp/dist"),
        ("FANFARE_CONFIG", "fanfare.toml"),
    ]);
    let loaded = sources.load().unwrap();
    assert_eq!(loaded.notes.len(), 1, "{:?}", loaded.notes);
    assert!(loaded.notes[0].contains("FANFARE_SERVICE_HOST and 8 more"), "{:?}", loaded.notes);
    for stray in [
        "FANFARE_PORT",
        "FANFARE_PORT_HTTP_TCP",
        "FANFARE_SERVICE",
        "FANFARE_ADAPTER__REDIS__URLS",
        "FANFARE_",
    ] {
        assert_eq!(mistakes(&variables(&[(stray, "3000")])).len(), 1, "{stray}");
    }
}

#[test]
fn secrets_are_masked_wherever_they_stand() {
    let mut sources = file(
        "[adapter.redis]\nurl = \"redis://admin:hunter2@db:6379?password=hunter2\"\npassword = \"hunter2\"\n[adapter.nats]\nurl = \"nats://hunter2@a:1,nats://u:hunter2@b:2\"\n[cluster]\nsecret = \"hunter2 hunter2 hunter2\"",
    );
    let loaded = sources.load().unwrap();
    assert!(
        settings(&sources).contains(&"adapter.redis.url = \"redis://***@db:6379?***\" (fanfare.toml:2)".to_owned()),
        "{:?}",
        settings(&sources)
    );
    assert!(settings(&sources).contains(&"adapter.nats.url = \"nats://***@a:1,nats://***@b:2\" (fanfare.toml:5)".to_owned()));
    for shown in [format!("{loaded:?}"), settings(&sources).join("\n")] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    sources = file(
        "adapter.redis.url = \"redis-sentinel://admin:hunter2,hunter2?hunter2@a:1,b:2/m\"\nadapter.redis.sentinel_password = \"hunter2\"",
    );
    let shown = settings(&sources).join("\n");
    assert!(shown.contains("adapter.redis.url = \"redis-sentinel://***@a:1,b:2/m\""), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
    // And in mistakes: a wrong scheme, no URL at all, a number where a text belongs.
    sources = variables(&[
        ("FANFARE_ADAPTER__REDIS__URL", "http://admin:hunter2@db"),
        ("FANFARE_ADAPTER__NATS__URL", "admin:hunter2@db"),
        ("FANFARE_CLUSTERS__SECRET", "hunter2"),
    ]);
    sources.file = file("[adapter.redis]\npassword = 4711\n[telemetry]\notlp_endpoint = \"http://u:hunter2@c:4317\"").file;
    let found = mistakes(&sources);
    assert_eq!(found.len(), 5, "{found:#?}");
    assert!(
        !found.join("\n").contains("hunter2") && !found.join("\n").contains("4711"),
        "{found:#?}"
    );
}

#[test]
fn durations_and_sizes_have_units_and_bounds() {
    let value = |key: &str, text: &str| mistakes(&file(&format!("{key} = {text}"))).is_empty();
    for good in ["\"1ms\"", "\"2500ms\"", "\"10s\"", "\"10 s\"", "\"5m\"", "\"24h\""] {
        assert!(value("engine.ping_interval", good), "{good}");
    }
    for bad in [
        "\"0s\"",
        "10",
        "\"10\"",
        "\"s\"",
        "\"1.5s\"",
        "\"-1s\"",
        "\"25h\"",
        "\"99999999999999999999s\"",
        "\"18446744073709551615h\"",
        "\"10 parsecs\"",
        "true",
    ] {
        assert!(!value("engine.ping_interval", bad), "{bad}");
    }
    assert!(value("server.shutdown_grace", "\"0s\""), "a grace may be zero");
    for (good, bytes) in [
        ("1000000", 1_000_000),
        ("1_000", 1000),
        ("0x10", 16),
        ("\"1MB\"", 1_000_000),
        ("\"1MiB\"", 1 << 20),
        ("\"64 KiB\"", 65_536),
        ("\"2kB\"", 2000),
        ("\"7B\"", 7),
    ] {
        let loaded = file(&format!("engine.max_http_buffer_size = {good}\nengine.outbox_bytes = \"1GiB\""))
            .load()
            .unwrap();
        assert_eq!(loaded.config.node.server.engine.max_http_buffer_size, bytes, "{good}");
    }
    for bad in [
        "0",
        "\"0MB\"",
        "-1",
        "\"1mb\"",
        "1.5",
        "\"MB\"",
        "\"99999999999999999999\"",
        "\"99999999999GiB\"",
        "\"5GiB\"",
    ] {
        assert!(!value("engine.max_http_buffer_size", bad), "{bad}");
    }
}

#[test]
fn forms_refuse_what_would_fail_later() {
    for (key, bad) in [
        ("server.path", "\"socket.io\""),
        ("server.path", "\"/{id}\""),
        ("server.path", "\"/\""),
        ("cors.origins", "[\"example.com\"]"),
        ("cors.origins", "[\"https://example.com/\"]"),
        ("cors.origins", "\"*\""),
        ("origins.allow", "\"anything\""),
        ("origins.allow", "[]"),
        ("origins.allow", "[\"*\"]"),
        ("server.http_compression", "true"),
        ("server.http_compression", "0"),
        ("server.per_message_deflate", "true"),
        ("server.per_message_deflate", "0"),
        ("server.trusted_proxies", "[\"10.0.0.0/33\"]"),
        ("server.trusted_proxies", "\"10.0.0.0/8\""),
        ("socketio.parser", "\"xml\""),
        ("limits.rooms_per_socket", "0"),
        ("limits.events_per_second", "-1"),
        ("limits.json_depth", "128"),
        ("limits.attachments", "1001"),
        ("limits.sessions", "\"many\""),
        ("cors.methods", "[\"GET POST\"]"),
        ("cors.allowed_headers", "[\"\"]"),
        ("cookie.name", "\"a b\""),
        ("cookie.path", "\"/;x\""),
        ("cluster.name", "\"a.b\""),
        ("cluster.name", "\"\""),
        ("cluster.node", "\"two\\nlines\""),
        ("cluster.advertise", "\"example.com\""),
        ("cluster.advertise", "\"example.com:0\""),
        ("log.level", "\"verbose\""),
        ("log.level", "\"fanfare=loud\""),
        ("telemetry.otlp_endpoint", "\"https://collector:4317\""),
        ("engine.transports", "[]"),
        ("engine.transports", "[\"polling\", \"polling\"]"),
        ("adapter.redis.url", "\"redis:6379\""),
        ("adapter.nats.url", "\"nats://a,http://b\""),
    ] {
        assert!(
            mistake(&format!("{key} = {bad}")).starts_with(&format!("{key}: found ")),
            "{key} {bad}"
        );
    }
    for (key, good) in [
        ("server.path", "\"/live/socket.io/\""),
        ("origins.allow", "\"any\"\ncors.origins = [\"*\"]"),
        (
            "origins.allow",
            "[\"https://example.com\", \"http://localhost:8080\"]\ncors.origins = [\"https://example.com\"]",
        ),
        ("server.http_compression", "false"),
        ("server.http_compression", "\"4KiB\""),
        ("server.per_message_deflate", "false"),
        ("server.per_message_deflate", "\"4KiB\""),
        ("server.trusted_proxies", "[\"10.0.0.0/8\", \"::1\"]"),
        ("limits.events_per_second", "0"),
        ("cluster.advertise", "\"fanfare-0.fanfare:3001\""),
        ("cluster.advertise", "\"[::1]:3001\""),
        ("log.level", "\"warn,fanfare::hub=trace\""),
        ("adapter.redis.url", "\"rediss://u:p@redis.example.com:6380\""),
        (
            "adapter.redis.url",
            "\"redis-sentinel://a:26379,b:26379/m\"\nadapter.kind = \"redis\"",
        ),
        (
            "adapter.redis.url",
            "\"rediss-cluster://u:p@a:6379,b:6379\"\nadapter.kind = \"redis\"",
        ),
        ("adapter.nats.url", "\"tls://a:4222, nats://b:4222\""),
    ] {
        assert_eq!(mistakes(&file(&format!("{key} = {good}"))), Vec::<String>::new(), "{key} {good}");
    }
}

#[test]
fn rules_are_read_with_their_rooms_and_greetings() {
    let rules = file(
        "[[namespace]]\nname = \"/chat\"\non_connect = [{ event = \"news\", data = { hello = \"world\", n = [1, 2.5, true] } }, { event = \"hi\" }]\n\
         rule = [{ event = \"say\", action = \"room\", rooms = [\"chat-*\", \"lobby\"] }, { event = \"message\", action = \"broadcast\" }]",
    )
    .load()
    .unwrap()
    .config
    .rules;
    let namespace = &rules.namespaces[0];
    assert_eq!(namespace.name.as_str(), "/chat");
    assert_eq!(
        namespace.on_connect[0].data,
        Some(serde_json::json!({"hello": "world", "n": [1, 2.5, true]}))
    );
    assert_eq!(namespace.on_connect[1].data, None);
    let Action::Room(rooms) = &namespace.rules[0].action else {
        panic!("{namespace:?}")
    };
    assert!(["chat-1", "lobby"].iter().all(|room| rooms.check(room, None).is_ok()) && rooms.check("attic", None).is_err());
    assert_eq!(namespace.rules[1].action, Action::Broadcast);
}

#[test]
fn bad_rules_are_mistakes() {
    let rule = |rule: &str| mistake(&format!("[[namespace]]\nname = \"/\"\nrule = [{{ {rule} }}]"));
    for (text, expected) in [
        (
            "event = \"a\"",
            "namespace.rule.action: missing: expected one of broadcast, emit, room, join, leave, ack",
        ),
        ("action = \"emit\"", "namespace.rule.event: missing: expected the name of an event"),
        (
            "event = \"a\", action = \"shout\"",
            "namespace.rule.action: found \"shout\", expected one of broadcast, emit, room, join, leave, ack",
        ),
        (
            "event = \"connect\", action = \"emit\"",
            "namespace.rule.event: found \"connect\", expected an event that clients can send",
        ),
        ("event = 7, action = \"emit\"", "namespace.rule.event: found 7, expected a text"),
        (
            "event = \"a\", action = \"room\"",
            "namespace.rule.rooms: missing: the action room needs the rooms it allows",
        ),
        (
            "event = \"a\", action = \"emit\", rooms = [\"x\"]",
            "namespace.rule.rooms: the action emit has no rooms",
        ),
        (
            "event = \"a\", action = \"join\", rooms = []",
            "namespace.rule.rooms: found [], expected a list of rooms",
        ),
        (
            "event = \"a\", action = \"join\", rooms = [\"_x\"]",
            "namespace.rule.rooms: found \"_x\", expected a name without a leading _",
        ),
        (
            "event = \"a\", action = \"join\", rooms = \"x\"",
            "namespace.rule.rooms: found \"x\", expected a list of rooms",
        ),
        (
            "event = \"a\", action = \"emit\", romms = 1",
            "namespace.rule.romms: there is no such key; did you mean rooms?",
        ),
        (
            "event = \"a\", action = \"emit\" }, { event = \"a\", action = \"ack\"",
            "namespace.rule.event: \"a\" has a rule already",
        ),
    ] {
        let found = rule(text);
        assert!(found.starts_with(expected), "{text}\n{found}");
    }
    for (text, expected) in [
        (
            "[[namespace]]\nname = \"chat\"",
            "namespace.name: found \"chat\", expected a namespace such as",
        ),
        ("[[namespace]]\nrule = []", "namespace.name: missing"),
        ("[namespace]\nname = \"/\"", "namespace: found a table, expected an array of tables"),
        (
            "[[namespace]]\nname = \"/\"\ndelivery = \"recovrable\"",
            "namespace.delivery: found \"recovrable\", expected live or recoverable; did you mean recoverable?",
        ),
        (
            "[[namespace]]\nname = \"/\"\n[[namespace]]\nname = \"/\"",
            "namespace.name: / is declared twice",
        ),
        (
            "[[namespace]]\nname = \"/\"\nrules = []",
            "namespace.rules: there is no such key; did you mean rule?",
        ),
        (
            "[[namespace]]\nname = \"/\"\non_connect = [{ event = \"a\", data = nan }]",
            "namespace.on_connect.data: expected a value that JSON has too",
        ),
        (
            "[[namespace]]\nname = \"/\"\non_connect = [{ event = \"disconnect\" }]",
            "namespace.on_connect.event: found \"disconnect\"",
        ),
    ] {
        let found = mistake(text);
        assert!(found.starts_with(expected), "{text}\n{found}");
    }
}

#[test]
fn the_namespaces_can_stand_in_a_variable_which_wins() {
    let mut sources = variables(&[(
        "FANFARE_NAMESPACE",
        "[{ name = \"/\", rule = [{ event = \"a\", action = \"emit\" }] }]",
    )]);
    sources.file = file("[[namespace]]\nname = \"/other\"").file;
    let rules = sources.load().unwrap().config.rules;
    assert_eq!(rules.namespaces.len(), 1);
    assert_eq!(rules.namespaces[0].rules[0].action, Action::Emit);
    let found = mistakes(&variables(&[("FANFARE_NAMESPACE", "emit everything")]));
    assert!(found[0].starts_with("FANFARE_NAMESPACE: namespace: not TOML: "), "{found:?}");
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_utf8_is_a_mistake_and_its_name_is_told() {
    use std::os::unix::ffi::OsStringExt as _;
    let sources = Sources {
        variables: vec![("FANFARE_LOG__LEVEL".into(), std::ffi::OsString::from_vec(vec![0xff]))],
        ..Sources::default()
    };
    assert_eq!(mistakes(&sources), ["FANFARE_LOG__LEVEL: log.level: the value is not UTF-8"]);
}

proptest! {
    #[test]
    fn no_file_panics(text in "\\PC{0,200}") {
        let _ok = file(&text).load().is_ok();
    }

    #[test]
    fn no_file_with_known_words_panics(words in proptest::collection::vec(prop_oneof![
        Just("[server]"), Just("[[namespace]]"), Just("namespace"), Just("listen"), Just("adapter.redis"), Just("rule"), Just("rooms"), Just(" = "),
        Just("\n"), Just("\""), Just("["), Just("]"), Just("{"), Just("}"), Just(","), Just("1"), Just("nan"), Just("\u{e9}"), Just("on_connect"),
    ], 0..40)) {
        let _ok = file(&words.concat()).load().is_ok();
    }

    #[test]
    fn no_word_panics(key in 0..64usize, word in "\\PC{0,40}") {
        let Some(key) = keys().nth(key) else { return Ok(()) };
        let _ok = variables(&[(&Key::variable(key.path), &word)]).load().is_ok();
    }

    #[test]
    fn a_line_number_counts_the_lines_before(blank in 0..50usize) {
        let found = mistakes(&file(&format!("{}server.listen = 1", "\n".repeat(blank))));
        let expected = format!("fanfare.toml:{}: ", blank + 1);
        prop_assert!(found[0].starts_with(&expected), "{:?}", found);
    }
}
