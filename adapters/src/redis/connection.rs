//! One connection to a server of Redis.

use std::{collections::HashMap, future::Future, task::Poll, time::Duration};

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
use tokio::{sync::Mutex, task::AbortHandle, time};

use super::topology::{Access, Address};
use crate::driver::{Fault, UNRESPONSIVE};

/// Messages that fred may hold before the adapter takes them. Full: the oldest are dropped and the inbox says `Gap(Lagged)`.
const HEARD: usize = 8192;

/// Commands that fred may hold: a batch counts as one, so this is never reached. Full: the command fails, and with it the session.
const COMMANDS: usize = 1024;

/// How long one of several servers is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

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
                // What could not be sent is not sent when nobody counts on it any more; what matters was answered.
                linger: Some(Duration::ZERO),
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
    pub(super) async fn ask(&self, name: &'static str, arguments: Vec<Value>) -> Result<Value, Fault> {
        self.client.custom(command(name), arguments).await.map_err(|error| fault(&error))
    }

    /// Whether the server holds itself for a master.
    pub(super) async fn is_master(&self) -> Result<bool, Fault> {
        Ok(self.says("role").await? == "master")
    }

    /// The first number of the server's version; 0 when it is none.
    pub(super) async fn version(&self) -> Result<u64, Fault> {
        let version = self.says("version").await?;
        Ok(version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or_default())
    }

    /// What the server says of itself in its answer to HELLO, which needs no right that connecting does not need.
    async fn says(&self, field: &str) -> Result<String, Fault> {
        let answer: HashMap<String, Value> = self.ask("HELLO", vec![]).await?.convert().map_err(|error| fault(&error))?;
        Ok(answer.get(field).and_then(Value::as_string).unwrap_or_default())
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

/// Waits for one of several servers that may be asked, so that silent ones leave time for one that answers; faults name `server`.
pub(super) async fn within<T>(server: &str, asking: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    let answer = time::timeout(PATIENCE, asking).await;
    let answer = answer.unwrap_or_else(|_| Err(Fault::new(format_args!("no answer within {PATIENCE:?}"))));
    answer.map_err(|fault| Fault::new(format_args!("{server}: {fault}")))
}

/// A command of this name.
pub(super) fn command(name: &'static str) -> CustomCommand {
    CustomCommand::new_static(name, ClusterHash::FirstKey, false)
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
