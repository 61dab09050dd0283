//! One client's socket, what it has sent of a frame that is not complete, and what waits for it.

use std::io::{self, ErrorKind, Read, Write};

use mio::net::TcpStream;

/// Bytes that may wait for a client; one that takes less than it is sent is dropped.
const MAX_WAITING: usize = 64 * 1024 * 1024;

/// A client.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    /// The beginning of a request or frame whose rest has not come.
    pub(crate) incomplete: Vec<u8>,
    pub(crate) stage: Stage,
    /// The rooms that it is in.
    pub(crate) rooms: Vec<usize>,
    waiting: Vec<u8>,
    /// The kernel takes no more until it says so.
    full: bool,
    /// It stands in the list of those that are written to at the end of this turn.
    pub(crate) listed: bool,
}

/// How far a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Its request has not come.
    New,
    /// It has a session.
    Open,
    /// It is in the namespace.
    Connected,
}

impl Connection {
    pub(crate) const fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            incomplete: Vec::new(),
            stage: Stage::New,
            rooms: Vec::new(),
            waiting: Vec::new(),
            full: false,
            listed: false,
        }
    }

    pub(crate) const fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Reads once; 0 if there is nothing now.
    ///
    /// # Errors
    /// The client is gone.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.stream.read(into) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
                read => return read,
            }
        }
    }

    /// What waits for it.
    pub(crate) const fn waiting(&mut self) -> &mut Vec<u8> {
        &mut self.waiting
    }

    /// The kernel takes more again.
    pub(crate) const fn writable(&mut self) -> bool {
        self.full = false;
        !self.waiting.is_empty()
    }

    /// Writes what waits: with one write, unless the kernel takes only a part of it.
    ///
    /// # Errors
    /// The client is gone, or does not read.
    pub(crate) fn write(&mut self) -> io::Result<()> {
        let mut written = 0;
        while !self.full {
            let Some(rest) = self.waiting.get(written..).filter(|rest| !rest.is_empty()) else {
                break;
            };
            match self.stream.write(rest) {
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.full = true,
                Err(error) => return Err(error),
            }
        }
        self.waiting.drain(..written);
        if self.waiting.len() > MAX_WAITING {
            return Err(io::Error::other(format!("more than {MAX_WAITING} bytes wait for a client")));
        }
        Ok(())
    }
}
