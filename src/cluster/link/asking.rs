//! What is asked of the other nodes, and replied to them.

use std::{
    iter,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use fanfare_adapters::PublishError;
use futures_util::StreamExt as _;
use tokio::sync::watch;

use super::{Link, lock, node_name};
use crate::{
    cluster::{
        Origin,
        health::Standing,
        receiver::now,
        wire::{self, Body, Flags, Kind, Request, Sheet, TooLong, Wanted},
    },
    engine::id::NodeTag,
    hub::{Query, Replies},
};

/// How long after a node could not be asked it is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// How long a node is waited for to hear the rooms that its sockets were told to join; it is not to be relied on for them before.
const JOIN_PATIENCE: Duration = Duration::from_secs(10);

impl Link {
    /// Has joins confirmed by all nodes, for ever. A node that cannot be asked now is asked again, while it is a member.
    pub(in crate::cluster) async fn confirm_joins(self: Arc<Self>, standing: watch::Receiver<Standing>) {
        loop {
            let number = self.young.joins().await;
            let mut replies = self.ask_settled(&standing);
            while replies.next().await.is_some() {}
            let all = replies.missing().is_none();
            self.young.confirm(number, all);
            if !all {
                tokio::time::sleep(ASK_AGAIN).await;
            }
        }
    }

    /// Asks all other nodes. What cannot be asked is named as missing; nothing waits for the backend.
    pub(in crate::cluster) fn ask(
        &self,
        query: Query,
        standing: &watch::Receiver<Standing>,
        max_bytes: usize,
        deadline: Instant,
    ) -> Replies {
        let (wants_none, carries) = match query {
            Query::Tell { answer, .. } => (!answer, true),
            Query::Ask { .. } => (false, true),
            Query::Sockets { .. } | Query::Count { .. } | Query::Rooms { .. } => (false, false),
        };
        // Who changes the members takes this lock after that change: a member that goes now is either not asked, or given up.
        let mut pending = lock(&self.pending);
        let members = if wants_none {
            Vec::new()
        } else {
            standing.borrow().members.clone()
        };
        let (id, replies) = pending.begin(&members, Wanted::from(&query), max_bytes, deadline);
        drop(pending);
        // An event is for nodes of which no reply is to be had, too.
        if id.is_none() && !carries {
            return replies;
        }
        let request = Request {
            id: id.unwrap_or_default(),
            patience: deadline.saturating_duration_since(now()),
            query,
        };
        let body = wire::seal_request(&request, self.common.load(Relaxed));
        self.send_request(request.id, body, &request.pieces());
        replies
    }

    /// Asks all other nodes to reply when they hear what is meant for the rooms that they have sockets in now.
    fn ask_settled(&self, standing: &watch::Receiver<Standing>) -> Replies {
        let mut pending = lock(&self.pending);
        let members = standing.borrow().members.clone();
        let (id, replies) = pending.begin(&members, Wanted::Nothing, 0, now() + JOIN_PATIENCE);
        drop(pending);
        if let Some(id) = id {
            self.send_request(id, Body::new(Kind::Settle, Flags::default(), &(id,)), &iter::empty());
        }
        replies
    }

    fn send_request<'a>(&self, id: u64, body: Result<Body, TooLong>, payload: &(impl Iterator<Item = &'a [u8]> + Clone)) {
        match self.offer(std::slice::from_ref(&self.requests), body, payload) {
            Ok(()) => self.counters.requests.increment(),
            Err(error) => {
                self.counters.requests_unsent.increment();
                tracing::debug!(%error, "other nodes are not asked");
                lock(&self.pending).cancel(id);
            }
        }
    }

    /// Offers a reply to the node that has asked.
    pub(in crate::cluster) fn reply(&self, to: NodeTag, sheet: &Sheet) -> Result<(), PublishError> {
        let channel = self.channel_or(&node_name(to).into(), |name| (self.topics.node(to), name.to_owned()));
        match self.offer(std::slice::from_ref(&channel), sheet.body(), &sheet.pieces()) {
            // It was idle for long, and forgotten in this moment.
            Err(_) if lock(&channel.numbers).forgotten => self.reply(to, sheet),
            outcome => outcome,
        }
    }

    /// Another node has replied.
    pub(in crate::cluster) fn replied(&self, origin: Origin, sheet: Sheet) {
        lock(&self.pending).handle_reply(origin, sheet);
    }

    /// Nobody waits for replies of this node any longer.
    pub(in crate::cluster) fn give_up(&self, origin: Origin) {
        lock(&self.pending).give_up(origin);
    }
}
