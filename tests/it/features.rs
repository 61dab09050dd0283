//! What applications do with sockets, over real connections.

use crate::dsl::{Polling, request, start};

#[tokio::test]
async fn an_event_that_is_compressed_already_is_not_compressed_again() {
    let node = start().await;
    let client = Polling::connect(node.public_addr()).await;
    let coding = async || {
        let answer = request(node.public_addr(), "GET", &client.target(), &["Accept-Encoding: gzip"], b"").await;
        answer.header("content-encoding").map(str::to_owned)
    };
    let picture = "x".repeat(5000);
    node.io().emit("e", &picture).unwrap();
    assert_eq!(coding().await.as_deref(), Some("gzip"));
    node.io().compress(false).emit("e", &picture).unwrap();
    assert_eq!(coding().await, None);
    node.io().compress(false).emit("e", &picture).unwrap();
    node.io().emit("e", &picture).unwrap();
    assert_eq!(
        coding().await.as_deref(),
        Some("gzip"),
        "an answer is compressed for the sake of one message"
    );
    node.shutdown().await;
}
