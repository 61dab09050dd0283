//! The binary as a person or an orchestrator meets it: what it prints, how it ends.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    process::{Command, Output},
};

use crate::dsl::{Running, WebSocket, fanfare, temporary};

fn output(words: &[&str]) -> Output {
    fanfare(words).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The answer to GET.
fn get(url: &str, path: &str) -> String {
    get_with(url, path, "connection: close")
}

/// The answer to GET with these further headers.
fn get_with(url: &str, path: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: test\r\n{headers}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_default_file_goes_through_check_and_sets_every_key_to_its_default() {
    let default = output(&["config", "default"]);
    assert_eq!(default.status.code(), Some(0));
    let file = temporary("default.toml", &text(&default.stdout));
    let check = output(&["config", "check", "--config", &file]);
    assert_eq!((check.status.code(), text(&check.stderr)), (Some(0), String::new()));
    assert!(
        text(&check.stdout).contains("server.listen = \"0.0.0.0:3000\"  # "),
        "{}",
        text(&check.stdout)
    );
}

#[test]
fn mistakes_go_to_stderr_all_at_once_and_end_with_64() {
    let file = temporary("wrong.toml", "[server]\nlisten = \"here\"\n[adapter]\nknd = \"redis\"\n");
    for command in [&["config", "check"][..], &["serve"]] {
        let ended = fanfare(command)
            .args(["--config", &file, "--adapter", "kafka"])
            .env("FANFARE_LOG__LEVEL", "loud")
            .output()
            .unwrap();
        assert_eq!((ended.status.code(), text(&ended.stdout)), (Some(64), String::new()));
        let told = text(&ended.stderr);
        for part in [
            "has 4 mistakes",
            "wrong.toml:2: server.listen",
            "wrong.toml:4: adapter.knd",
            "FANFARE_LOG__LEVEL: log.level",
            "--adapter: adapter.kind",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
    }
    assert_eq!(output(&["serve", "--lissten", "x"]).status.code(), Some(64));
}

#[test]
fn a_secret_is_shown_neither_by_check_nor_in_the_log() {
    let url = "redis://someone:hunter2@127.0.0.1:1";
    let check = output(&["config", "check", "--adapter", "redis", "--redis-url", url]);
    assert!(
        text(&check.stdout).contains("***@127.0.0.1:1") && !text(&check.stdout).contains("hunter2"),
        "{}",
        text(&check.stdout)
    );
    let words = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--internal-listen",
        "127.0.0.1:0",
        "--adapter",
        "redis",
        "--redis-url",
        url,
    ];
    let mut node = Running::start(&words, &[("FANFARE_LOG__LEVEL", "debug")]);
    assert!(node.line().starts_with("public "), "a node starts without its backend");
    assert!(node.line().starts_with("internal "));
    node.signal("TERM");
    let (code, log) = node.ended();
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("hunter2"), "{log}");
}

#[test]
fn a_node_prints_its_addresses_serves_and_stops_when_told() {
    let mut node = Running::start(&["serve", "--listen", "127.0.0.1:0", "--internal-listen", "127.0.0.1:0"], &[]);
    let public = node.line().strip_prefix("public ").unwrap().to_owned();
    let internal = node.line().strip_prefix("internal ").unwrap().to_owned();
    assert!(get(&public, "/socket.io/?EIO=4&transport=polling").contains("\"sid\""));
    assert!(get(&internal, "/livez").starts_with("HTTP/1.1 200"));
    node.signal("TERM");
    let (code, log) = node.ended();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("shutting down"), "{log}");
}

const HANDSHAKE: &str = "/socket.io/?EIO=4&transport=polling";

/// A node on free ports, and where clients connect.
fn serve(variables: &[(&str, &str)]) -> (Running, String) {
    let mut node = Running::start(&["serve", "--listen", "127.0.0.1:0", "--internal-listen", "127.0.0.1:0"], variables);
    let public = node.line();
    let url = public.strip_prefix("public ").unwrap_or_else(|| panic!("{public:?}"));
    let url = url.to_owned();
    assert!(node.line().starts_with("internal "));
    (node, url)
}

