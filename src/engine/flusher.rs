//! Writing what waits for plain WebSockets: one task per worker, one write per outbox and round.

use std::{
    cell::RefCell,
    io::{self, IoSlice},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use smallvec::SmallVec;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{
    Config, Counters,
    mailbox::{Mailbox, Pen},
    outbox::{Batch, Limits},
    scratch,
    session::Timing,
};

/// Messages shorter than this are copied together; longer ones go out as slices of their own.
const GATHER_BELOW: usize = 1024;

/// Outboxes that a poll may flush itself at its end; with more of them it leaves all to the flushers.
const OWN: usize = 2;

/// Outboxes flushed between two yields.
const ROUND: usize = 64;

/// What the sessions of one engine share.
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) timing: Arc<Timing>,
    pub(super) counters: Arc<Counters>,
    flushers: Box<[Flusher]>,
}

/// The list of outboxes that have something to write. Bounded by the number of sessions: each stands on it once at most.
struct Flusher {
    list: Mutex<List>,
    wake: Notify,
}

#[derive(Default)]
struct List {
    dirty: Vec<Arc<Mailbox>>,
    /// Nobody flushes any more.
    closed: bool,
}

impl Shared {
    pub(super) fn new(config: Config, flushers: usize) -> Self {
        let flushers = (0..flushers.max(1))
            .map(|_| Flusher {
                list: Mutex::default(),
                wake: Notify::new(),
            })
            .collect();
        Self {
            timing: Arc::new(Timing::from(&config)),
            config,
            counters: Arc::default(),
            flushers,
        }
    }

    pub(super) fn flushers(&self) -> usize {
        self.flushers.len()
    }

    pub(super) fn limits(&self) -> Limits {
        Limits {
            bytes: self.config.outbox_bytes,
            entries: self.config.outbox_entries,
        }
    }

    /// The task of flusher `number`; it ends when `stop` is cancelled.
    pub(super) async fn run_flusher(self: Arc<Self>, number: usize, stop: CancellationToken) {
        let Some(flusher) = self.flushers.get(number) else { return };
        let mut round = Vec::new();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = flusher.wake.notified() => {}
            }
            loop {
                mem::swap(&mut flusher.lock().dirty, &mut round);
                if round.is_empty() {
                    break;
                }
                while !round.is_empty() {
                    for mailbox in round.drain(..round.len().min(ROUND)) {
                        flush(&mailbox, Pen::Queued);
                    }
                    tokio::task::yield_now().await;
                }
            }
        }
        let left = {
            let mut list = flusher.lock();
            list.closed = true;
            mem::take(&mut list.dirty)
        };
        drop(left);
    }
}

