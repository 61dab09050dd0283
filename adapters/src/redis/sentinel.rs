//! Asks sentinels which server is the master.

use fred::types::Value;

use super::{
    connection::{Connection, within},
    topology::{Access, Address},
};
use crate::{driver::Fault, turn::Turn};

/// The sentinels of one master.
#[derive(Debug)]
pub(super) struct Sentinels {
    addresses: Vec<Address>,
    access: Access,
    master: String,
    turn: Turn,
}

impl Sentinels {
    pub(super) fn new(addresses: Vec<Address>, access: Access, master: String) -> Self {
        let turn = Turn::default();
        Self {
            addresses,
            access,
            master,
            turn,
        }
    }

    /// Where the master is, by the first sentinel that knows. It may have changed since: see [`Connection::is_master`].
    pub(super) async fn master(&self) -> Result<Address, Fault> {
        self.turn.try_all(&self.addresses, |sentinel| self.ask(sentinel)).await
    }

    async fn ask(&self, sentinel: Address) -> Result<Address, Fault> {
        let asking = async {
            let connection = Connection::open(&self.access, &sentinel).await?;
            let question = vec!["GET-MASTER-ADDR-BY-NAME".into(), self.master.as_str().into()];
            match connection.ask("SENTINEL", question).await? {
                Value::Null => Err(Fault::new(format_args!("knows no master {:?}", self.master))),
                answer => address(answer).ok_or_else(|| Fault::new("an answer that is no address")),
            }
        };
        within(&format!("the sentinel at {sentinel}"), asking).await
    }
}

fn address(answer: Value) -> Option<Address> {
    let (host, port) = answer.convert().ok()?;
    Some(Address { host, port })
}
