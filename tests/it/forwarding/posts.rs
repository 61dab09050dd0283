//! Bodies of POST requests on their way to another node.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use tokio::{io::AsyncWriteExt as _, net::TcpStream, sync::Barrier, task::JoinSet};

use super::{CLIENTS, Pair, answer, client::post};
use crate::dsl::{Polling, within};

/// Bytes of a body, of a million that are allowed.
const BODY: usize = 500_000;
/// Those at its end that are sent one at a time.
const DRIPS: usize = 20;

/// A packet that asks for nothing: an answer to a ping, with more in it than anybody needs.
fn pong(length: usize) -> Vec<u8> {
    [&b"3"[..], &b"x".repeat(length - 1)].concat()
}

/// Sends this part of a body, as a chunk of its own if there is no length.
async fn send(stream: &mut TcpStream, part: &[u8], chunked: bool) {
    let mut bytes = part.to_vec();
    if chunked {
        bytes = [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat();
    }
    within("the node to take a part", stream.write_all(&bytes)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_bodies_cost_little_however_slow_and_whether_or_not_their_length_is_known() {
    let pair = Pair::start().await;
    let bystander = pair.bystander().await;
    let body: Arc<[u8]> = pong(BODY).into();
    pair.measure(async || {
        let sessions = pair.sessions(CLIENTS).await;
        let all_but_the_end = Arc::new(Barrier::new(CLIENTS + 1));
        let served = Arc::new(Barrier::new(CLIENTS + 1));
        let mut posts = JoinSet::new();
        for (number, session) in sessions.into_iter().enumerate() {
            let (edge, body) = (pair.edge.public, Arc::clone(&body));
            let (all_but_the_end, served) = (Arc::clone(&all_but_the_end), Arc::clone(&served));
            posts.spawn(async move {
                let chunked = number % 2 == 0;
                let length = if chunked {
                    "Transfer-Encoding: chunked".to_owned()
                } else {
                    format!("Content-Length: {BODY}")
                };
                let mut stream = post(&session, edge, &length).await;
                let (most, end) = body.split_at(BODY - DRIPS);
                send(&mut stream, most, chunked).await;
                all_but_the_end.wait().await;
                served.wait().await;
                for byte in end {
                    send(&mut stream, &[*byte], chunked).await;
                    tokio::task::yield_now().await;
                }
                if chunked {
                    stream.write_all(b"0\r\n\r\n").await.unwrap();
                }
                let answer = answer(stream).await;
                assert_eq!((answer.status, answer.text()), (200, "ok"));
            });
        }
        within("the bodies to be taken", all_but_the_end.wait()).await;
        bystander.is_served().await;
        served.wait().await;
        within("every post to be answered", posts.join_all()).await;
    })
    .await;
}

/// Small pieces of many bodies, of which the owner finds thousands when it looks again: they are no attack of the other node's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_in_single_bytes_do_not_break_what_the_nodes_share() {
    const POSTS: usize = 100;
    const BYTES: usize = 1000;
    let pair = Pair::start().await;
    let bystander = pair.bystander().await;
    let (sent, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(Barrier::new(POSTS + 1)));
    let mut posts = JoinSet::new();
    for session in pair.sessions(POSTS).await {
        let (edge, sent, stop) = (pair.edge.public, Arc::clone(&sent), Arc::clone(&stop));
        posts.spawn(async move {
            let body = pong(BYTES);
            let mut stream = post(&session, edge, &format!("Content-Length: {BYTES}")).await;
            stream.set_nodelay(true).unwrap();
            for (number, byte) in body.iter().enumerate() {
                if number == BYTES / 2 {
                    stop.wait().await;
                }
                stream.write_all(&[*byte]).await.unwrap();
                sent.fetch_add(1, Relaxed);
                // The byte before has been read and handed on alone.
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
            let answer = answer(stream).await;
            assert_eq!((answer.status, answer.text()), (200, "ok"));
        });
    }
    within("half of all bytes", async {
        while sent.load(Relaxed) < POSTS * BYTES / 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    pair.owner.freeze();
    stop.wait().await;
    within("half of the others", async {
        while sent.load(Relaxed) < POSTS * BYTES * 3 / 4 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    pair.owner.signal("CONT");
    within("every post to be answered", posts.join_all()).await;
    bystander.is_served().await;
}

/// The owner refuses them while they are sent, and so is sent more of them than it wants to hear.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_are_too_large_do_not_break_what_the_nodes_share() {
    let pair = Pair::start().await;
    let bystander = pair.bystander().await;
    let [waiting] = &pair.sessions(1).await[..] else { unreachable!() };
    let parked = pair.parked(std::slice::from_ref(waiting)).await;
    let mut posts = JoinSet::new();
    for session in pair.sessions(CLIENTS).await {
        posts.spawn(too_large(session, pair.edge.public));
    }
    within("every post to be refused", posts.join_all()).await;
    waiting.send(r#"42["echo","still here"]"#).await;
    for poll in parked {
        assert_eq!(answer(poll).await.text(), r#"42["echo","still here"]"#);
    }
    bystander.is_served().await;
}

async fn too_large(session: Polling, edge: std::net::SocketAddr) {
    let mut stream = post(&session, edge, "Content-Length: 2000000").await;
    // Whatever is left when the answer has come is not taken.
    let _refused = stream.write_all(&vec![b'4'; 1_000_000]).await;
    let answer = answer(stream).await;
    assert_eq!(answer.status, 413);
}
