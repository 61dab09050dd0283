//! The transport `websocket`.

use std::{
    collections::VecDeque,
    task::{Context, Poll, ready},
};

use futures_util::{SinkExt, StreamExt};
use hyper::header::HeaderValue;
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message as Frame, Utf8Bytes, client::IntoClientRequest},
};

use super::{ClientError, ENGINE, route::Way};

/// One WebSocket.
pub(super) struct WebSocket {
    stream: WebSocketStream<TcpStream>,
    outgoing: VecDeque<String>,
    /// Something was written that may not have reached the kernel.
    unflushed: bool,
}

impl WebSocket {
    /// Opens one, with `query` behind the transport's own.
    pub(super) async fn open(way: &Way, query: &str, cookie: Option<HeaderValue>) -> Result<Self, ClientError> {
        let (target, stream) = way.dial().await?;
        let mut request = format!("ws://{}{ENGINE}&transport=websocket{query}", way.address(target)).into_client_request()?;
        request.headers_mut().extend(way.opening.headers(cookie.as_ref()));
        let (stream, _) = tokio_tungstenite::client_async(request, stream).await?;
        Ok(Self {
            stream,
            outgoing: VecDeque::new(),
            unflushed: false,
        })
    }

    /// Queues a packet.
    pub(super) fn send(&mut self, packet: String) {
        self.outgoing.push_back(packet);
    }

    /// The next packet. Writes what is queued, too.
    pub(super) fn poll_packet(&mut self, cx: &mut Context<'_>) -> Poll<Result<Utf8Bytes, ClientError>> {
        if let Poll::Ready(Err(error)) = self.poll_sent(cx) {
            return Poll::Ready(Err(error));
        }
        loop {
            match ready!(self.stream.poll_next_unpin(cx)) {
                Some(Ok(Frame::Text(text))) => return Poll::Ready(Ok(text)),
                Some(Ok(Frame::Close(_))) | None => return Poll::Ready(Err(ClientError::Closed)),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// Ready when the kernel has all that was queued.
    pub(super) fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        while !self.outgoing.is_empty() {
            ready!(self.stream.poll_ready_unpin(cx))?;
            let Some(packet) = self.outgoing.pop_front() else { break };
            self.stream.start_send_unpin(Frame::text(packet))?;
            self.unflushed = true;
        }
        if self.unflushed {
            ready!(self.stream.poll_flush_unpin(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}