impl Flusher {
    fn lock(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enqueue(&self, mailbox: Arc<Mailbox>) {
        let mut list = self.lock();
        if list.closed {
            drop(list);
            drop(mailbox);
            return;
        }
        let first = list.dirty.is_empty();
        list.dirty.push(mailbox);
        drop(list);
        if first {
            self.wake.notify_one();
        }
    }
}

/// The outboxes that the poll on this thread has made dirty.
#[derive(Default)]
struct Gathered {
    active: bool,
    dirty: SmallVec<[Arc<Mailbox>; OWN]>,
}

thread_local! {
    static GATHERED: RefCell<Gathered> = RefCell::default();
}

/// Runs `poll`, and at its end flushes what it pushed, when that concerns few sessions: an answer to a client goes out without a
/// detour through a flusher. To be put around one poll of a task that answers clients; everything else may push without it.
pub fn gather<R>(poll: impl FnOnce() -> R) -> R {
    struct Scope;
    impl Drop for Scope {
        fn drop(&mut self) {
            let dirty = GATHERED.with_borrow_mut(mem::take).dirty;
            for mailbox in dirty {
                flush(&mailbox, Pen::Queued);
            }
        }
    }
    let nested = GATHERED.with_borrow_mut(|gathered| mem::replace(&mut gathered.active, true));
    // Made only if it is this poll's: one that is dropped at once would flush too early.
    let scope = (!nested).then(|| Scope);
    let result = poll();
    drop(scope);
    result
}

/// Has `mailbox`, whose pen is [`Pen::Queued`], flushed soon.
pub(super) fn schedule(mailbox: &Arc<Mailbox>) {
    let gathered = GATHERED.try_with(|gathered| {
        let mut gathered = gathered.borrow_mut();
        if !gathered.active {
            return None;
        }
        if gathered.dirty.len() < OWN {
            gathered.dirty.push(mailbox.clone());
            return Some(SmallVec::new());
        }
        // Too many for one poll: they all go to the flushers, and so does what comes after them.
        gathered.active = false;
        Some(mem::take(&mut gathered.dirty))
    });
    match gathered {
        Ok(Some(spilled)) if spilled.is_empty() => {}
        Ok(Some(spilled)) => spilled.iter().chain([mailbox]).for_each(enqueue),
        _ => enqueue(mailbox),
    }
}

fn enqueue(mailbox: &Arc<Mailbox>) {
    if let Some(flusher) = mailbox.shared.flushers.get(mailbox.flusher) {
        flusher.enqueue(mailbox.clone());
    }
}

/// Makes one write for a plain WebSocket, if it is `turn`'s turn. Answers whether bytes were written.
pub(super) fn flush(mailbox: &Arc<Mailbox>, turn: Pen) -> bool {
    let Some((batch, Some(stream))) = mailbox.begin_write(turn) else {
        return false;
    };
    finish_write(mailbox, batch, turn == Pen::Blocked, |slices| match slices {
        // The rule rather than the exception, and `send` costs the kernel less than `writev`.
        [one] => stream.try_write(one),
        _ => stream.try_write_vectored(slices),
    })
}

/// Writes a batch that was [begun](Mailbox::begin_write), counts, and puts the rest back. Answers whether bytes were written.
pub(super) fn finish_write(
    mailbox: &Arc<Mailbox>,
    mut batch: Batch,
    by_driver: bool,
    write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
) -> bool {
    let whole: usize = batch.slices().map(<[u8]>::len).sum();
    let outcome = scratch::for_write(|buffer| write_gathered(&batch, buffer, write));
    let counters = &mailbox.shared.counters;
    let (next, written) = match outcome {
        Ok(written) => {
            counters.bytes_out.add(written as u64);
            counters.messages_out.add(batch.advance(written) as u64);
            (if written < whole { Pen::Blocked } else { Pen::Queued }, written)
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => (Pen::Blocked, 0),
        Err(_) => {
            // Nothing can be written any more; the driver hears of it and ends the session.
            mailbox.broke();
            (Pen::Blocked, 0)
        }
    };
    Mailbox::end_write(mailbox, batch, next, by_driver);
    written > 0
}

/// A stretch of what is written: gathered in the buffer, or a slice of its own.
enum Piece<'a> {
    Gathered(usize),
    Whole(&'a [u8]),
}

fn write_gathered(batch: &Batch, buffer: &mut Vec<u8>, mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>) -> io::Result<usize> {
    let mut pieces: SmallVec<[Piece<'_>; 16]> = SmallVec::new();
    for slice in batch.slices() {
        if slice.len() >= GATHER_BELOW {
            pieces.push(Piece::Whole(slice));
            continue;
        }
        buffer.extend_from_slice(slice);
        match pieces.last_mut() {
            Some(Piece::Gathered(length)) => *length += slice.len(),
            _ => pieces.push(Piece::Gathered(slice.len())),
        }
    }
    let mut gathered = buffer.as_slice();
    let slices: SmallVec<[IoSlice<'_>; 16]> = pieces
        .iter()
        .map(|piece| match piece {
            Piece::Whole(slice) => IoSlice::new(slice),
            Piece::Gathered(length) => {
                let (head, rest) = gathered.split_at_checked(*length).unwrap_or((gathered, &[]));
                gathered = rest;
                IoSlice::new(head)
            }
        })
        .collect();
    write(&slices)
}
