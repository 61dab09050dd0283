//! Replies to what other nodes ask: one task each, bounded in number and in time.

use std::{
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use fanfare_adapters::PublishError;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    link::Link,
    receiver::now,
    wire::{Item, Request, Sheet},
};
use crate::{
    engine::id::NodeTag,
    hub::{Hub, Query, Replies, Reply},
};

/// The most requests of other nodes that are answered at a time.
const MAX_ANSWERED: usize = 1024;

/// The longest that a request of another node is answered.
const MAX_PATIENCE: Duration = Duration::from_secs(600);

/// Items and bytes of one message; a single larger item has one for itself.
const SHEET_ITEMS: usize = 256;
const SHEET_BYTES: usize = 64 * 1024;

/// How long a reply that the adapter's queue had no room for waits before it is offered again.
const RETRY: Duration = Duration::from_millis(20);

/// Answers requests.
#[derive(Debug)]
pub(super) struct Desk {
    link: Arc<Link>,
    hub: Arc<Hub>,
    places: Arc<Semaphore>,
}

impl Desk {
    pub(super) fn new(link: Arc<Link>, hub: Arc<Hub>) -> Self {
        Self {
            link,
            hub,
            places: Arc::new(Semaphore::new(MAX_ANSWERED)),
        }
    }

    /// Asks the sockets and the application of this node, at once and in order with what was received before. Gives how many were reached,
    /// and the task that replies, if a reply is wanted and there is a place for it: an event is for who is asked in either case.
    pub(super) fn take(&self, from: NodeTag, request: &Request) -> (usize, Option<impl Future<Output = ()> + Send + use<>>) {
        let deadline = now() + request.patience.min(MAX_PATIENCE);
        let begun = (request.id != 0).then(|| self.begin(from, request.id, deadline)).flatten();
        let carries = matches!(request.query, Query::Ask { .. } | Query::Tell { .. });
        if begun.is_none() && !carries {
            return (0, None);
        }
        let replies = self.hub.answer(&request.query, deadline);
        let reached = replies.expected();
        let reply = begun.map(|(mut replying, place)| async move {
            replying.run(replies).await;
            drop(place);
        });
        (reached, reply)
    }

    /// Replies when this node hears everything that it wants to hear now.
    pub(super) fn settle(&self, from: NodeTag, id: u64) -> Option<impl Future<Output = ()> + Send + use<>> {
        let (mut replying, place) = self.begin(from, id, now() + MAX_PATIENCE)?;
        let settled = self.link.settled();
        Some(async move {
            if tokio::time::timeout(MAX_PATIENCE, settled).await.is_ok() {
                replying.sheet.expected = Some(0);
                replying.send().await;
            }
            drop(place);
        })
    }

    /// Takes one of the places for requests under way; who asks is told if there is none.
    fn begin(&self, to: NodeTag, id: u64, deadline: Instant) -> Option<(Replying, OwnedSemaphorePermit)> {
        let mut replying = Replying {
            link: Arc::clone(&self.link),
            to,
            deadline,
            sheet: Sheet { id, ..Sheet::default() },
            bytes: 0,
        };
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            self.link.counters.requests_refused.increment();
            replying.sheet.busy = true;
            // Unless it arrives, the request ends at its deadline.
            replying.offer().ok();
            return None;
        };
        Some((replying, place))
    }
}

/// One request that is being answered.
struct Replying {
    link: Arc<Link>,
    to: NodeTag,
    deadline: Instant,
    /// What is to be sent next.
    sheet: Sheet,
    /// Of the items on it.
    bytes: usize,
}

impl Replying {
    async fn run(&mut self, mut replies: Replies) {
        let expected = replies.expected();
        self.sheet.expected = Some(u32::try_from(expected).unwrap_or(u32::MAX));
        let mut given = 0;
        loop {
            let reply = match replies.next().now_or_never() {
                Some(reply) => reply,
                None => {
                    // Nothing is at hand: what there is goes out.
                    self.send().await;
                    replies.next().await
                }
            };
            let Some(reply) = reply else { break };
            given += 1;
            self.add(&reply).await;
        }
        let missing = replies.missing().sockets;
        self.sheet.missing += u32::try_from(missing).unwrap_or(u32::MAX);
        self.sheet.forgone = u32::try_from(expected.saturating_sub(given + missing)).unwrap_or(u32::MAX);
        self.send().await;
    }

    async fn add(&mut self, reply: &Reply) {
        let Some(item) = Item::new(reply) else {
            self.sheet.missing += 1;
            return;
        };
        let full = self.bytes.saturating_add(item.size()) > SHEET_BYTES || self.sheet.items.len() >= SHEET_ITEMS;
        if full && !self.sheet.items.is_empty() {
            self.send().await;
        }
        self.bytes += item.size();
        self.sheet.items.push(item);
    }

    /// Sends what is on the sheet, and begins a new one. What cannot be sent is missing.
    async fn send(&mut self) {
        let empty = self.sheet.expected.is_none() && self.sheet.items.is_empty() && self.sheet.missing == 0 && self.sheet.forgone == 0;
        if empty {
            return;
        }
        while let Err(error) = self.offer() {
            match error {
                PublishError::Full if now() < self.deadline => tokio::time::sleep(RETRY).await,
                PublishError::TooLarge { .. } if !self.sheet.items.is_empty() => {
                    self.sheet.missing += u32::try_from(mem::take(&mut self.sheet.items).len()).unwrap_or(u32::MAX);
                }
                // Who asks finds it missing at its deadline.
                _ => break,
            }
        }
        self.bytes = 0;
        self.sheet = Sheet {
            id: self.sheet.id,
            ..Sheet::default()
        };
    }

    fn offer(&self) -> Result<(), PublishError> {
        self.link.reply(self.to, &self.sheet)
    }
}
