//! Buffers that belong to the thread rather than to a connection, so that an idle connection has none.

use std::cell::Cell;

/// Bytes of one read, at most.
pub(crate) const READ_BYTES: usize = 64 << 10;

/// A gathering buffer that grew beyond this is not kept.
const KEPT_BYTES: usize = 128 << 10;

thread_local! {
    static READ: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static WRITE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Runs `read` with [`READ_BYTES`] bytes of unknown content. What runs inside may come back here: it gets a buffer of its own.
pub(crate) fn for_read<R>(read: impl FnOnce(&mut [u8]) -> R) -> R {
    let mut buffer = READ.try_with(Cell::take).unwrap_or_default();
    buffer.resize(READ_BYTES, 0);
    let result = read(&mut buffer);
    keep(&READ, buffer);
    result
}

/// Runs `write` with an empty buffer to gather in.
pub(super) fn for_write<R>(write: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    let mut buffer = WRITE.try_with(Cell::take).unwrap_or_default();
    buffer.clear();
    let result = write(&mut buffer);
    keep(&WRITE, buffer);
    result
}

fn keep(place: &'static std::thread::LocalKey<Cell<Vec<u8>>>, buffer: Vec<u8>) {
    if buffer.capacity() <= KEPT_BYTES {
        // A thread that is ending has no place for it any more: then the buffer is simply freed.
        place.try_with(|place| place.set(buffer)).ok();
    }
}
