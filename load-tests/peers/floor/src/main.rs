//! The floor: the application that all peers share, in a bare loop over `epoll` on one thread, with no server around it.
//!
//! It shows what the kernel takes for the work and what a server adds. In each turn of the loop the frames for a recipient, built once for
//! all, are appended to what waits for it, and all that waits leaves with one write. It speaks no more than the application needs: the
//! WebSocket upgrade, text frames that are not fragmented, the namespace `/`, events whose names and rooms are JSON without escapes. What
//! else comes ends the connection with a line on stderr. It pings, but does not miss an answer.
//!
//! `PORT` from the environment; prints its address and process id once it listens; ends by the signal itself.
//!
//! | room | what it does |
//! |---|---|
//! | `turn` | the loop: accepts, reads, writes |
//! | `application` | what clients say and hear |
//! | `connection` | one client's socket, and what waits for it |
//! | `wire` | the upgrade and the frames |

mod application;
mod connection;
mod turn;
mod wire;

use std::{
    env,
    error::Error,
    io::{self, Write},
    net::Ipv4Addr,
};

use mio::net::TcpListener;

fn main() -> Result<(), Box<dyn Error>> {
    rlimit::increase_nofile_limit(u64::MAX)?;
    if env::var_os("REDIS").is_some() || env::var_os("NATS").is_some() {
        return Err("REDIS or NATS is set, and the floor has no cluster".into());
    }
    let port = env::var("PORT").map_or(Ok(0), |port| port.parse::<u16>())?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port).into())?;
    writeln!(io::stdout(), "public http://{}\npid {}", listener.local_addr()?, std::process::id())?;
    Ok(turn::run(listener)?)
}
