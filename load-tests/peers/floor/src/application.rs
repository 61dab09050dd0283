//! What clients say and hear: `pub`, `pubroom`, `join`, `echo`.

use std::collections::HashMap;

use slab::Slab;

use crate::{
    connection::{Connection, Stage},
    wire::{self, Frame, Kind},
};

/// All clients, and who is in which room.
#[derive(Debug, Default)]
pub(crate) struct Application {
    pub(crate) clients: Slab<Connection>,
    /// The number of each room.
    numbers: HashMap<String, usize>,
    /// Who is in the room of that number.
    members: Vec<Vec<usize>>,
    /// Who is written to at the end of this turn.
    pub(crate) listed: Vec<usize>,
    /// The frame that is sent to many.
    shared: Vec<u8>,
    sessions: u64,
}

impl Application {
    /// Takes what a client has sent, up to the last complete frame; how much that was.
    ///
    /// # Errors
    /// What it said that ends its connection.
    pub(crate) fn receive(&mut self, client: usize, input: &mut [u8]) -> Result<usize, &'static str> {
        let mut taken = 0;
        if self.stage(client) == Some(Stage::New) {
            let Some((answer, length)) = wire::upgrade(input)? else {
                return Ok(0);
            };
            self.open(client, &answer);
            taken = length;
        }
        while let Some(rest) = input.get_mut(taken..)
            && let Some(Frame { kind, payload, end }) = wire::frame(rest)?
        {
            let payload = rest.get(payload).unwrap_or_default();
            match kind {
                Kind::Text => self.hear(client, payload)?,
                Kind::Close => return Err(""),
                Kind::Ping => self.answer(client, Kind::Pong, &[payload]),
                Kind::Pong => {}
            }
            taken += end;
        }
        Ok(taken)
    }

    /// Pings everybody.
    pub(crate) fn ping(&mut self) {
        self.shared.clear();
        wire::write(&mut self.shared, Kind::Text, &[b"2"]);
        for (number, client) in &mut self.clients {
            if client.stage != Stage::New {
                append(&mut self.listed, number, client, &self.shared);
            }
        }
    }

    /// The client is gone.
    pub(crate) fn remove(&mut self, client: usize) -> Option<Connection> {
        let connection = self.clients.try_remove(client)?;
        for room in &connection.rooms {
            if let Some(members) = self.members.get_mut(*room) {
                members.retain(|member| *member != client);
            }
        }
        Some(connection)
    }

    fn stage(&self, client: usize) -> Option<Stage> {
        self.clients.get(client).map(|client| client.stage)
    }

    fn open(&mut self, client: usize, answer: &str) {
        self.sessions += 1;
        let session = self.sessions;
        let open = format!(
            r#"0{{"sid":"{session:020}","upgrades":[],"pingInterval":{},"pingTimeout":{},"maxPayload":1000000}}"#,
            crate::turn::PING_INTERVAL.as_millis(),
            crate::turn::PING_TIMEOUT.as_millis(),
        );
        if let Some(connection) = self.clients.get_mut(client) {
            connection.stage = Stage::Open;
            connection.waiting().extend_from_slice(answer.as_bytes());
        }
        self.answer(client, Kind::Text, &[open.as_bytes()]);
    }

    /// A message of Engine.IO.
    fn hear(&mut self, client: usize, message: &[u8]) -> Result<(), &'static str> {
        match message {
            [b'4', b'2', event @ ..] if self.stage(client) == Some(Stage::Connected) => self.event(client, event),
            b"3" => Ok(()),
            b"40" | b"40{}" => {
                if let Some(connection) = self.clients.get_mut(client) {
                    connection.stage = Stage::Connected;
                }
                let answer = format!(r#"40{{"sid":"{client:020}"}}"#);
                self.answer(client, Kind::Text, &[answer.as_bytes()]);
                Ok(())
            }
            b"1" | b"41" => Err(""),
            _ => Err("a packet is none that the application has"),
        }
    }

    /// `ID["NAME",ARGUMENTS]`, where the id stands if an ack is wanted.
    fn event(&mut self, client: usize, event: &[u8]) -> Result<(), &'static str> {
        let digits = event.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (id, event) = event.split_at_checked(digits).unwrap_or_default();
        if let Some(data) = event.strip_prefix(br#"["pub","#) {
            self.publish(None, data);
        } else if let Some(arguments) = event.strip_prefix(br#"["pubroom","#) {
            let (room, rest) = name(arguments)?;
            let data = rest.strip_prefix(b",").ok_or("pubroom has no data")?;
            let room = self.numbers.get(room).copied();
            // Nobody has ever been in a room without a number.
            if room.is_some() {
                self.publish(room, data);
            }
        } else if let Some(arguments) = event.strip_prefix(br#"["join","#) {
            let (room, _) = name(arguments)?;
            self.join(client, room);
            if !id.is_empty() {
                self.answer(client, Kind::Text, &[b"43", id, b"[]"]);
            }
        } else if let Some(data) = event.strip_prefix(br#"["echo","#) {
            if !id.is_empty() {
                self.answer(client, Kind::Text, &[b"43", id, b"[", data]);
            }
        } else {
            return Err("an event is none that the application has");
        }
        Ok(())
    }

    /// Sends `msg` to those in the room, or to everybody; `data` with the bracket behind it.
    fn publish(&mut self, room: Option<usize>, data: &[u8]) {
        let Self {
            clients,
            members,
            listed,
            shared,
            ..
        } = self;
        shared.clear();
        wire::write(shared, Kind::Text, &[br#"42["msg","#, data]);
        match room {
            Some(room) => {
                for member in members.get(room).into_iter().flatten() {
                    if let Some(connection) = clients.get_mut(*member) {
                        append(listed, *member, connection, shared);
                    }
                }
            }
            None => {
                for (number, connection) in clients.iter_mut() {
                    if connection.stage == Stage::Connected {
                        append(listed, number, connection, shared);
                    }
                }
            }
        }
    }

    fn join(&mut self, client: usize, room: &str) {
        let room = match self.numbers.get(room) {
            Some(number) => *number,
            None => {
                self.numbers.insert(room.to_owned(), self.members.len());
                self.members.push(Vec::new());
                self.members.len() - 1
            }
        };
        let Some(connection) = self.clients.get_mut(client) else { return };
        if !connection.rooms.contains(&room) {
            connection.rooms.push(room);
            if let Some(members) = self.members.get_mut(room) {
                members.push(client);
            }
        }
    }

    fn answer(&mut self, client: usize, kind: Kind, parts: &[&[u8]]) {
        if let Some(connection) = self.clients.get_mut(client) {
            wire::write(connection.waiting(), kind, parts);
            list(&mut self.listed, client, connection);
        }
    }
}

fn append(listed: &mut Vec<usize>, number: usize, connection: &mut Connection, frame: &[u8]) {
    connection.waiting().extend_from_slice(frame);
    list(listed, number, connection);
}

fn list(listed: &mut Vec<usize>, number: usize, connection: &mut Connection) {
    if !connection.listed {
        connection.listed = true;
        listed.push(number);
    }
}

/// A JSON string without escapes, and what is behind it.
fn name(arguments: &[u8]) -> Result<(&str, &[u8]), &'static str> {
    const WRONG: &str = "a room's name is no JSON string without escapes";
    let rest = arguments.strip_prefix(b"\"").ok_or(WRONG)?;
    let end = rest.iter().position(|byte| *byte == b'"').ok_or(WRONG)?;
    let (name, rest) = rest.split_at_checked(end).ok_or(WRONG)?;
    let name = std::str::from_utf8(name).ok().filter(|name| !name.contains('\\')).ok_or(WRONG)?;
    Ok((name, rest.get(1..).unwrap_or_default()))
}
