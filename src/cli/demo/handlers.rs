//! What the demo's nodes do with the events of their clients: an ordinary application of the library.

use std::time::Duration;

use fanfare::hub::{Ack, Data, EmitError, Io, RegisterError, Socket, State};
use serde::{Deserialize, Serialize};

/// The rooms that a client may join.
const ROOMS: [&str; 3] = ["brass", "strings", "drums"];

/// The longest text that is passed on, in bytes.
const MAX_TEXT: usize = 1000;

/// Which node this is, for the page.
struct NodeNumber(u16);

/// Who gets a message.
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Reach {
    Everyone,
    Others,
    Room,
}

/// The event `say`: what a client wants to be told to others.
#[derive(Debug, Deserialize)]
struct Say {
    text: String,
    reach: Reach,
    room: String,
    stamp: Stamp,
}

/// Comes back unchanged, so that the page knows its own messages and how long they took.
#[derive(Debug, Deserialize, Serialize)]
struct Stamp {
    page: String,
    id: u64,
    at: f64,
}

/// The event `said`: what clients get.
#[derive(Debug, Serialize)]
struct Said {
    node: u16,
    text: String,
    reach: Reach,
    room: String,
    stamp: Stamp,
}

/// Registers the handlers on `io`.
pub(super) fn register(io: &Io, node: u16) -> Result<(), RegisterError> {
    io.provide(NodeNumber(node));
    io.sockets()
        .on("say", say)?
        .on("join", join)?
        .on("leave", leave)?
        .on("echo", echo)?;
    Ok(())
}

async fn say(socket: Socket, io: Io, node: State<NodeNumber>, Data(say): Data<Say>) -> Result<(), EmitError> {
    let Say { text, reach, room, stamp } = say;
    if text.len() > MAX_TEXT || stamp.page.len() > MAX_TEXT {
        return Ok(());
    }
    let said = Said {
        node: node.0.0,
        text,
        reach,
        room,
        stamp,
    };
    match reach {
        Reach::Everyone => io.sockets().emit("said", &said),
        Reach::Others => socket.broadcast().emit("said", &said),
        Reach::Room if ROOMS.contains(&said.room.as_str()) => io.to(said.room.clone()).emit("said", &said),
        Reach::Room => Ok(()),
    }
}

async fn join(socket: Socket, Data(room): Data<String>, ack: Ack) -> Result<(), EmitError> {
    let joined = if ROOMS.contains(&room.as_str()) {
        socket.join(room).ok()
    } else {
        None
    };
    let answer = joined.is_some();
    if let Some(joined) = joined {
        // A page whose other nodes cannot be reached is not held up.
        tokio::time::timeout(Duration::from_secs(1), joined.into_future()).await.ok();
    }
    ack.send(&answer)
}

async fn leave(socket: Socket, Data(room): Data<String>, ack: Ack) -> Result<(), EmitError> {
    socket.leave(room);
    ack.send(&true)
}

/// The page measures the round trip with it.
async fn echo(ack: Ack) -> Result<(), EmitError> {
    ack.send(&())
}
