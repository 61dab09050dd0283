//! A client of either parser.

use std::{collections::VecDeque, net::SocketAddr};

use serde_json::Value;

use super::{
    WebSocket,
    dialect::{Dialect, from_msgpack, to_msgpack},
};

/// A client of `/` over WebSocket. Whatever its dialect, it says and hears what the default parser writes.
#[derive(Debug)]
pub(crate) struct Client {
    connection: WebSocket,
    dialect: Dialect,
    /// Of the socket.
    id: String,
    /// Attachments of the packet that was heard last, where they come with it.
    attachments: VecDeque<Vec<u8>>,
}

impl Client {
    /// Opens a session and connects to `/`.
    pub(crate) async fn connect(address: SocketAddr, dialect: Dialect) -> Self {
        let mut client = Self {
            connection: WebSocket::open(address).await.0,
            dialect,
            id: String::new(),
            attachments: VecDeque::new(),
        };
        client.enter().await;
        client
    }

    /// Connects to `/` in the session that there is.
    pub(crate) async fn enter(&mut self) {
        self.send("40").await;
        let answer = self.text().await;
        let connected = answer.strip_prefix("40").unwrap_or_else(|| panic!("{answer}"));
        let connected: Value = serde_json::from_str(connected).unwrap();
        connected["sid"].as_str().unwrap().clone_into(&mut self.id);
    }

    /// The id of its socket.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Sends a packet.
    pub(crate) async fn send(&mut self, packet: &str) {
        self.send_with(packet, &[]).await;
    }

    /// Sends a packet that has attachments.
    pub(crate) async fn send_with(&mut self, packet: &str, attachments: &[&[u8]]) {
        match self.dialect {
            Dialect::Json => {
                self.connection.send(packet).await;
                for attachment in attachments {
                    self.connection.send_binary(attachment).await;
                }
            }
            Dialect::Msgpack => self.connection.send_binary(&to_msgpack(packet, attachments)).await,
        }
    }

    /// The next packet.
    pub(crate) async fn text(&mut self) -> String {
        assert!(self.attachments.is_empty(), "attachments that nobody has looked at");
        match self.dialect {
            Dialect::Json => self.connection.text().await,
            Dialect::Msgpack => {
                let (packet, attachments) = from_msgpack(&self.connection.binary().await);
                self.attachments = attachments.into();
                packet
            }
        }
    }

    /// The next attachment.
    pub(crate) async fn binary(&mut self) -> Vec<u8> {
        match self.dialect {
            Dialect::Json => self.connection.binary().await,
            Dialect::Msgpack => self.attachments.pop_front().unwrap(),
        }
    }

    /// Reads to the end: see [`WebSocket::closed`].
    pub(crate) async fn closed(&mut self) -> u16 {
        self.connection.closed().await
    }
}