#[test]
fn pages_of_other_hosts_may_connect_only_where_they_are_named() {
    let from = |url: &str, origin: &str| {
        let answer = get_with(url, HANDSHAKE, &format!("origin: {origin}\r\nconnection: close"));
        answer.starts_with("HTTP/1.1 200")
    };
    let (_node, url) = serve(&[]);
    assert!(from(&url, "http://test") && from(&url, "https://test"), "the same host");
    assert!(!from(&url, "https://evil.example") && !from(&url, "http://test.evil.example") && !from(&url, "null"));
    assert!(get(&url, HANDSHAKE).contains("\"sid\""), "no page at all");

    let (_node, url) = serve(&[
        ("FANFARE_ORIGINS__ALLOW", "https://app.example"),
        ("FANFARE_COOKIE__ENABLED", "true"),
    ]);
    assert!(from(&url, "https://app.example") && !from(&url, "https://evil.example"));
    let cookie = "\r\nset-cookie: io=";
    let answer = get(&url, HANDSHAKE);
    assert!(
        answer.contains(cookie) && answer.contains("; HttpOnly; SameSite=Lax\r\n"),
        "{answer}"
    );
    let (_node, url) = serve(&[]);
    assert!(!get(&url, HANDSHAKE).contains(cookie), "no cookie unless it is asked for");
}

