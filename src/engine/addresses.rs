//! How many sessions, or connections, each client address has at one time.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher as _,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

const SHARDS: usize = 16;

/// A bounded count for each client address. An IPv6 client counts by its /64 network, within which it picks addresses as it likes.
///
/// What is kept is bounded by what was let in: an address without a place is forgotten.
#[derive(Debug)]
pub struct Addresses {
    shards: [Mutex<HashMap<Client, usize>>; SHARDS],
    hasher: RandomState,
    max: usize,
}

/// One of the places of an address; given back when dropped.
#[derive(Debug)]
#[must_use = "a place that is dropped is free again"]
pub struct Place(Option<(Arc<Addresses>, Client)>);

/// The address has all the places that one may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crowded;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Client {
    V4(Ipv4Addr),
    V6([u16; 4]),
}

impl Addresses {
    /// `max` places for each address; `usize::MAX` counts nothing.
    #[must_use]
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            max,
        })
    }

    /// Takes a place. A client without an address is not counted.
    ///
    /// # Errors
    /// [`Crowded`] when the address has none left.
    pub fn enter(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Place, Crowded> {
        let Some(address) = address.filter(|_| self.max < usize::MAX) else {
            return Ok(Place::uncounted());
        };
        let client = Client::from(address);
        let mut shard = self.shard(client);
        let taken = shard.get(&client).copied().unwrap_or(0);
        if taken >= self.max {
            return Err(Crowded);
        }
        shard.insert(client, taken + 1);
        drop(shard);
        Ok(Place(Some((self.clone(), client))))
    }

    fn leave(&self, client: Client) {
        let mut shard = self.shard(client);
        if let Some(taken) = shard.get_mut(&client) {
            *taken -= 1;
            if *taken == 0 {
                shard.remove(&client);
            }
        }
    }

    fn shard(&self, client: Client) -> MutexGuard<'_, HashMap<Client, usize>> {
        let number = usize::try_from(self.hasher.hash_one(client) % SHARDS as u64).unwrap_or_default();
        let [first, ..] = &self.shards;
        self.shards
            .get(number)
            .unwrap_or(first)
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// A place of nobody's.
    pub const fn uncounted() -> Self {
        Self(None)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some((addresses, client)) = self.0.take() {
            addresses.leave(client);
        }
    }
}

impl From<IpAddr> for Client {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self::V6([a, b, c, d])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    fn known(addresses: &Addresses) -> usize {
        addresses.shards.iter().map(|shard| shard.lock().unwrap().len()).sum()
    }

    #[test]
    fn an_address_has_so_many_places_and_gets_them_back() {
        let addresses = Addresses::new(2);
        let first = addresses.enter(address("192.0.2.1")).unwrap();
        let _second = addresses.enter(address("::ffff:192.0.2.1")).unwrap();
        assert_eq!(addresses.enter(address("192.0.2.1")).unwrap_err(), Crowded);
        let other = addresses.enter(address("192.0.2.2")).unwrap();
        drop(first);
        drop(addresses.enter(address("192.0.2.1")).unwrap());
        drop(other);
        assert_eq!(known(&addresses), 1);
    }

    #[test]
    fn an_ipv6_client_counts_by_its_network() {
        let addresses = Addresses::new(1);
        let _place = addresses.enter(address("2001:db8:1:2:3:4:5:6")).unwrap();
        assert_eq!(addresses.enter(address("2001:db8:1:2::1")).unwrap_err(), Crowded);
        let _other = addresses.enter(address("2001:db8:1:3::1")).unwrap();
        let _loopback = addresses.enter(address("::1")).unwrap();
        let _any = addresses.enter(address("0.0.0.0")).unwrap();
    }

    #[test]
    fn without_a_bound_or_an_address_nothing_is_kept() {
        let unbounded = Addresses::new(usize::MAX);
        let _place = unbounded.enter(address("192.0.2.1")).unwrap();
        let none = Addresses::new(0);
        let _unknown = none.enter(None).unwrap();
        assert_eq!((known(&unbounded), known(&none)), (0, 0));
        assert!(none.enter(address("192.0.2.1")).is_err());
    }
}
