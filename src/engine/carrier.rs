//! Polls that come over a connection which is not their client's own: one between nodes, after the client has reached another node than that
//! of its session. It may break without the client's fault, and nobody knows then whether the client has the answer that was on its way.
//! The client's next poll tells: clients mark their polls, each by something else, and a balancer that has not got an answer sends the same
//! poll again.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{driver::now, polling::Answer};

/// How long an answer may be on its way: for longer than it takes to learn that a connection leads nowhere.
const ON_ITS_WAY: Duration = Duration::from_secs(35);

/// How soon after an answer a client's next poll comes. One of the same mark that comes so soon, and waits until the answer is known to have
/// arrived at the other end of its carrier, has the mark by chance.
const AT_ONCE: Duration = Duration::from_secs(3);

/// Bytes of a mark; a longer one counts as none.
const MAX_MARK: usize = 64;

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
    mark: Option<&'a str>,
    /// Nothing if the connection is the client's own.
    pub(super) carrier: Option<&'a Carrier>,
    /// When it came, if it has waited for the carrier of the poll before to break.
    pub(super) since: Option<Instant>,
}

impl<'a> Coming<'a> {
    /// `mark` is what tells this poll of its client's from others (`t`).
    pub(super) fn new(mark: Option<&'a str>, carrier: Option<&'a Carrier>, since: Option<Instant>) -> Self {
        let mark = mark.filter(|mark| mark.len() <= MAX_MARK);
        Self { mark, carrier, since }
    }
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

    /// Whether a poll that comes now is this one, sent again.
    pub(super) fn is(&self, coming: Coming<'_>, marks: Marks) -> bool {
        let mark = self.carried.as_ref().and_then(|carried| carried.0.as_deref());
        marks == Marks::Differ && mark.is_some() && mark == coming.mark
    }

    /// What is kept until the next poll when this one is answered, if it was carried.
    pub(super) fn kept(&self, answer: &Answer) -> Option<Box<Carried>> {
        let (mark, carrier) = self.carried.as_deref()?;
        Some(Box::new(Carried {
            mark: mark.clone(),
            carrier: carrier.clone(),
            answer: answer.clone(),
            at: now(),
        }))
    }

    /// Answers it with messages. Answers whether they are lost: the request was given up in this very moment, and nothing is kept.
    pub(super) fn deliver(self, answer: Answer) -> Result<(), ()> {
        match self.answer.send(answer) {
            Err(_) if !self.carried.is_some_and(|carried| carried.1.has_broken()) => Err(()),
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

/// What the marks of a client's polls are worth.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Marks {
    /// Not known yet.
    #[default]
    Unknown,
    /// They differ: one that comes twice is of a poll that was sent again.
    Differ,
    /// They are all the same, and tell nothing.
    Repeat,
}

/// What a poll tells of the one before.
#[derive(Debug)]
pub(super) enum Before {
    /// It was answered.
    Answered,
    /// It was the same, and its answer has not arrived: here it is again.
    Unanswered(Answer),
    /// It may be the same: the carrier of its answer has not broken, as far as is known.
    Same(Carrier),
    /// Whether its answer has arrived is not to be known.
    Lost,
}

impl Carried {
    /// Judges by the poll that comes now. The marks are worth what is known after it.
    pub(super) fn judge(&self, coming: Coming<'_>, marks: &mut Marks) -> Before {
        let mark = coming.mark.filter(|_| *marks != Marks::Repeat);
        let came = coming.since.unwrap_or_else(now);
        let (same, on_its_way) = (mark.is_some() && self.mark.as_deref() == mark, came < self.at + ON_ITS_WAY);
        match (self.carrier.has_broken(), same) {
            // It waited beside the one before, and was answered in its place.
            (_, false) if came < self.at => return Before::Lost,
            (_, false) if mark.is_some() && self.mark.is_some() => *marks = Marks::Differ,
            (true, false) if on_its_way => return Before::Lost,
            (_, false) => {}
            (true, true) if on_its_way || *marks == Marks::Differ => return Before::Unanswered(self.answer.clone()),
            (true, true) => return Before::Lost,
            (false, true) if coming.since.is_none() => return Before::Same(self.carrier.clone()),
            // A client has its next poll ready; one that is sent again comes when the carrier was found to be dead, or came before the answer.
            (false, true) if (self.at..self.at + AT_ONCE).contains(&came) => {
                if *marks == Marks::Unknown {
                    *marks = Marks::Repeat;
                }
            }
            (false, true) if came < self.at || *marks == Marks::Differ => return Before::Unanswered(self.answer.clone()),
            (false, true) => return Before::Lost,
        }
        Before::Answered
    }

    /// Its answer goes out once more.
    pub(super) fn again(&mut self, carrier: Option<&Carrier>) {
        self.carrier = carrier.cloned().unwrap_or_default();
        self.at = now();
    }
}
