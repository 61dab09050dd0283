//! The threads that clients live on: each has a runtime of its own, and a client stays on one of them.
//!
//! So nothing that a client touches for a message is touched by another thread, and no thread wakes another for it.

use std::{io, sync::OnceLock};

use tokio::runtime::{Builder, Handle};

static THREADS: OnceLock<Vec<Handle>> = OnceLock::new();

/// How many there are.
pub(crate) fn count() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The thread of the client of that number. They are started when the first one is asked for, and live as long as the process.
pub(crate) fn of(client: usize) -> Handle {
    let threads = THREADS.get_or_init(|| (0..count()).map_while(|number| start(number).ok()).collect());
    // Where no thread can be had, what runs already is good enough.
    threads.get(client % threads.len().max(1)).cloned().unwrap_or_else(Handle::current)
}

fn start(number: usize) -> io::Result<Handle> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    std::thread::Builder::new()
        .name(format!("clients-{number}"))
        .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
    Ok(handle)
}
