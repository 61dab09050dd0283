//! Messages over polling, both ways, and what a poll is answered (protocol facts, 1.2 and 1.3).

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
};

use crate::dsl::{Answer, Polling, exchange, request, settle, start, start_with, within};

/// A poll under way.
fn park(client: &Polling) -> JoinHandle<Answer> {
    let client = client.clone();
    tokio::spawn(async move { client.get().await })
}

#[tokio::test]
async fn an_event_and_its_answer_go_round() {
    let node = start().await;
    let client = Polling::connect(node.public_addr()).await;
    client.send(r#"42["echo","one",{"two":2}]"#).await;
    let answer = client.get().await;
    assert_eq!((answer.status, answer.text()), (200, r#"42["echo","one",{"two":2}]"#));
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=UTF-8"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("content-length"), Some(answer.body.len().to_string().as_str()));
    node.shutdown().await;
}

#[tokio::test]
async fn a_post_is_answered_ok() {
    let node = start().await;
    let client = Polling::connect(node.public_addr()).await;
    let answer = client.post(br#"42["nothing"]"#).await;
    assert_eq!((answer.status, answer.text()), (200, "ok"));
    assert_eq!(answer.header("content-type"), Some("text/html"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    node.shutdown().await;
}

#[tokio::test]
async fn packets_of_one_payload_stay_in_order() {
    let node = start().await;
    let client = Polling::connect(node.public_addr()).await;
    let payload: Vec<_> = (0..50).map(|number| format!(r#"42["echo",{number}]"#)).collect();
    client.send(&payload.join("\x1e")).await;
    assert_eq!(client.receive_some(payload.len()).await, payload);
    node.shutdown().await;
}

#[tokio::test]
async fn binary_travels_as_base64_both_ways() {
    let node = start().await;
    let client = Polling::connect(node.public_addr()).await;
    client.send("451-[\"echo\",{\"_placeholder\":true,\"num\":0}]\x1ebAQID/w==").await;
    assert_eq!(
        client.receive_some(2).await,
        [r#"451-["echo",{"_placeholder":true,"num":0}]"#, "bAQID/w=="]
    );
    node.shutdown().await;
}

/// What it carried is lost: the reference goes on without, and nobody ever knows.
#[tokio::test]
async fn an_oversized_body_is_413_and_the_session_ends() {
    let node = start_with(|config| config.server.engine.max_http_buffer_size = 1000).await;
    let client = Polling::connect(node.public_addr()).await;
    let answer = client.post(&[b'4'; 1001]).await;
    assert_eq!((answer.status, answer.body.len()), (413, 0));
    let answer = client.get().await;
    assert_eq!(
        (answer.status, answer.text()),
        (400, r#"{"code":1,"message":"Session ID unknown"}"#)
    );
    // The same without a length, so that the server finds out on the way.
    let client = Polling::connect(node.public_addr()).await;
    let mut chunked = format!(
        "POST {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n",
        client.target()
    );
    chunked += &format!("200\r\n{}\r\n", "4".repeat(512)).repeat(2);
    let answer = exchange(node.public_addr(), (chunked + "0\r\n\r\n").as_bytes()).await;
    assert!(answer.starts_with(b"HTTP/1.1 413 "), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(client.get().await.status, 400);
    node.shutdown().await;
}

#[tokio::test]
async fn an_encoded_body_is_415_and_the_session_lives() {
    let node = start().await;
    let client = Polling::connect(node.public_addr()).await;
    for (encoding, status) in [("gzip", 415), ("br", 415), ("identity", 200)] {
        let header = format!("Content-Encoding: {encoding}");
        let answer = request(node.public_addr(), "POST", &client.target(), &[&header], b"42[\"nothing\"]").await;
        assert_eq!(answer.status, status, "{encoding}");
    }
    node.shutdown().await;
}

#[tokio::test]
async fn overlapping_polls_are_400_and_close_the_session() {
    let node = start().await;
    let client = Polling::connect(node.public_addr()).await;
    // Whichever arrives second is refused; the session's end answers or refuses the other.
    let (one, two) = within("both polls", async { tokio::join!(client.get(), client.get()) }).await;
    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert!(statuses.contains(&400), "{statuses:?}");
    let after = client.get().await;
    assert_eq!((after.status, after.text()), (400, r#"{"code":1,"message":"Session ID unknown"}"#));
    node.shutdown().await;
}

#[tokio::test]
async fn an_overlapping_post_is_400_and_closes_the_session() {
    let node = start().await;
    let client = Polling::connect(node.public_addr()).await;
    let mut first = TcpStream::connect(node.public_addr()).await.unwrap();
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 13\r\n\r\n42",
        client.target()
    );
    first.write_all(head.as_bytes()).await.unwrap();
    settle(node.public_addr()).await;
    let second = client.post(b"42[\"nothing\"]").await;
    assert_eq!((second.status, second.body.len()), (400, 0));
    // The first is answered although its body never came.
    let mut answer = Vec::new();
    within("the first answer", first.read_to_end(&mut answer)).await.unwrap();
    let answer = Answer::parse(&answer);
    assert_eq!((answer.status, answer.body.len()), (400, 0));
    assert_eq!(client.get().await.text(), r#"{"code":1,"message":"Session ID unknown"}"#);
    node.shutdown().await;
}

#[tokio::test]
async fn a_client_that_closes_gets_a_noop_and_is_gone() {
    let node = start().await;
    let client = Polling::connect(node.public_addr()).await;
    let parked = park(&client);
    client.send("1").await;
    let answer = within("the parked poll", parked).await.unwrap();
    // Also when the poll comes in after the close.
    assert_eq!((answer.status, answer.text()), (200, "6"));
    assert_eq!(client.get().await.text(), r#"{"code":1,"message":"Session ID unknown"}"#);
    node.shutdown().await;
}

#[tokio::test]
async fn an_octet_stream_is_400_and_closes_the_session() {
    let node = start().await;
    let client = Polling::connect(node.public_addr()).await;
    let answer = request(
        node.public_addr(),
        "POST",
        &client.target(),
        &["Content-Type: application/octet-stream"],
        b"4",
    )
    .await;
    assert_eq!((answer.status, answer.body.len()), (400, 0));
    assert_eq!(client.get().await.text(), r#"{"code":1,"message":"Session ID unknown"}"#);
    node.shutdown().await;
}
