//! A publisher that goes on while storms come, as a load: who is to have what is not counted here.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::sync::watch;

use super::{Run, Weather};
use crate::{
    client::{Client, ClientError, Session, random},
    deliveries::{Event, Message},
    keep::Listener,
};

/// What is published, and how much of it.
#[derive(Debug)]
pub(super) struct Press {
    event: Event,
    size: usize,
    published: AtomicU64,
    delivered: AtomicU64,
}

/// Counts what comes to one client.
#[derive(Debug)]
pub(super) struct Ear(pub(super) Arc<Run>);

impl Press {
    /// Nothing yet.
    pub(super) fn new(event: &str, size: usize) -> Self {
        Self {
            // Other runs at the same servers have other tags.
            event: Event::new(event, &[], random() as u16),
            size,
            published: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
        }
    }

    /// How many messages were published.
    pub(super) fn published(&self) -> u64 {
        self.published.load(Relaxed)
    }

    /// How many messages have come to clients.
    pub(super) fn delivered(&self) -> u64 {
        self.delivered.load(Relaxed)
    }
}

/// Publishes at a rate until the run is over; why it ended if it did before.
pub(super) async fn publish(run: Arc<Run>, mut client: Client, rate: f64, mut forecast: watch::Receiver<Weather>) -> ClientError {
    let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / rate));
    let over = forecast.wait_for(|weather| weather.over);
    tokio::pin!(over);
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                let message = Message {
                    publisher: 0,
                    sequence: run.press.published.fetch_add(1, Relaxed) + 1,
                    due: Duration::ZERO,
                    place: 0,
                    number: 0,
                };
                client.send(message.encode(&run.press.event, run.press.size));
            }
            // What comes are its own copies.
            copy = client.next() => if let Err(error) = copy {
                return error;
            },
            _ = &mut over => return ClientError::Closed,
        }
    }
}

impl Listener for Ear {
    fn receive(&mut self, text: &str) {
        let press = &self.0.press;
        if Message::decode(text, &press.event).is_some() {
            press.delivered.fetch_add(1, Relaxed);
        }
    }

    fn end_session(&mut self) -> Option<Session> {
        None
    }

    fn begin_session(&mut self, _: &Client) {}
}
