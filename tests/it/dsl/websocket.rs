//! A client over WebSocket.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

use super::within;

/// An Engine.IO session over WebSocket, or one that is about to move there.
#[derive(Debug)]
pub(crate) struct WebSocket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl WebSocket {
    /// Makes the WebSocket connection, nothing more.
    pub(crate) async fn dial(address: SocketAddr, query: &str) -> Self {
        let url = format!("ws://{address}/socket.io/?EIO=4&transport=websocket{query}");
        Self(within("a WebSocket handshake", connect_async(url)).await.unwrap().0)
    }

    /// Opens a session; returns what the server told in its `open` packet.
    pub(crate) async fn open(address: SocketAddr) -> (Self, Value) {
        let mut client = Self::dial(address, "").await;
        let open = client.text().await;
        (client, serde_json::from_str(open.strip_prefix('0').unwrap()).unwrap())
    }

    /// Opens a session and connects to the namespace `/`.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let (mut client, _) = Self::open(address).await;
        client.send("40").await;
        let answer = client.text().await;
        assert!(answer.starts_with("40{\"sid\":"), "{answer}");
        client
    }

    /// Sends a text frame.
    pub(crate) async fn send(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    /// Sends a binary frame.
    pub(crate) async fn send_binary(&mut self, bytes: &[u8]) {
        self.0.send(Message::binary(bytes.to_vec())).await.unwrap();
    }

    /// The next frame that is not a ping of Engine.IO (which is answered); `None` when the connection has ended.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        // All pings together: they come for ever.
        within("a frame, or the end", async {
            loop {
                match self.0.next().await? {
                    Ok(Message::Text(text)) if text == "2" => self.send("3").await,
                    Ok(Message::Ping(_) | Message::Pong(_)) => {}
                    Ok(message) => return Some(message),
                    Err(_) => return None,
                }
            }
        })
        .await
    }

    /// The next text frame.
    pub(crate) async fn text(&mut self) -> String {
        match self.next().await {
            Some(Message::Text(text)) => text.to_string(),
            other => panic!("expected a text frame, got {other:?}"),
        }
    }

    /// The next binary frame.
    pub(crate) async fn binary(&mut self) -> Vec<u8> {
        match self.next().await {
            Some(Message::Binary(bytes)) => bytes.to_vec(),
            other => panic!("expected a binary frame, got {other:?}"),
        }
    }

    /// Reads to the end, which answers a close frame, and returns its code (1005: a close frame without one; 1006: none came).
    pub(crate) async fn closed(&mut self) -> u16 {
        let mut code = 1006;
        while let Some(message) = self.next().await {
            if let Message::Close(frame) = message {
                code = frame.map_or(1005, |frame| frame.code.into());
            }
        }
        code
    }

    /// Reads to the end, then closes the connection.
    pub(crate) async fn leave(mut self) {
        self.closed().await;
    }
}
