//! One Socket.IO client over WebSocket: Engine.IO 4, default parser, the namespace `/`.

use std::time::Duration;

use futures_util::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{self, Message as Frame, Utf8Bytes},
};

type Stream = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// The longest that connecting may take, from the TCP connection to the CONNECT answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// A connected client.
#[derive(Debug)]
pub(crate) struct Client {
    stream: Stream,
}

/// The half that emits.
#[derive(Debug)]
pub(crate) struct Sender(SplitSink<Stream, Frame>);

/// The half that receives; the server's pings are answered through [`Sender::pong`] or [`Client::event`].
#[derive(Debug)]
pub(crate) struct Receiver(SplitStream<Stream>);

/// Why a connection was not made or has ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// The WebSocket failed.
    #[error(transparent)]
    WebSocket(Box<tungstenite::Error>),
    /// The server answered something else than the protocol has there.
    #[error("expected {expected}, got {got:?}")]
    Unexpected {
        /// What the protocol has.
        expected: &'static str,
        /// What came, cut to 200 characters.
        got: String,
    },
    /// No CONNECT answer in time.
    #[error("not connected within {} s", CONNECT_TIMEOUT.as_secs())]
    Timeout,
    /// The server closed the connection.
    #[error("the server closed the connection")]
    Closed,
}

impl From<tungstenite::Error> for ClientError {
    fn from(error: tungstenite::Error) -> Self {
        Self::WebSocket(Box::new(error))
    }
}

/// What a server sends.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// An Engine.IO ping: to be answered.
    Ping,
    /// Any other text.
    Text(Utf8Bytes),
}

impl Client {
    /// Connects to `address` (HOST:PORT) and to the namespace `/`.
    pub(crate) async fn connect(address: &str) -> Result<Self, ClientError> {
        tokio::time::timeout(CONNECT_TIMEOUT, Self::handshake(address))
            .await
            .map_err(|_| ClientError::Timeout)?
    }

    async fn handshake(address: &str) -> Result<Self, ClientError> {
        let url = format!("ws://{address}/socket.io/?EIO=4&transport=websocket");
        let (stream, _) = tokio_tungstenite::connect_async_with_config(url, None, true).await?;
        let mut client = Self { stream };
        client.expect("0{", "the Engine.IO open packet").await?;
        client.stream.send(Frame::text("40")).await?;
        client.expect("40{", "the CONNECT answer").await?;
        Ok(client)
    }

    async fn expect(&mut self, start: &str, expected: &'static str) -> Result<(), ClientError> {
        match self.event().await? {
            text if text.starts_with(start) => Ok(()),
            text => Err(ClientError::Unexpected {
                expected,
                got: text.chars().take(200).collect(),
            }),
        }
    }

    /// The next text that is not a ping. Pings are answered. Cancel safe but for the answer to a ping.
    pub(crate) async fn event(&mut self) -> Result<Utf8Bytes, ClientError> {
        loop {
            match incoming(self.stream.next().await)? {
                Some(Incoming::Ping) => self.stream.send(Frame::text("3")).await?,
                Some(Incoming::Text(text)) => return Ok(text),
                None => {}
            }
        }
    }

    /// Splits the client, for one that sends and receives at the same time.
    pub(crate) fn split(self) -> (Sender, Receiver) {
        let (sender, receiver) = self.stream.split();
        (Sender(sender), Receiver(receiver))
    }
}

impl Sender {
    /// Sends an Engine.IO text.
    pub(crate) async fn send(&mut self, text: String) -> Result<(), ClientError> {
        Ok(self.0.send(Frame::text(text)).await?)
    }

    /// Answers a ping.
    pub(crate) async fn pong(&mut self) -> Result<(), ClientError> {
        Ok(self.0.send(Frame::text("3")).await?)
    }
}

impl Receiver {
    /// The next ping or text.
    pub(crate) async fn next(&mut self) -> Result<Incoming, ClientError> {
        loop {
            if let Some(incoming) = incoming(self.0.next().await)? {
                return Ok(incoming);
            }
        }
    }
}

/// What a WebSocket frame means; `None` for frames that mean nothing here.
fn incoming(frame: Option<Result<Frame, tungstenite::Error>>) -> Result<Option<Incoming>, ClientError> {
    match frame {
        Some(Ok(Frame::Text(text))) if text.as_str() == "2" => Ok(Some(Incoming::Ping)),
        Some(Ok(Frame::Text(text))) => Ok(Some(Incoming::Text(text))),
        Some(Ok(Frame::Close(_))) | None => Err(ClientError::Closed),
        Some(Ok(_)) => Ok(None),
        Some(Err(error)) => Err(error.into()),
    }
}
