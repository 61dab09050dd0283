//! The server's side of one session, for tests of what the clients do.

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{WebSocketStream, tungstenite::Message};

/// Takes one WebSocket, and its CONNECT to `/`. No ping is due for a minute.
pub(crate) async fn accept(listener: &TcpListener) -> WebSocketStream<TcpStream> {
    let (stream, _) = listener.accept().await.unwrap();
    let mut session = tokio_tungstenite::accept_async(stream).await.unwrap();
    let open = r#"0{"sid":"a","upgrades":[],"pingInterval":60000,"pingTimeout":60000,"maxPayload":1000000}"#;
    session.send(Message::text(open)).await.unwrap();
    assert_eq!(session.next().await.unwrap().unwrap(), Message::text("40"));
    session.send(Message::text(r#"40{"sid":"b"}"#)).await.unwrap();
    session
}
