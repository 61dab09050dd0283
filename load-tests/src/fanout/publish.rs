//! Publishes at a rate.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::watch, task::JoinSet};

use super::{FanoutError, Run, message::Message};
use crate::{
    args::Fanout,
    client::{Client, ClientError},
    progress,
};

/// A message that leaves later than this after it was due counts as overrun.
const LATE: Duration = Duration::from_millis(10);
/// Due messages that are handed over at once.
const BATCH: u64 = 256;

/// When each message is due, since the beginning of the schedule.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    /// Between two messages of a publisher.
    interval: Duration,
    /// Between the first messages of two publishers.
    stagger: Duration,
    /// Messages of each publisher.
    pub(super) total: u64,
}

impl Schedule {
    /// `rate` messages a second of so many publishers together.
    pub(super) fn new(publishers: usize, rate: f64, duration: Duration) -> Self {
        let interval = Duration::from_secs_f64(publishers as f64 / rate);
        Self {
            interval,
            stagger: interval / u32::try_from(publishers).unwrap_or(u32::MAX),
            total: ((duration.as_secs_f64() / interval.as_secs_f64()).round() as u64).max(1),
        }
    }

    fn first(&self, publisher: usize) -> Duration {
        self.stagger * u32::try_from(publisher).unwrap_or(u32::MAX)
    }

    /// When message `sequence` (from 1) is due.
    fn due(&self, publisher: usize, sequence: u64) -> Duration {
        let nanos = u64::try_from(self.interval.as_nanos()).unwrap_or(u64::MAX);
        self.first(publisher) + Duration::from_nanos(nanos.saturating_mul(sequence.saturating_sub(1)))
    }

    /// The first message that is not due before `since`: none of those from it on leaves earlier.
    pub(super) fn not_before(&self, publisher: usize, since: Duration) -> u64 {
        let after = since.saturating_sub(self.first(publisher)).as_nanos();
        let steps = after.div_ceil(self.interval.as_nanos().max(1));
        u64::try_from(steps).unwrap_or(u64::MAX).saturating_add(1).min(self.total + 1)
    }
}

/// What the publishers did.
#[derive(Debug, Default)]
pub(super) struct Published {
    pub(super) messages: u64,
    /// Messages that left late.
    pub(super) overrun: u64,
}

/// Waits until the publishers have published all that is scheduled. The connections stay until `stopped`: one that is closed with unread
/// data is reset, and a server that has not yet read the last messages would never see them.
pub(super) async fn publish(
    run: &Run,
    mut publishing: JoinSet<Result<(u64, Client), ClientError>>,
    args: &Fanout,
    stopped: &watch::Receiver<bool>,
) -> Result<Published, FanoutError> {
    let total = run.schedule.total;
    let receivers = args.connecting.connections.get() as u64;
    let progress = progress::bar(total * run.publishers as u64 * receivers, "delivered");
    let mut published = Published::default();
    let mut ticks = tokio::time::interval(progress::TICK);
    loop {
        tokio::select! {
            finished = publishing.join_next() => match finished {
                Some(Ok(Ok((late, client)))) => {
                    published.messages += total;
                    published.overrun += late;
                    tokio::spawn(listen(client, stopped.clone()));
                }
                Some(Ok(Err(error))) => return Err(FanoutError::Publisher(error)),
                Some(Err(_)) => return Err(FanoutError::Publisher(ClientError::Closed)),
                None => break,
            },
            _ = ticks.tick() => progress.set_position(run.latencies.count()),
        }
    }
    progress.finish_and_clear();
    Ok(published)
}

/// Keeps the session until `begun` tells the beginning of the schedule, and sends every message when it is due, or as soon after as can be;
/// how many left late, and the connection.
pub(super) async fn publish_one(
    run: Arc<Run>,
    mut begun: watch::Receiver<Option<Instant>>,
    publisher: usize,
    mut client: Client,
    size: usize,
) -> Result<(u64, Client), ClientError> {
    let schedule = &run.schedule;
    let begun = loop {
        tokio::select! {
            text = client.next() => drop(text?),
            begun = async { begun.wait_for(Option::is_some).await.ok().and_then(|begun| *begun) } => match begun {
                Some(begun) => break begun,
                // The run could not be made: nobody asks what became of this.
                None => return Err(ClientError::Closed),
            },
        }
    };
    let mut late = 0;
    let mut sequence = 1;
    while sequence <= schedule.total {
        wait_until(begun + schedule.due(publisher, sequence), &mut client).await?;
        let now = begun.elapsed();
        let batch_end = schedule.total.min(sequence + BATCH - 1);
        while sequence <= batch_end {
            let due = schedule.due(publisher, sequence);
            if due > now {
                break;
            }
            late += u64::from(now > due + LATE);
            let message = Message { publisher, sequence, due };
            client.send(message.encode(&run.event, size));
            sequence += 1;
        }
        // What comes meanwhile are the publisher's own copies.
        while client.next_or_sent().await?.is_some() {}
    }
    Ok((late, client))
}

/// Waits, discarding the publisher's own copies meanwhile.
async fn wait_until(until: Instant, client: &mut Client) -> Result<(), ClientError> {
    let timer = tokio::time::sleep_until(until.into());
    tokio::pin!(timer);
    loop {
        tokio::select! {
            copy = client.next() => drop(copy?),
            () = &mut timer => return Ok(()),
        }
    }
}

/// Keeps a connection until the run is over. Its end changes nothing any more.
async fn listen(mut client: Client, mut stopped: watch::Receiver<bool>) {
    let discard = async { while client.next().await.is_ok() {} };
    tokio::select! {
        () = discard => {}
        _ = stopped.wait_for(|stop| *stop) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn publishers_take_turns_at_the_rate_of_all_together() {
        let schedule = Schedule::new(2, 100.0, Duration::from_secs(1));
        assert_eq!(schedule.total, 50);
        assert_eq!((schedule.due(0, 1), schedule.due(1, 1)), (Duration::ZERO, 10 * MS));
        assert_eq!((schedule.due(0, 50), schedule.due(1, 50)), (980 * MS, 990 * MS));
    }

    #[test]
    fn what_is_owed_since_a_moment_begins_with_the_first_message_that_is_due_then() {
        let schedule = Schedule::new(2, 200.0, Duration::from_secs(1));
        for sequence in [1, 2, 99, 100] {
            let due = schedule.due(1, sequence);
            assert_eq!(schedule.not_before(1, due - MS), sequence);
            assert_eq!(schedule.not_before(1, due), sequence);
            assert_eq!(schedule.not_before(1, due + MS), sequence + 1);
        }
        assert_eq!(schedule.not_before(0, Duration::from_secs(9)), 101);
    }
}
