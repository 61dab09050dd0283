//! Keeps a client connected while something else goes on, and ends its session in the way that was asked for.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    time::Duration,
};

use clap::ValueEnum;
use serde::Serialize;

use crate::{
    args::Connecting,
    client::{Client, ClientError, Session},
    connect::Connector,
};

/// The longest that a client takes to say that it leaves.
const GOODBYE: Duration = Duration::from_secs(1);

/// Who is told what comes to a client.
pub(crate) trait Listener {
    /// A packet has come that is no ping.
    fn receive(&mut self, text: &str);

    /// The session has ended; the one that is to be asked for again, if any is.
    fn end_session(&mut self) -> Option<Session>;

    /// A new session has taken the place of one that had ended, or it was given back.
    fn begin_session(&mut self, client: &Client);
}

/// Nobody listens.
#[derive(Debug)]
pub(crate) struct Deaf;

/// How a run ends the sessions that it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Cut {
    /// The connections are reset (RST), as when a network goes away.
    Reset,
    /// The connections are closed (FIN), and nothing is said before.
    Close,
    /// The client says that it leaves (DISCONNECT), as `disconnect()` of stock clients does, and closes the connections.
    Goodbye,
}

impl Listener for Deaf {
    fn receive(&mut self, _: &str) {}

    fn end_session(&mut self) -> Option<Session> {
        None
    }

    fn begin_session(&mut self, _: &Client) {}
}

/// Keeps a client connected until `over`, which comes back as the connector says; the client, or `None` as soon as it has no session and is
/// not to come back, or if it is over before it is back.
pub(crate) async fn keep(
    connector: &Connector,
    mut client: Client,
    listener: &mut impl Listener,
    over: impl Future<Output = ()>,
) -> Option<Client> {
    let mut over = pin!(over);
    loop {
        let why = tokio::select! {
            why = listen(&mut client, listener) => why,
            () = &mut over => return Some(client),
        };
        let earlier = listener.end_session();
        client = tokio::select! {
            back = connector.come_back_to(&why, earlier.as_ref()) => back?,
            () = &mut over => return None,
        };
        listener.begin_session(&client);
    }
}

/// Listens until the session ends; why it did. Cancel safe.
async fn listen(client: &mut Client, listener: &mut impl Listener) -> ClientError {
    loop {
        if let Err(error) = poll_fn(|cx| client.poll_receive(cx, |text| listener.receive(text))).await {
            return error;
        }
    }
}

impl Cut {
    /// A connector whose connections are cut like this when they are dropped.
    pub(crate) fn connector(self, args: &Connecting) -> Connector {
        let connector = Connector::new(args);
        if self == Self::Reset { connector.abrupt(args) } else { connector }
    }

    /// Ends the session of a client. Whether its connections are reset or closed then was said when they were opened.
    pub(crate) async fn end(self, connector: &Connector, mut client: Client) {
        if self == Self::Goodbye {
            client.send("41");
            let sent = async { while let Ok(Some(_)) = client.next_or_sent().await {} };
            // A server that does not take it in time has the end of the connection.
            drop(tokio::time::timeout(GOODBYE, sent).await);
        }
        connector.cut();
        drop(client);
    }
}
