//! Who waits for entries of one log that are not in its tail: one read at a time, for all whom it serves. A plain value.

use std::sync::Arc;

use fanfare_adapters::ReadError;
use tokio::sync::oneshot;

use crate::hub::recovery::{Logged, Offset, Page, Unread};

/// What was read after some position.
pub(super) type Part = Result<(Vec<Arc<Logged>>, Offset), ReadError>;

/// Those who wait; each is a client that comes back. It is read from the lowest position that somebody wants up to the highest, then from
/// the lowest again: so those who are near each other go on together, and nobody is passed over.
#[derive(Debug, Default)]
pub(super) struct Reads {
    waiting: Vec<Waiting>,
    /// Where the last read ended.
    at: u64,
    /// Somebody reads, or is about to.
    reading: bool,
}

#[derive(Debug)]
struct Waiting {
    after: u64,
    tell: oneshot::Sender<Result<Page, Unread>>,
}

impl Reads {
    /// Somebody wants the entries after a position. Gives what will hold them, and says whether a reader has to be started.
    pub(super) fn ask(&mut self, after: u64) -> (oneshot::Receiver<Result<Page, Unread>>, bool) {
        let (tell, told) = oneshot::channel();
        self.waiting.push(Waiting { after, tell });
        (told, !std::mem::replace(&mut self.reading, true))
    }

    /// After which position is to be read next. When nobody waits any more, the reader ends.
    pub(super) fn next(&mut self) -> Option<u64> {
        self.waiting.retain(|waiting| !waiting.tell.is_closed());
        let wanted = || self.waiting.iter().map(|waiting| waiting.after);
        let next = wanted().filter(|after| *after >= self.at).min().or_else(|| wanted().min());
        self.reading = next.is_some();
        next
    }

    /// This was read after a position: tells everybody to whom it says something.
    pub(super) fn answer(&mut self, after: u64, part: &Part) {
        self.at = after + part.as_ref().map_or(1, |(entries, _)| entries.len() as u64);
        for waiting in std::mem::take(&mut self.waiting) {
            match answer(waiting.after, after, part) {
                // Who does not wait any more need not know.
                Some(answer) => drop(waiting.tell.send(answer)),
                None => self.waiting.push(waiting),
            }
        }
    }
}

/// What a part of the log that was read after `read` says to who wants the entries after `wanted`.
fn answer(wanted: u64, read: u64, part: &Part) -> Option<Result<Page, Unread>> {
    match part {
        Ok((entries, end)) => {
            let skipped = usize::try_from(wanted.checked_sub(read)?).ok()?;
            let rest = entries.get(skipped..)?;
            // At its end only who asked for just this learns that there is no more.
            (wanted == read || !rest.is_empty()).then(|| {
                Ok(Page {
                    entries: rest.to_vec(),
                    end: *end,
                })
            })
        }
        Err(ReadError::Trimmed { first }) => (wanted == read || wanted + 1 < *first).then_some(Err(Unread::Gone)),
        Err(ReadError::Ahead { end }) => (wanted == read || wanted > *end).then_some(Err(Unread::Gone)),
        Err(ReadError::Away) => Some(Err(Unread::Away)),
        Err(_) => (wanted == read).then_some(Err(Unread::Gone)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(after: u64, count: u64) -> Part {
        let entry = |position| Arc::new(Logged { position, command: None });
        Ok(((after + 1..=after + count).map(entry).collect(), Offset { epoch: 1, position: 100 }))
    }

    fn told(told: &mut oneshot::Receiver<Result<Page, Unread>>) -> Option<Result<Vec<u64>, Unread>> {
        let answer = told.try_recv().ok()?;
        Some(answer.map(|page| page.entries.iter().map(|entry| entry.position).collect()))
    }

    #[test]
    fn one_read_serves_all_who_want_a_part_of_it_and_the_others_have_their_turn() {
        let mut reads = Reads::default();
        let mut asked: Vec<_> = [10, 12, 5, 14, 10].map(|after| reads.ask(after)).into();
        let started: Vec<bool> = asked.iter().map(|(_, start)| *start).collect();
        assert_eq!(started, [true, false, false, false, false], "there is one reader");
        assert_eq!(reads.next(), Some(5), "the lowest");
        let (mut late, start) = reads.ask(7);
        assert!(!start);
        reads.answer(5, &part(5, 3));
        assert_eq!(told(&mut asked[2].0), Some(Ok(vec![6, 7, 8])));
        assert_eq!(told(&mut late), Some(Ok(vec![8])), "who comes while it is read has part in it");
        let (mut below, _) = reads.ask(6);
        assert_eq!(reads.next(), Some(10), "on from where the last one ended");
        reads.answer(10, &part(10, 4));
        let answers: Vec<_> = asked.iter_mut().map(|(receiver, _)| told(receiver)).collect();
        let all = Some(Ok(vec![11, 12, 13, 14]));
        assert_eq!(answers, [all.clone(), Some(Ok(vec![13, 14])), None, None, all]);
        assert_eq!(reads.next(), Some(14));
        reads.answer(14, &part(14, 2));
        assert_eq!(reads.next(), Some(6), "and from the lowest again");
        reads.answer(6, &part(6, 1));
        assert_eq!(told(&mut below), Some(Ok(vec![7])));
        let gone = reads.ask(20);
        drop(gone);
        assert_eq!(reads.next(), None, "who has gone is not read for");
        assert!(reads.ask(1).1, "the reader had ended");
    }

    #[test]
    fn what_makes_no_sense_to_read_is_told_to_all_for_whom_it_makes_none() {
        for (error, expected) in [
            (ReadError::Trimmed { first: 9 }, [Some(Unread::Gone), None, Some(Unread::Gone)]),
            (ReadError::Ahead { end: 7 }, [Some(Unread::Gone), Some(Unread::Gone), None]),
            (ReadError::Away, [Some(Unread::Away); 3]),
        ] {
            let mut reads = Reads::default();
            let mut asked = [7, 8, 2].map(|after| reads.ask(after).0);
            reads.answer(7, &Err(error));
            let answers = asked.each_mut().map(|receiver| told(receiver).map(|answer| answer.unwrap_err()));
            assert_eq!(answers, expected, "{error}");
        }
    }

    #[test]
    fn the_end_of_the_log_is_told_to_who_stands_there() {
        let mut reads = Reads::default();
        let (mut end, mut before) = (reads.ask(9).0, reads.ask(8).0);
        reads.answer(9, &part(9, 0));
        assert_eq!((told(&mut end), told(&mut before)), (Some(Ok(Vec::new())), None));
    }
}
