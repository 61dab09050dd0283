//! Parsers over real sockets: what clients of the msgpack parser send goes to others byte by byte, and the default parser does better
//! where the reference's stumbles.

use std::{net::SocketAddr, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use fanfare::{
    hub::{MsgpackParser, Parser},
    node::RunningNode,
    protocol::socketio::{Limits, Message},
};
use fanfare_adapters::memory::MemoryBus;

use crate::{
    bad_inputs::{MSGPACK, MSGPACK_STATES, MSGPACK_VALUES},
    dsl::{Polling, WebSocket, start_on, start_with},
};

/// `{type: 0, nsp: "/"}`
const CONNECT: &[u8] = b"\x82\xa4type\x00\xa3nsp\xa1/";

async fn start() -> RunningNode {
    start_with(|config| config.server.hub.parser = Arc::new(MsgpackParser)).await
}

async fn start_two() -> [RunningNode; 2] {
    let bus = MemoryBus::new();
    let configure = |config: &mut fanfare::node::Config| config.server.hub.parser = Arc::new(MsgpackParser);
    [start_on(&bus, configure).await.0, start_on(&bus, configure).await.0]
}

/// A packet of the type `kind` with the members that stand in msgpack behind its data: `/` as `nsp`, and perhaps an id.
fn packet(kind: u8, name: &str, arguments: &[&[u8]], id: Option<u8>) -> Vec<u8> {
    let mut packet = vec![if id.is_some() { 0x84 } else { 0x83 }];
    packet.extend(
        [
            b"\xa4type",
            &[kind][..],
            b"\xa4data",
            &[0x91 + arguments.len() as u8, 0xa0 + name.len() as u8],
            name.as_bytes(),
        ]
        .concat(),
    );
    packet.extend(arguments.concat());
    if let Some(id) = id {
        packet.extend([b"\xa2id", &[id][..]].concat());
    }
    packet.extend(b"\xa3nsp\xa1/");
    packet
}

/// What JSON has no form for: `[undefined, new Date(1), new Uint8Array([1, 2]), Buffer.from([3]), NaN, -0.5]`
const RICH: &[u8] = b"\x96\xd4\0\0\xd7\0\0\0\0\0\0\0\0\x01\xc7\x02\0\x01\x02\xc4\x01\x03\xcb\x7f\xf8\0\0\0\0\0\0\xcb\xbf\xe0\0\0\0\0\0\0";

async fn connect(address: SocketAddr) -> WebSocket {
    let (mut client, _) = WebSocket::open(address).await;
    client.send_binary(CONNECT).await;
    let answer = client.binary().await;
    assert!(answer.starts_with(b"\x83\xa4type\x00\xa4data\x82\xa3sid\xb4"), "{answer:02x?}");
    assert!(answer.ends_with(b"\xa3pid\xd4\x00\x00\xa3nsp\xa1/"), "{answer:02x?}");
    client
}

/// Connects a client that polls, and takes its answer.
async fn connect_polling(address: SocketAddr) -> Polling {
    let client = Polling::open(address).await;
    post(&client, CONNECT).await;
    let answer = get(&client).await;
    assert!(answer.starts_with(b"\x83\xa4type\x00\xa4data\x82\xa3sid\xb4"), "{answer:02x?}");
    client
}

async fn post(client: &Polling, packet: &[u8]) {
    client.send(&format!("b{}", STANDARD.encode(packet))).await;
}

async fn get(client: &Polling) -> Vec<u8> {
    let packets = client.receive().await;
    let [packet] = &packets[..] else {
        panic!("one packet: {packets:?}")
    };
    STANDARD.decode(packet.strip_prefix('b').unwrap()).unwrap()
}

#[tokio::test]
async fn values_that_json_lacks_come_back_byte_by_byte() {
    let node = start().await;
    let mut client = connect(node.public_addr()).await;
    let poller = connect_polling(node.public_addr()).await;
    for arguments in [
        &[RICH][..],
        &[b"\xd4\0\0"],
        &[b"\x81\xa1a\xd4\0\0"],
        &[b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", RICH],
    ] {
        let event = packet(2, "echo", arguments, None);
        client.send_binary(&event).await;
        assert_eq!(client.binary().await, event);
        post(&poller, &event).await;
        assert_eq!(get(&poller).await, event);

        client.send_binary(&packet(2, "ack", arguments, Some(7))).await;
        let data = [&[0x90 + arguments.len() as u8][..], &arguments.concat()].concat();
        let answer = [b"\x84\xa2id\x07\xa4type\x03\xa4data", &data[..], b"\xa3nsp\xa1/"].concat();
        assert_eq!(client.binary().await, answer);
    }
    node.shutdown().await;
}

#[tokio::test]
async fn a_broadcast_reaches_clients_of_other_nodes_byte_by_byte() {
    let [one, two] = start_two().await;
    let mut sender = connect(one.public_addr()).await;
    let (mut near, mut far) = (connect(one.public_addr()).await, connect(two.public_addr()).await);
    let poller = connect_polling(two.public_addr()).await;
    let event = packet(2, "others", &[RICH, RICH], None);
    sender.send_binary(&event).await;
    assert_eq!(near.binary().await, event);
    assert_eq!(far.binary().await, event);
    assert_eq!(get(&poller).await, event);
    one.shutdown().await;
    two.shutdown().await;
}

#[tokio::test]
async fn the_server_disconnects_and_refuses_in_msgpack() {
    let node = start().await;
    let mut client = connect(node.public_addr()).await;
    client.send_binary(b"\x82\xa4type\x00\xa3nsp\xa8/nowhere").await;
    assert_eq!(
        client.binary().await,
        b"\x83\xa4type\x04\xa4data\x81\xa7message\xb1Invalid namespace\xa3nsp\xa8/nowhere"
    );
    node.io().disconnect_sockets(false);
    assert_eq!(client.binary().await, b"\x82\xa4type\x01\xa3nsp\xa1/");
    // And the same session may come again, and leave by itself.
    client.send_binary(CONNECT).await;
    assert!(client.binary().await.starts_with(b"\x83\xa4type\x00"));
    client.send_binary(b"\x82\xa4type\x01\xa3nsp\xa1/").await;
    client.send_binary(CONNECT).await;
    assert!(client.binary().await.starts_with(b"\x83\xa4type\x00"));
    node.shutdown().await;
}

#[tokio::test]
async fn a_bad_packet_closes_its_session_only() {
    let node = start().await;
    let mut bystander = connect(node.public_addr()).await;
    let packets = MSGPACK.iter().map(|(what, hex)| (*what, bytes(hex)));
    let values = MSGPACK_VALUES
        .iter()
        .map(|(what, hex)| (*what, packet(2, "echo", &[&bytes(hex)], None)));
    let refused: Vec<_> = packets.chain(values).collect();
    for (what, message) in &refused {
        let refused = MsgpackParser.decode(Message::Binary(message.clone().into()), &Limits::default());
        assert!(refused.is_err(), "{what}: {refused:?}");
    }
    let not_now = MSGPACK_STATES.iter().map(|(what, hex)| (*what, bytes(hex)));
    for (number, (what, message)) in refused.into_iter().chain(not_now).enumerate() {
        let mut client = connect(node.public_addr()).await;
        client.send_binary(&message).await;
        assert_eq!(client.closed().await, 1005, "{what}");
        let tick = packet(2, "echo", &[&[number as u8 % 128]], None);
        bystander.send_binary(&tick).await;
        assert_eq!(bystander.binary().await, tick, "after {what}");
    }
    // A client of the default parser.
    let (mut client, _) = WebSocket::open(node.public_addr()).await;
    client.send("40").await;
    assert_eq!(client.closed().await, 1005);
    node.shutdown().await;
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<_> = hex.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let pairs = digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap());
    pairs.collect()
}

/// All nodes of a cluster use one parser; where they do not, nobody is harmed.
#[tokio::test]
async fn a_node_with_another_parser_breaks_nothing() {
    let bus = MemoryBus::new();
    let (text, _) = start_on(&bus, |_| {}).await;
    let (msgpack, _) = start_on(&bus, |config| config.server.hub.parser = Arc::new(MsgpackParser)).await;
    let mut reader = WebSocket::connect(text.public_addr()).await;
    let mut writer = connect(msgpack.public_addr()).await;
    writer.send_binary(&packet(2, "others", &[RICH], None)).await;
    let event = reader.text().await;
    assert!(
        event.starts_with(r#"453-["others",[{"_placeholder":true,"num":0,"msgpack":0},"#),
        "{event}"
    );
    let attachments = [reader.binary().await, reader.binary().await, reader.binary().await];
    assert_eq!(attachments[1..], [vec![1, 2], vec![3]], "bytes are what they are to any parser");

    reader.send(r#"451-["others",{"_placeholder":true,"num":0},1.5,-7]"#).await;
    reader.send_binary(&[9]).await;
    assert_eq!(
        writer.binary().await,
        packet(2, "others", &[b"\xc4\x01\x09", b"\xcb\x3f\xf8\0\0\0\0\0\0", b"\xf9"], None)
    );
    // What has no form in the other parser is dropped there, and the next is not.
    reader.send(r#"42["others","\ud800"]"#).await;
    reader.send(r#"42["others","\ud83d\ude00"]"#).await;
    assert_eq!(writer.binary().await, packet(2, "others", &[b"\xa4\xf0\x9f\x98\x80"], None));
    text.shutdown().await;
    msgpack.shutdown().await;
}

#[tokio::test]
async fn an_event_with_no_attachments_to_come_leaves_nothing_pending() {
    let node = start_with(|_| {}).await;
    let mut client = WebSocket::connect(node.public_addr()).await;
    // The reference closes over the second packet.
    for text in [r#"450-["echo",1]"#, r#"42["echo",2]"#] {
        client.send(text).await;
    }
    assert_eq!(client.text().await, r#"42["echo",1]"#);
    assert_eq!(client.text().await, r#"42["echo",2]"#);
    node.shutdown().await;
}

#[tokio::test]
async fn ids_are_answered_as_numbers() {
    let node = start_with(|_| {}).await;
    let mut client = WebSocket::connect(node.public_addr()).await;
    for (asked, answered) in [
        (r#"42007["ack"]"#, "437[]"),
        (r#"420["ack",1]"#, "430[1]"),
        (r#"429007199254740991["ack"]"#, "439007199254740991[]"),
        (r#"42/,5["ack"]"#, "435[]"),
        (r#"4200000000000000000000000000001["ack"]"#, "431[]"),
    ] {
        client.send(asked).await;
        assert_eq!(client.text().await, answered);
    }
    node.shutdown().await;
}

#[tokio::test]
async fn packets_of_the_engine_may_come_between_attachments() {
    let node = start_with(|_| {}).await;
    let mut client = WebSocket::connect(node.public_addr()).await;
    let event = r#"452-["echo",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]"#;
    client.send(event).await;
    client.send("3").await;
    client.send_binary(b"one").await;
    client.send("6").await;
    client.send_binary(b"two").await;
    assert_eq!(client.text().await, event);
    assert_eq!(client.binary().await, b"one");
    assert_eq!(client.binary().await, b"two");
    node.shutdown().await;
}

#[tokio::test]
async fn two_connects_at_once_are_one_too_many() {
    let node = start_with(|_| {}).await;
    let (mut client, _) = WebSocket::open(node.public_addr()).await;
    // The reference takes both, and forgets one of the sockets.
    client.send("40").await;
    client.send("40").await;
    assert!(client.text().await.starts_with("40{"));
    assert_eq!(client.closed().await, 1005);
    // One after the other is fine, and gives another socket.
    let (mut client, _) = WebSocket::open(node.public_addr()).await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        client.send("40").await;
        ids.push(client.text().await);
        client.send("41").await;
    }
    assert_ne!(ids[0], ids[1]);
    node.shutdown().await;
}
