//! Which server has which slot.

use fred::{types::Value, util::redis_keyslot};

use super::topology::Address;
use crate::{Topic, driver::Fault};

/// Slots of a Redis Cluster.
const SLOTS: usize = 16_384;

/// No server has this slot.
const NOBODY: u16 = u16::MAX;

/// The masters, and by slot which of them has it. A server alone has all.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Layout {
    masters: Vec<Address>,
    /// Indices of `masters`; none when there are no slots.
    owners: Vec<u16>,
}

impl Layout {
    /// One server for everything.
    pub(super) fn alone(address: Address) -> Self {
        Self {
            masters: vec![address],
            owners: Vec::new(),
        }
    }

    /// Reads the answer to CLUSTER SLOTS; `asked` is who gave it. Also answers every server that it names, replicas too.
    pub(super) fn read(answer: Value, asked: &Address) -> Option<(Self, Vec<Address>)> {
        let mut layout = Self {
            masters: Vec::new(),
            owners: vec![NOBODY; SLOTS],
        };
        let mut servers = Vec::new();
        for range in answer.into_array() {
            let mut range = range.into_array().into_iter();
            let (first, last) = (range.next()?.as_usize()?, range.next()?.as_usize()?);
            let mut named = range.map(|server| address(server, asked));
            let owner = layout.index(named.next()??)?;
            layout.owners.get_mut(first..=last)?.fill(owner);
            servers.extend(named.flatten());
        }
        servers.splice(0..0, layout.masters.iter().cloned());
        Some((layout, servers))
    }

    pub(super) fn masters(&self) -> &[Address] {
        &self.masters
    }

    /// Which of the masters has the topic.
    pub(super) fn owner(&self, topic: &Topic) -> Result<usize, Fault> {
        if self.owners.is_empty() {
            return Ok(0);
        }
        let slot = redis_keyslot(topic.group().as_bytes());
        match self.owners.get(usize::from(slot)) {
            Some(owner) if *owner != NOBODY => Ok(usize::from(*owner)),
            _ => Err(Fault::new(format_args!("no server of the cluster has slot {slot}"))),
        }
    }

    fn index(&mut self, master: Address) -> Option<u16> {
        let known = self.masters.iter().position(|known| *known == master);
        let index = known.unwrap_or_else(|| {
            self.masters.push(master);
            self.masters.len() - 1
        });
        // There are never more masters than slots.
        u16::try_from(index).ok().filter(|index| *index != NOBODY)
    }
}

/// A server as CLUSTER SLOTS names it; one that does not know its own host stands where it was asked.
fn address(server: Value, asked: &Address) -> Option<Address> {
    let mut server = server.into_array().into_iter();
    let (host, port) = (server.next()?, server.next()?.as_usize()?);
    let host = if host.is_null() { String::new() } else { host.into_string()? };
    Some(Address {
        host: if host.is_empty() { asked.host.clone() } else { host },
        port: u16::try_from(port).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(values: Vec<Value>) -> Value {
        Value::Array(values)
    }

    fn server(host: Value, port: i64) -> Value {
        list(vec![host, port.into(), "id".into(), list(vec![])])
    }

    fn asked() -> Address {
        Address {
            host: "asked".into(),
            port: 1,
        }
    }

    fn place(host: &str, port: u16) -> Address {
        Address { host: host.into(), port }
    }

    #[test]
    fn each_slot_has_the_first_server_of_its_range() {
        let answer = list(vec![
            list(vec![0.into(), 8191.into(), server("a".into(), 7), server("r".into(), 9)]),
            list(vec![8192.into(), 12_000.into(), server(Value::Null, 8)]),
            list(vec![12_001.into(), 16_000.into(), server("a".into(), 7)]),
        ]);
        let (layout, servers) = Layout::read(answer, &asked()).unwrap();
        assert_eq!(layout.masters(), [place("a", 7), place("asked", 8)]);
        assert_eq!(servers, [place("a", 7), place("asked", 8), place("r", 9)]);
        // By CLUSTER KEYSLOT: a 15495, foo 12182, hello 866, bar 5061, x 16287.
        let owner = |text: &str| layout.owner(&Topic::new(text).unwrap());
        assert_eq!([owner("a").unwrap(), owner("foo").unwrap(), owner("hello").unwrap()], [0, 0, 0]);
        assert_eq!(owner("hello:a").unwrap(), owner("hello:b").unwrap());
        assert!(owner("x").unwrap_err().to_string().contains("slot 16287"));
    }

    #[test]
    fn what_is_no_layout_is_refused() {
        for range in [
            list(vec![0.into(), 16_384.into(), server("a".into(), 7)]),
            list(vec![6.into(), 4.into(), server("a".into(), 7)]),
            list(vec![0.into(), 1.into()]),
            list(vec![0.into(), 1.into(), server("a".into(), 70_000)]),
            list(vec!["x".into(), 1.into(), server("a".into(), 7)]),
            "x".into(),
        ] {
            assert_eq!(Layout::read(list(vec![range.clone()]), &asked()), None, "{range:?}");
        }
    }
}
