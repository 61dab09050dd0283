//! The transport `upgrade`: a session over polling that a WebSocket takes over (Engine.IO protocol v4, "Upgrade").

use std::task::{Context, Poll, ready};

use futures_util::{FutureExt, future::BoxFuture};

use super::{CONNECT_TIMEOUT, ClientError, cut, polling::Polling, websocket::WebSocket};

/// A session on its way from polling to a WebSocket. It is polled as before until the WebSocket has answered; then the parked poll is
/// awaited, which the server ends, and when nothing is under way the WebSocket has the session: so nothing is lost, repeated or swapped.
pub(super) struct Upgrade {
    polling: Polling,
    probe: Probe,
}

enum Probe {
    UnderWay(BoxFuture<'static, Result<Box<WebSocket>, ClientError>>),
    /// The WebSocket has answered. What is sent from now on waits for it.
    Answered {
        websocket: Box<WebSocket>,
        held: Vec<String>,
    },
    Over,
}

/// How an upgrade goes on.
pub(super) enum Step {
    /// The next packet of the polled session.
    Packet(String),
    /// This has the session from now on.
    Done(Box<WebSocket>),
}

impl Upgrade {
    pub(super) fn new(mut polling: Polling) -> Self {
        let (way, query, cookie) = (polling.route.next(), polling.takeover(), polling.cookie());
        let probe = async move {
            let probed = async {
                let mut websocket = WebSocket::open(&way, &query, cookie).await?;
                websocket.send("2probe");
                match websocket.next().await? {
                    answer if answer.as_str() == "3probe" => Ok(Box::new(websocket)),
                    answer => Err(ClientError::Unexpected {
                        expected: "the answer to the probe",
                        got: cut(&answer),
                    }),
                }
            };
            let late = ClientError::Timeout("upgraded", CONNECT_TIMEOUT);
            tokio::time::timeout(CONNECT_TIMEOUT, probed).await.unwrap_or(Err(late))
        };
        Self {
            polling,
            probe: Probe::UnderWay(probe.boxed()),
        }
    }

    /// Queues a packet.
    pub(super) fn send(&mut self, packet: String) {
        match &mut self.probe {
            Probe::Answered { held, .. } => held.push(packet),
            Probe::UnderWay(_) | Probe::Over => self.polling.send(packet),
        }
    }

    /// The next packet, or the end of the upgrade.
    pub(super) fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Result<Step, ClientError>> {
        if let Probe::UnderWay(probe) = &mut self.probe
            && let Poll::Ready(answered) = probe.poll_unpin(cx)
        {
            self.probe = Probe::Answered {
                websocket: answered?,
                held: Vec::new(),
            };
            self.polling.pause();
        }
        if let Poll::Ready(packet) = self.polling.poll_packet(cx) {
            return Poll::Ready(packet.map(Step::Packet));
        }
        if !self.polling.is_quiet() {
            return Poll::Pending;
        }
        match std::mem::replace(&mut self.probe, Probe::Over) {
            Probe::Answered { mut websocket, held } => {
                websocket.send("5");
                held.iter().for_each(|packet| websocket.send(packet));
                Poll::Ready(Ok(Step::Done(websocket)))
            }
            // Not to be reached: a session that is not paused has a poll under way now, and nobody asks this once it is over.
            probe => {
                self.probe = probe;
                Poll::Pending
            }
        }
    }

    /// Ready when the server has taken all that was queued before the WebSocket answered, and nothing waits for the WebSocket.
    pub(super) fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        ready!(self.polling.poll_sent(cx))?;
        match &self.probe {
            Probe::Answered { held, .. } if !held.is_empty() => Poll::Pending,
            _ => Poll::Ready(Ok(())),
        }
    }
}
