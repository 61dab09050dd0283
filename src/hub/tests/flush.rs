//! What handlers send, over a real WebSocket: who writes it.

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

use super::*;
use crate::{
    engine::{self, Engine, Upgrade},
    hub::Ack,
};

/// The flushers of this engine are tasks of a runtime that nobody drives: what goes out, goes out without them.
#[tokio::test]
async fn an_answer_goes_out_with_the_poll_of_its_handler() {
    let io = server();
    io.sockets().on("ask", async |ack: Ack| ack.send(&"answer")).unwrap();
    let undriven = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let engine = {
        let _entered = undriven.enter();
        Engine::new(engine::Config::default(), NodeTag([1, 2, 3]), io.hub().clone())
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let Ok(Upgrade::Open(admission)) = engine.upgrade("EIO=4&transport=websocket", None) else {
        panic!("no handshake")
    };
    let (server, _) = listener.accept().await.unwrap();
    let admitted = admission.admit(Arrival::new(None, false, "/socket.io/?EIO=4", [])).unwrap();
    admitted.open_websocket(engine::Io::Tcp(server), &[]);
    let mut client = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
    for text in ["40", r#"427["ask"]"#] {
        client.send(Message::text(text)).await.unwrap();
    }
    let talk = async {
        loop {
            let message = client.next().await.unwrap().unwrap();
            if message.to_text().unwrap().starts_with("43") {
                return message;
            }
        }
    };
    let answer = tokio::time::timeout(Duration::from_secs(20), talk).await;
    assert_eq!(answer.unwrap(), Message::text(r#"437["answer"]"#));
    undriven.shutdown_background();
}
