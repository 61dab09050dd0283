//! One connection to NATS.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_nats::{Client, ConnectOptions, Event, Message, ReconnectToServer, ServerAddr, ServerError, Subscriber};
use futures_util::StreamExt;
use tokio_util::sync::CancellationToken;

use super::{
    Config,
    config::Target,
    ears::{Ears, QUEUE, Woken, in_full},
    merge::{Heard, Merge},
    stamp::{Stamp, Stamper},
    targets::{Announced, Targets},
};
use crate::{
    ConfigError, GapCause, Topic,
    core::Core,
    driver::{Backend, Fault, Session, UNRESPONSIVE},
    outbound::Outgoing,
    turn::Turn,
};

/// Commands that async-nats may hold before they are written. Full: the writer waits, and the adapter's own queue fills.
const COMMANDS: usize = 1024;

/// Makes connections.
pub(super) struct Nats {
    targets: Targets,
    turn: Turn,
    requires_tls: bool,
    tls: rustls::ClientConfig,
    dead_end: ServerAddr,
    stamper: Arc<tokio::sync::Mutex<Stamper>>,
}

/// One connection.
pub(super) struct Line {
    client: Client,
    ears: Mutex<Ears>,
    woken: Arc<Woken>,
    events: Arc<Events>,
    /// Hears the probes that this connection sends to itself: those of `prove`, and one behind each batch.
    probe: tokio::sync::Mutex<Probe>,
    behind: tokio::sync::Mutex<Probe>,
    /// Goes on counting from one session to the next.
    stamper: Arc<tokio::sync::Mutex<Stamper>>,
    /// The server that this is a connection to.
    target: Target,
    /// Is told what the server announces.
    announced: Arc<Announced>,
}

struct Probe {
    subject: String,
    echo: Subscriber,
    sent: u64,
}

/// What the client library tells besides messages.
#[derive(Debug)]
struct Events {
    /// The connection has ended.
    down: CancellationToken,
    /// Why; the first reason counts.
    reason: OnceLock<String>,
    woken: Arc<Woken>,
}

impl Nats {
    pub(super) fn new(config: &Config, stamper: Stamper) -> Result<Self, ConfigError> {
        let dead_end = "nats://127.0.0.1:0"
            .parse()
            .map_err(|problem| ConfigError::new("url", problem, "a server address"))?;
        Ok(Self {
            targets: Targets::new(config.targets()?),
            turn: Turn::default(),
            requires_tls: config.requires_tls(),
            tls: config.tls_config()?,
            dead_end,
            stamper: Arc::new(tokio::sync::Mutex::new(stamper)),
        })
    }

    /// The library cannot be told not to reconnect, and would then send late what it still holds. So it is made to fail at once: it
    /// gets one attempt, and after the first connection that attempt leads to an address where nobody can listen.
    fn once(&self, options: ConnectOptions, address: ServerAddr) -> ConnectOptions {
        let dead_end = self.dead_end.clone();
        let used = AtomicBool::new(false);
        options.max_reconnects(1).reconnect_to_server_callback(move |_, _| {
            let addr = if used.swap(true, Ordering::Relaxed) {
                dead_end.clone()
            } else {
                address.clone()
            };
            std::future::ready(Some(ReconnectToServer {
                addr,
                delay: Some(Duration::ZERO),
            }))
        })
    }
}

impl Backend for Nats {
    type Session = Line;
    const NAME: &'static str = "nats";

    async fn connect(&mut self, core: &Arc<Core>) -> Result<Line, Fault> {
        let core: &Core = core;
        self.turn.try_all(&self.targets.all(), |target| self.open(target, core)).await
    }
}

impl Nats {
    async fn open(&self, target: Target, core: &Core) -> Result<Line, Fault> {
        let Target { address, login } = target.clone();
        let ears = Ears::default();
        let events = Arc::new(Events {
            down: CancellationToken::new(),
            reason: OnceLock::new(),
            woken: ears.woken(),
        });
        let tell = events.clone();
        let options = ConnectOptions::new()
            .name("fanfare")
            .connection_timeout(UNRESPONSIVE)
            .ping_interval(UNRESPONSIVE)
            .subscription_capacity(QUEUE)
            .client_capacity(COMMANDS)
            .ignore_discovered_servers()
            .skip_subject_validation(true)
            .require_tls(self.requires_tls)
            .tls_client_config(self.tls.clone())
            .event_callback(move |event| {
                tell.hear(event);
                std::future::ready(())
            });
        let options = login.apply(self.once(options, address.clone())).map_err(Fault::new)?;
        let client = options.connect(vec![address, self.dead_end.clone()]).await.map_err(Fault::new)?;
        core.set_max_payload(client.server_info().max_payload);
        let (probe, behind) = (Probe::new(&client).await?, Probe::new(&client).await?);
        let line = Line {
            client,
            woken: ears.woken(),
            ears: Mutex::new(ears),
            events,
            probe: tokio::sync::Mutex::new(probe),
            behind: tokio::sync::Mutex::new(behind),
            stamper: self.stamper.clone(),
            announced: self.targets.announced(),
            target,
        };
        Ok(line)
    }
}

