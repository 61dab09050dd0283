//! Turns rules into handlers of the library.

use std::sync::Arc;

use serde::Serialize;

use super::{
    Action, Greeting, Rooms, Rule, Rules,
    rooms::{Denied, MAX_ROOMS},
};
use crate::hub::{Ack, EmitError, Io, Namespace, Raw, RegisterError, Socket};

/// Registers the handlers of `rules`, before any client connects. Without rules, `/` can be connected to, and that is all.
///
/// # Errors
/// [`RegisterError`]: the hub refuses a name. Rules from a configuration have none that it refuses.
pub fn install(io: &Io, rules: &Rules) -> Result<(), RegisterError> {
    // Made by being named.
    drop(io.of("/"));
    for namespace in &rules.namespaces {
        let of = io.of(namespace.name.as_str());
        if !namespace.on_connect.is_empty() {
            let greetings: Arc<[Greeting]> = namespace.on_connect.as_slice().into();
            of.on_connect(move |socket: Socket| greet(socket, Arc::clone(&greetings)))?;
        }
        namespace.rules.iter().try_for_each(|rule| register(&of, rule))?;
    }
    Ok(())
}

async fn greet(socket: Socket, greetings: Arc<[Greeting]>) -> Result<(), EmitError> {
    greetings.iter().try_for_each(|Greeting { event, data }| match data {
        Some(data) => socket.emit(event.as_str(), data),
        None => socket.emit(event.as_str(), &()),
    })
}

fn register(of: &Namespace, rule: &Rule) -> Result<(), RegisterError> {
    let event = rule.event.as_str();
    if rule.action == Action::Ack {
        return of
            .on(event, async |raw: Raw, ack: Ack| ack.send_payload(&raw.arguments()))
            .map(drop);
    }
    let action = Arc::new(rule.action.clone());
    let handler = move |socket: Socket, raw: Raw, ack: Ack| {
        let action = Arc::clone(&action);
        async move { ack.send(&Answer::from(carry_out(&action, &socket, &raw))) }
    };
    of.on(event, handler).map(drop)
}

/// What a client's ack is answered with: `{"ok":true}`, or `{"ok":false,"error":"…"}`.
#[derive(Debug, Serialize)]
struct Answer {
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl From<Result<(), Denied>> for Answer {
    fn from(outcome: Result<(), Denied>) -> Self {
        Self {
            ok: outcome.is_ok(),
            error: outcome.err().map(|denied| denied.to_string()),
        }
    }
}

fn carry_out(action: &Action, socket: &Socket, raw: &Raw) -> Result<(), Denied> {
    match action {
        Action::Broadcast => socket.broadcast().emit_payload(raw.payload().clone()),
        Action::Emit => socket.io().of(socket.namespace()).all().emit_payload(raw.payload().clone()),
        Action::Room(rooms) => socket.to(room(rooms, raw)?).emit_payload(raw.payload().clone()),
        Action::Join(rooms) => join(socket, room(rooms, raw)?)?,
        Action::Leave(rooms) => socket.leave(room(rooms, raw)?),
        // Answered with the arguments, see `register`.
        Action::Ack => {}
    }
    Ok(())
}

/// The room that the first argument names, if `rooms` allow it.
fn room(rooms: &Rooms, raw: &Raw) -> Result<String, Denied> {
    let name: String = raw.arg(0).map_err(|_| Denied::NoRoom)?;
    rooms.check(&name)?;
    Ok(name)
}

fn join(socket: &Socket, room: String) -> Result<(), Denied> {
    let joined = socket.rooms();
    // The room of its own id is one of them.
    if joined.len() > MAX_ROOMS && !joined.iter().any(|other| **other == *room) {
        return Err(Denied::TooMany);
    }
    socket.join(room);
    Ok(())
}
