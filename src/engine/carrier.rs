//! Polls that come over a connection which is not their client's own: one between nodes, after the client has reached another node than that
//! of its session. It may break without the client's fault, and nobody knows then whether the client has the answer that was on its way.
//! The client's next poll tells: clients number their polls, and a balancer that has not got an answer sends the same poll again.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{driver::now, mailbox::Mailbox, polling::Answer};

/// How long after an answer its connection may have broken while it was on its way. Later it was closed because nothing was.
const ON_ITS_WAY: Duration = Duration::from_secs(10);

/// A connection on which polls come, and which may break without a fault of their clients'.
#[derive(Debug, Clone, Default)]
pub struct Carrier(CancellationToken);

impl Carrier {
    /// Notes that it has broken, or that its other end has closed it.
    pub fn breaks(&self) {
        self.0.cancel();
    }

    /// Whether it has broken.
    #[must_use]
    pub fn has_broken(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Whether it is the same connection.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.0 == other.0
    }

    /// Ends when it has broken.
    pub async fn broken(&self) {
        self.0.cancelled().await;
    }
}

/// How a poll has come.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Coming<'a> {
    /// What tells this poll of its client's from any other (`t`).
    pub(super) mark: Option<&'a str>,
    /// Nothing if the connection is the client's own.
    pub(super) carrier: Option<&'a Carrier>,
    /// Whether it has been waited for the carrier of the poll before to break.
    pub(super) waited: bool,
}

/// A poll that waits for its answer.
pub(super) struct Parked {
    answer: oneshot::Sender<Answer>,
    carried: Option<Box<(Option<Box<str>>, Carrier)>>,
}

impl Parked {
    pub(super) fn new(answer: oneshot::Sender<Answer>, coming: Coming<'_>) -> Self {
        let carried = coming
            .carrier
            .map(|carrier| Box::new((coming.mark.map(Into::into), carrier.clone())));
        Self { answer, carried }
    }

    pub(super) fn carrier(&self) -> Option<&Carrier> {
        self.carried.as_ref().map(|carried| &carried.1)
    }

    /// Answers it with messages. The answer to a poll that was carried is kept until the next one. Answers whether they are lost: the request
    /// was given up in this very moment.
    pub(super) fn deliver(self, mailbox: &Mailbox, answer: Answer) -> Result<(), ()> {
        let Some(carried) = self.carried else {
            return self.answer.send(answer).map_err(drop);
        };
        let (mark, carrier) = *carried;
        let kept = Carried {
            mark,
            carrier: carrier.clone(),
            answer: answer.clone(),
            at: now(),
        };
        mailbox.keep(kept);
        match self.answer.send(answer) {
            Err(_) if !carrier.has_broken() => Err(()),
            _ => Ok(()),
        }
    }

    /// Answers it with what may be lost.
    pub(super) fn release(self, answer: Answer) {
        // One that was given up says so itself.
        drop(self.answer.send(answer));
    }
}

/// The last poll that was carried, with its answer.
#[derive(Debug)]
pub(super) struct Carried {
    mark: Option<Box<str>>,
    carrier: Carrier,
    answer: Answer,
    at: Instant,
}

/// What a poll tells of the one before.
#[derive(Debug)]
pub(super) enum Before {
    /// It was answered.
    Answered,
    /// It was the same, and its answer has not arrived: here it is again.
    Unanswered(Answer),
    /// It is the same, and the carrier of its answer has not broken, as far as is known.
    Same(Carrier),
    /// Whether its answer has arrived is not to be known.
    Lost,
}

impl Carried {
    /// Judges by the mark of the poll that comes now.
    pub(super) fn judge(&self, mark: Option<&str>) -> Before {
        let same = mark.is_some() && self.mark.as_deref() == mark;
        match (self.carrier.has_broken(), same) {
            (true, true) => Before::Unanswered(self.answer.clone()),
            (true, false) if mark.is_none() && now() < self.at + ON_ITS_WAY => Before::Lost,
            (false, true) => Before::Same(self.carrier.clone()),
            _ => Before::Answered,
        }
    }

    /// Its answer goes out once more.
    pub(super) fn again(&mut self, carrier: Option<&Carrier>) {
        self.carrier = carrier.cloned().unwrap_or_default();
        self.at = now();
    }
}
