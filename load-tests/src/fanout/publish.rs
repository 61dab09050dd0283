//! The publishers of a fan-out.

use std::{future::poll_fn, sync::Arc, time::Instant};

use tokio::{sync::watch, task::JoinSet};

use crate::{
    args::Pace,
    client::{Client, ClientError},
    deliveries::{Event, Flight, Given, Run},
    progress,
    run::RunError,
    threads,
};

/// Due messages that are handed over at once.
const BATCH: u64 = 256;

/// One publisher.
#[derive(Debug)]
pub(super) struct Publisher {
    pub(super) run: Arc<Run>,
    pub(super) index: usize,
    pub(super) client: Client,
    pub(super) event: Event,
    /// What it is given in a closed loop.
    pub(super) given: Given,
}

/// What the clients of a run are told.
#[derive(Debug, Clone)]
pub(crate) struct Signals {
    /// The beginning of it.
    pub(crate) begun: watch::Receiver<Option<Instant>>,
    /// The end of the run.
    pub(crate) stopped: watch::Receiver<bool>,
}

/// Publishers at work, each of which tells in the end how many messages left late.
pub(super) type Publishing = JoinSet<Result<(u64, Publisher), ClientError>>;

/// Waits until the publishers have published all that is scheduled; how many messages left late. They stay, in `staying`, until they are
/// told that the run is over: a connection that is closed with unread data is reset, and a server that has not yet read the last messages
/// would never see them.
pub(super) async fn follow(
    run: &Run,
    publishing: &mut Publishing,
    staying: &mut Publishing,
    stopped: &watch::Receiver<bool>,
) -> Result<u64, RunError> {
    let progress = progress::bar(run.scheduled(), "delivered");
    let mut overrun = 0;
    let mut ticks = tokio::time::interval(progress::TICK);
    loop {
        tokio::select! {
            finished = publishing.join_next() => match finished {
                Some(finished) => {
                    let (late, publisher) = published(finished)?;
                    overrun += late;
                    let thread = threads::of(publisher.index);
                    drop(staying.spawn_on(publisher.stay(stopped.clone()), &thread));
                }
                None => break,
            },
            _ = ticks.tick() => progress::show(&progress, run.latencies.count(), &run.connector),
        }
    }
    progress.finish_and_clear();
    Ok(overrun)
}

/// Waits until the last message of a closed loop is done, or given up. The publishers stay.
pub(super) async fn fly(run: &Run, flight: &Flight, pace: &Pace, publishing: &mut Publishing) -> Result<(), RunError> {
    tokio::select! {
        () = run.fly(flight, pace.duration) => Ok(()),
        // None ends by itself but for an error.
        Some(finished) = publishing.join_next() => published(finished).map(drop),
    }
}

fn published<T>(finished: Result<Result<T, ClientError>, tokio::task::JoinError>) -> Result<T, RunError> {
    match finished {
        Ok(finished) => finished.map_err(RunError::Publisher),
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

impl Publisher {
    /// Keeps the session until the run begins, and publishes: by the schedule to its end, or what it is given until the run is over; how
    /// many messages left late, and the connection.
    pub(super) async fn publish(mut self, mut signals: Signals) -> Result<(u64, Self), ClientError> {
        let begun = async { signals.begun.wait_for(Option::is_some).await.ok().and_then(|begun| *begun) };
        tokio::pin!(begun);
        loop {
            tokio::select! {
                text = self.client.next() => drop(text?),
                begun = &mut begun => match begun {
                    Some(_) => break,
                    // The run could not be made: nobody asks what became of this.
                    None => return Err(ClientError::Closed),
                },
            }
        }
        match self.given.take() {
            Some(given) => self.fill(given, signals.stopped).await,
            None => self.follow_schedule().await,
        }
    }

    /// Sends every message when it is due, or as soon after as can be.
    async fn follow_schedule(mut self) -> Result<(u64, Self), ClientError> {
        let mut late = 0;
        while let Some(due) = self.run.due(self.index) {
            wait_until(self.run.at(due), &mut self.client).await?;
            let now = self.run.now();
            for _ in 0..BATCH {
                let Some((message, is_late)) = self.run.next_due(self.index, now) else {
                    break;
                };
                late += u64::from(is_late);
                self.client.send(message.encode(&self.event, self.run.size));
            }
            // What comes meanwhile are the publisher's own copies.
            while self.client.next_or_sent().await?.is_some() {}
        }
        Ok((late, self))
    }

    /// Fills the places that it is given.
    async fn fill(
        mut self,
        mut given: tokio::sync::mpsc::Receiver<usize>,
        mut stopped: watch::Receiver<bool>,
    ) -> Result<(u64, Self), ClientError> {
        let stopped = stopped.wait_for(|stop| *stop);
        tokio::pin!(stopped);
        loop {
            tokio::select! {
                biased;
                Some(place) = given.recv() => {
                    let others = std::iter::from_fn(|| given.try_recv().ok());
                    for place in std::iter::once(place).chain(others) {
                        if let Some(message) = self.run.fill(place, self.index) {
                            self.client.send(message.encode(&self.event, self.run.size));
                        }
                    }
                }
                copy = poll_fn(|cx| self.client.poll_receive(cx, |_| {})) => copy?,
                _ = &mut stopped => break,
            }
        }
        Ok((0, self))
    }

    /// Keeps the connection until the run is over. Its end changes nothing any more.
    async fn stay(mut self, mut stopped: watch::Receiver<bool>) -> Result<(u64, Self), ClientError> {
        let stopped = stopped.wait_for(|stop| *stop);
        tokio::pin!(stopped);
        loop {
            tokio::select! {
                copy = poll_fn(|cx| self.client.poll_receive(cx, |_| {})) => copy?,
                _ = &mut stopped => return Ok((0, self)),
            }
        }
    }
}

/// Waits, discarding the publisher's own copies meanwhile.
async fn wait_until(until: Instant, client: &mut Client) -> Result<(), ClientError> {
    let timer = tokio::time::sleep_until(until.into());
    tokio::pin!(timer);
    loop {
        tokio::select! {
            copy = poll_fn(|cx| client.poll_receive(cx, |_| {})) => copy?,
            () = &mut timer => return Ok(()),
        }
    }
}
