//! The loop: each turn takes what has come from anybody, and then writes to everybody for whom something waits.

use std::{
    io::{self, ErrorKind},
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, net::TcpListener};

use crate::{application::Application, connection::Connection};

/// How often clients are pinged, all at once.
pub(crate) const PING_INTERVAL: Duration = Duration::from_secs(25);
/// What clients are told to add to it before they give up.
pub(crate) const PING_TIMEOUT: Duration = Duration::from_secs(20);

const LISTENER: Token = Token(usize::MAX);
/// Read at once at most.
const SCRATCH: usize = 64 * 1024;

/// Serves until the process ends.
///
/// # Errors
/// When the kernel gives no events.
pub(crate) fn run(mut listener: TcpListener) -> io::Result<()> {
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(4096);
    let mut scratch = vec![0; SCRATCH];
    let mut application = Application::default();
    let mut ping_due = Instant::now() + PING_INTERVAL;
    loop {
        if let Err(error) = poll.poll(&mut events, Some(ping_due.saturating_duration_since(Instant::now())))
            && error.kind() != ErrorKind::Interrupted
        {
            return Err(error);
        }
        for event in &events {
            let Token(number) = event.token();
            if event.token() == LISTENER {
                accept(&poll, &listener, &mut application)?;
                continue;
            }
            if event.is_writable()
                && let Some(client) = application.clients.get_mut(number)
                && client.writable()
                && !client.listed
            {
                client.listed = true;
                application.listed.push(number);
            }
            if event.is_readable()
                && let Err(why) = read(&mut application, number, event.is_read_closed(), &mut scratch)
            {
                remove(&poll, &mut application, number, &why);
            }
        }
        if ping_due <= Instant::now() {
            application.ping();
            ping_due += PING_INTERVAL;
        }
        write(&poll, &mut application);
    }
}

/// Takes all connections that wait.
fn accept(poll: &Poll, listener: &TcpListener, application: &mut Application) -> io::Result<()> {
    loop {
        match listener.accept() {
            Ok((mut stream, _)) => {
                if let Err(error) = stream.set_nodelay(true) {
                    eprintln!("floor: a connection: {error}");
                    continue;
                }
                let entry = application.clients.vacant_entry();
                let interest = Interest::READABLE | Interest::WRITABLE;
                poll.registry().register(&mut stream, Token(entry.key()), interest)?;
                entry.insert(Connection::new(stream));
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // A connection that has ended while it waited, or no more descriptors.
            Err(error) => {
                eprintln!("floor: accept: {error}");
                return Ok(());
            }
        }
    }
}

/// Takes all that a client has sent, up to the end if it sends no more. What is complete is taken where it was read, so that nothing is
/// copied as a rule.
fn read(application: &mut Application, number: usize, ended: bool, scratch: &mut [u8]) -> Result<(), String> {
    loop {
        let Some(client) = application.clients.get_mut(number) else {
            return Ok(());
        };
        let count = client.read(scratch).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset => String::new(),
            _ => error.to_string(),
        })?;
        if count == 0 {
            return Ok(());
        }
        let mut begun = std::mem::take(&mut client.incomplete);
        let read = scratch.get_mut(..count).unwrap_or_default();
        let input = if begun.is_empty() {
            read
        } else {
            begun.extend_from_slice(read);
            &mut begun
        };
        let taken = application.receive(number, input)?;
        let rest = input.get(taken..).unwrap_or_default();
        if !rest.is_empty()
            && let Some(client) = application.clients.get_mut(number)
        {
            client.incomplete = rest.to_vec();
        }
        // The kernel had no more: the next event tells of what comes from now on.
        if count < SCRATCH && !ended {
            return Ok(());
        }
    }
}

/// Writes to those for whom something waits.
fn write(poll: &Poll, application: &mut Application) {
    let mut listed = std::mem::take(&mut application.listed);
    for number in listed.drain(..) {
        let Some(client) = application.clients.get_mut(number) else {
            continue;
        };
        client.listed = false;
        if let Err(error) = client.write() {
            remove(poll, application, number, &error.to_string());
        }
    }
    application.listed = listed;
}

fn remove(poll: &Poll, application: &mut Application, number: usize, why: &str) {
    if let Some(mut client) = application.remove(number) {
        if !why.is_empty() {
            eprintln!("floor: a connection ends: {why}");
        }
        // Closing it would take it out as well.
        if let Err(error) = poll.registry().deregister(client.stream()) {
            eprintln!("floor: a connection: {error}");
        }
    }
}