impl Session for Line {
    async fn receive(&self, core: &Core) -> Fault {
        let mut merge = Merge::default();
        loop {
            if merge.is_holding() {
                // The next pass is due at once, after the others had their turn.
                tokio::task::yield_now().await;
            } else {
                tokio::select! {
                    () = self.woken.some() => {}
                    fault = self.ended() => return fault,
                }
            }
            let Ok(found) = in_full(|| self.ears().pass()).await else {
                return self.ended().await;
            };
            let found = found.into_iter().filter_map(|message| read(message, core)).collect();
            for Heard { topic, payload, .. } in merge.pass(found) {
                core.inbox.message(topic, payload);
            }
            if self.woken.has_lagged() {
                core.inbox.gap(GapCause::Lagged);
            }
        }
    }

    async fn subscribe(&self, topics: &[Topic]) -> Result<(), Fault> {
        for topic in topics {
            if !self.ears().contains(topic) {
                let subscriber = self.client.subscribe(topic.as_str().to_owned()).await.map_err(Fault::new)?;
                self.ears().insert(topic.clone(), subscriber);
            }
        }
        Ok(())
    }

    async fn unsubscribe(&self, topics: &[Topic]) -> Result<(), Fault> {
        for topic in topics {
            let subscriber = self.ears().remove(topic);
            if let Some(mut subscriber) = subscriber {
                subscriber.unsubscribe().await.map_err(Fault::new)?;
            }
        }
        Ok(())
    }

    async fn prove(&self) -> Result<(), Fault> {
        let mut probe = self.probe.lock().await;
        tokio::select! {
            proven = probe.round_trip(&self.client) => proven?,
            fault = self.ended() => return Err(fault),
        }
        // Servers come and go while the connection stands, so this is looked at again and again.
        let Target { address, login } = &self.target;
        self.announced.hear(&self.client.server_info().connect_urls, address, login);
        Ok(())
    }

    async fn publish(&self, batch: Vec<Outgoing>) -> Result<u64, Fault> {
        let (mut stamper, mut behind) = (self.stamper.lock().await, self.behind.lock().await);
        let sending = async {
            let mut taken = 0;
            for Outgoing { topic, payload, .. } in batch {
                match self.client.publish(topic.as_str().to_owned(), stamper.stamp(&payload)).await {
                    Ok(()) => taken += 1,
                    Err(error) => tracing::warn!(%error, "NATS takes no such message"),
                }
            }
            // The library would write on and on into a path where nothing passes, and the system keep megabytes of it, to be sent late.
            behind.round_trip(&self.client).await?;
            Ok(taken)
        };
        tokio::select! {
            sent = sending => sent,
            fault = self.ended() => Err(fault),
        }
    }

    fn abort(&self) {
        self.events.down.cancel();
    }
}

impl Probe {
    async fn new(client: &Client) -> Result<Self, Fault> {
        let subject = client.new_inbox();
        let echo = client.subscribe(subject.clone()).await.map_err(Fault::new)?;
        Ok(Self { subject, echo, sent: 0 })
    }

    /// The server has taken what it was sent before, when this returns.
    async fn round_trip(&mut self, client: &Client) -> Result<(), Fault> {
        let Self { subject, echo, sent } = self;
        *sent += 1;
        let nonce = sent.to_be_bytes();
        client.publish(subject.clone(), nonce.to_vec().into()).await.map_err(Fault::new)?;
        while let Some(message) = echo.next().await {
            if message.payload[..] == nonce {
                return Ok(());
            }
        }
        Err(Fault::new("the connection was closed"))
    }
}

impl Line {
    /// Resolves when the connection has ended, with the reason.
    async fn ended(&self) -> Fault {
        self.events.down.cancelled().await;
        Fault::new(self.events.reason.get().map_or("the connection was lost", String::as_str))
    }

    fn ears(&self) -> std::sync::MutexGuard<'_, Ears> {
        self.ears.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Events {
    fn hear(&self, event: Event) {
        match event {
            Event::Disconnected | Event::Closed => self.down.cancel(),
            Event::SlowConsumer(_) => self.woken.lag(),
            Event::ServerError(error) => {
                let text = error.to_string();
                tracing::warn!(error = text, "the server complains");
                let ends = match &error {
                    ServerError::Other(words) => words.to_ascii_lowercase().starts_with("permissions violation for subscription"),
                    ServerError::AuthorizationViolation | ServerError::SlowConsumer(_) => false,
                };
                // The first reason counts, and a later one is no loss.
                drop(self.reason.set(text));
                if ends {
                    self.down.cancel();
                }
            }
            Event::Connected | Event::LameDuckMode | Event::Draining | Event::ClientError(_) => {}
        }
    }
}

fn read(message: Message, core: &Core) -> Option<Heard> {
    let read = Stamp::split(message.payload).zip(Topic::new(&message.subject).ok());
    if read.is_none() {
        core.count_malformed();
    }
    read.map(|((stamp, payload), topic)| Heard { stamp, topic, payload })
}