#[tokio::test]
async fn a_namespace_that_asks_for_a_token_lets_in_who_shows_it() {
    let key = "a key that nobody can guess";
    let namespaces = format!("[{{ name = \"/\", connect.token.keys = [\"{key}\"], rule = [{{ event = \"echo\", action = \"ack\" }}] }}]");
    let (node, url) = serve(&[("FANFARE_NAMESPACE", &namespaces), ("FANFARE_LOG__LEVEL", "debug")]);
    let (mut client, _) = WebSocket::open(url.strip_prefix("http://").unwrap().parse().unwrap()).await;
    client.send(r#"40{"token":"another key that is as long"}"#).await;
    assert_eq!(
        client.text().await,
        r#"44{"message":"the token is not valid","data":{"code":"token_invalid"}}"#
    );
    client.send(&format!(r#"40{{"token":"{key}"}}"#)).await;
    assert!(client.text().await.starts_with(r#"40{"sid":"#));
    client.send(r#"421["echo",1]"#).await;
    assert_eq!(client.text().await, "431[1]");
    node.signal("TERM");
    let (code, log) = node.ended();
    assert_eq!(code, Some(0), "{log}");
    assert!(
        log.contains("may not join") && !log.contains("that nobody can guess") && !log.contains("another key"),
        "{log}"
    );
}

#[test]
fn clients_that_take_every_file_descriptor_they_can_get_leave_some_to_probes() {
    let command = format!(
        "ulimit -n 80; exec {} serve --listen 127.0.0.1:0 --internal-listen 127.0.0.1:0",
        env!("CARGO_BIN_EXE_fanfare")
    );
    let mut shell = Command::new("sh");
    shell.args(["-c", &command]).env_clear();
    let mut node = Running::spawn(&mut shell);
    let public = node.line().strip_prefix("public http://").unwrap().to_owned();
    let internal = node.line().strip_prefix("internal ").unwrap().to_owned();
    // It has asked itself whether it is there, and holds nothing of that any more.
    while !get(&internal, "/metrics").contains("\nfanfare_advertise_verified 1\n") {}
    let clients: Vec<_> = (0..100).map(|_| TcpStream::connect(&public).unwrap()).collect();
    // The last of them was refused: those before have been taken up or refused by then.
    assert!(matches!(clients.last().unwrap().read(&mut [0]), Ok(0) | Err(_)));
    assert!(get(&internal, "/livez").starts_with("HTTP/1.1 200"));
    let metrics = get(&internal, "/metrics");
    let refused = metrics
        .lines()
        .find_map(|line| line.strip_prefix("fanfare_connections_refused_total "));
    assert!(refused.is_some_and(|refused| refused.parse::<u32>().unwrap() > 0), "{refused:?}");
    drop(clients);
    node.signal("TERM");
    let (code, log) = node.ended();
    assert_eq!((code, log.matches("refusing connections").count()), (Some(0), 1), "{log}");
}

#[test]
fn traces_are_sent_to_the_collector_before_the_end_which_does_not_wait_for_its_answer() {
    let collector = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", collector.local_addr().unwrap());
    let mut node = Running::start(
        &["serve", "--listen", "127.0.0.1:0", "--internal-listen", "127.0.0.1:0"],
        &[("FANFARE_TELEMETRY__OTLP_ENDPOINT", &endpoint)],
    );
    node.line();
    node.line();
    node.signal("TERM");
    // A collector that takes everything and never answers: HTTP/2 without a server's preface.
    let (mut connection, _) = collector.accept().unwrap();
    let mut sent = Vec::new();
    connection.read_to_end(&mut sent).unwrap();
    let (code, log) = node.ended();
    assert_eq!(code, Some(0), "{log}");
    for part in ["PRI * HTTP/2.0", "service.name", "fanfare", "shutdown"] {
        assert!(String::from_utf8_lossy(&sent).contains(part), "{part}");
    }
}

#[test]
fn an_address_in_use_is_told_and_ends_with_1() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ended = output(&["serve", "--listen", &address, "--internal-listen", "127.0.0.1:0"]);
    assert_eq!(ended.status.code(), Some(1));
    assert!(
        text(&ended.stderr).contains(&format!("cannot listen on {address}")),
        "{}",
        text(&ended.stderr)
    );
}

/// The demo on free ports, and its nodes' addresses as it prints them.
fn demo() -> (Running, Vec<String>) {
    let mut demo = Running::start(&["demo", "--port", "0"], &[]);
    let mut urls = Vec::new();
    while urls.len() < 3 {
        let line = demo.line();
        urls.extend(
            line.trim()
                .strip_prefix("node ")
                .and_then(|rest| rest.split_once("  "))
                .map(|(_, url)| url.to_owned()),
        );
    }
    (demo, urls)
}

#[tokio::test]
async fn what_a_client_of_the_demo_says_reaches_those_it_is_for() {
    let (demo, urls) = demo();
    let mut clients = Vec::new();
    for url in &urls {
        clients.push(WebSocket::connect(url.strip_prefix("http://").unwrap().parse().unwrap()).await);
    }
    let say = |text: &str, reach: &str| {
        format!(r#"42["say",{{"text":"{text}","reach":"{reach}","room":"brass","stamp":{{"page":"p","id":1,"at":0.5}}}}]"#)
    };
    let said = |node: u8, text: &str, reach: &str| {
        format!(r#"42["said",{{"node":{node},"text":"{text}","reach":"{reach}","room":"brass","stamp":{{"page":"p","id":1,"at":0.5}}}}]"#)
    };
    // Joining is answered, and leaves nobody in a room that the demo does not have.
    clients[1].send(r#"427["join","brass"]"#).await;
    assert_eq!(clients[1].text().await, "437[true]");
    clients[2].send(r#"428["join","_secret"]"#).await;
    assert_eq!(clients[2].text().await, "438[false]");

    clients[0].send(&say("to all", "everyone")).await;
    for client in &mut clients {
        assert_eq!(client.text().await, said(1, "to all", "everyone"));
    }
    clients[2].send(&say("not to me", "others")).await;
    assert_eq!(clients[0].text().await, said(3, "not to me", "others"));
    assert_eq!(clients[1].text().await, said(3, "not to me", "others"));
    clients[2].send(&say("to a room", "room")).await;
    assert_eq!(clients[1].text().await, said(3, "to a room", "room"));
    // Had the first or third client got one of those that were not for it, it would come before this.
    for number in [0, 2] {
        clients[number].send(r#"429["echo"]"#).await;
        assert_eq!(clients[number].text().await, "439[]");
    }
    demo.signal("INT");
    assert_eq!(demo.ended().0, Some(0));
}

#[test]
fn the_demo_prints_three_nodes_that_each_serve_the_page() {
    let (demo, urls) = demo();
    for url in &urls {
        let page = get(url, "/");
        assert!(page.starts_with("HTTP/1.1 200") && page.contains("<title>fanfare"), "{page}");
        for other in &urls {
            let port = other.rsplit(':').next().unwrap();
            assert!(page.contains(&format!("\"port\":{port}")), "each page knows all three");
        }
        assert!(get(url, "/demo.js").contains("class Pane"));
        assert!(get(url, "/demo.css").contains(".pane"));
    }
    demo.signal("INT");
    assert_eq!(demo.ended().0, Some(0));
}
