//! One connection to a server of Redis.

use std::{collections::HashMap, task::Poll, time::Duration};

use fred::{
    clients::Client,
    error::Error,
    interfaces::ClientLike,
    types::{
        ClusterHash, ConnectHandle, CustomCommand, Value,
        config::{ConnectionConfig, PerformanceConfig, TcpConfig, UnresponsiveConfig},
    },
};
use futures_util::poll;
use tokio::{sync::Mutex, task::AbortHandle};

use super::topology::{Access, Address};
use crate::driver::{Fault, UNRESPONSIVE};

/// Messages that fred may hold before the adapter takes them. Full: the oldest are dropped and the inbox says `Gap(Lagged)`.
const HEARD: usize = 8192;

/// Commands that fred may hold: a batch counts as one, so this is never reached. Full: the command fails, and with it the session.
const COMMANDS: usize = 1024;

/// A connection, and the fred task that drives it.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) client: Client,
    /// Taken by the one that waits for the end.
    driver: Mutex<Option<ConnectHandle>>,
    cut: Cut,
}

/// Ends the fred task when dropped; fred would otherwise stay in a blocked write.
#[derive(Debug)]
struct Cut(AbortHandle);

impl Connection {
    pub(super) async fn open(access: &Access, address: &Address) -> Result<Self, Fault> {
        let performance = PerformanceConfig {
            broadcast_channel_capacity: HEARD,
            ..PerformanceConfig::default()
        };
        let connection = ConnectionConfig {
            connection_timeout: UNRESPONSIVE,
            internal_command_timeout: UNRESPONSIVE,
            max_command_attempts: 1,
            max_command_buffer_len: COMMANDS,
            tcp: TcpConfig {
                nodelay: Some(true),
                ..TcpConfig::default()
            },
            unresponsive: UnresponsiveConfig {
                max_timeout: Some(UNRESPONSIVE),
                interval: Duration::from_secs(1),
            },
            ..ConnectionConfig::default()
        };
        // No reconnect policy: this client lives as long as its connection, the driver makes the next one.
        let client = Client::new(access.to(address), Some(performance), Some(connection), None);
        let waiter = client.clone();
        let waiting = waiter.wait_for_connect();
        tokio::pin!(waiting);
        // Subscribes to the outcome before there can be one.
        if let Poll::Ready(Err(error)) = poll!(waiting.as_mut()) {
            return Err(fault(&error));
        }
        let mut driver = client.connect();
        let cut = Cut(driver.abort_handle());
        tokio::select! {
            biased;
            ended = &mut driver => return Err(ending(ended)),
            connected = waiting => connected.map_err(|error| fault(&error))?,
        }
        Ok(Self {
            client,
            driver: Mutex::new(Some(driver)),
            cut,
        })
    }

    /// Sends a command that fred has no method for, or whose answer is to be seen as it is.
    pub(super) async fn ask(&self, command: &'static str, arguments: Vec<Value>) -> Result<Value, Fault> {
        let command = CustomCommand::new_static(command, ClusterHash::FirstKey, false);
        self.client.custom(command, arguments).await.map_err(|error| fault(&error))
    }

    /// Whether the server holds itself for a master. HELLO tells, which needs no right that connecting does not need.
    pub(super) async fn is_master(&self) -> Result<bool, Fault> {
        let answer: HashMap<String, Value> = self.ask("HELLO", vec![]).await?.convert().map_err(|error| fault(&error))?;
        Ok(answer.get("role").and_then(Value::as_str).as_deref() == Some("master"))
    }

    /// A round trip: the server has done what it was asked before.
    pub(super) async fn ping(&self) -> Result<(), Fault> {
        self.client.ping::<Value>(None).await.map(drop).map_err(|error| fault(&error))
    }

    /// Cuts the connection at once.
    pub(super) fn abort(&self) {
        self.cut.0.abort();
    }

    /// Resolves when the connection has ended, with the reason.
    pub(super) async fn ended(&self) -> Fault {
        match self.driver.lock().await.take() {
            Some(driver) => ending(driver.await),
            None => Fault::new("the connection has ended"),
        }
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn ending(ended: Result<Result<(), Error>, tokio::task::JoinError>) -> Fault {
    match ended {
        Ok(Err(error)) => fault(&error),
        _ => Fault::new("the connection was closed"),
    }
}

pub(super) fn fault(error: &Error) -> Fault {
    Fault::new(error)
}
