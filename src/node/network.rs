//! Blocks of addresses.

use std::{fmt, net::IpAddr, str::FromStr};

/// A block of addresses: `10.0.0.0/8`, `fd00::/8`, or a single address.
///
/// ```
/// use fanfare::node::Network;
///
/// let private: Network = "10.0.0.0/8".parse()?;
/// assert!(private.contains("10.1.2.3".parse()?) && !private.contains("192.0.2.1".parse()?));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// A text is not a [`Network`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no network; expected an address, or an address, \"/\" and the length of the prefix, such as \"10.0.0.0/8\"")]
pub struct NetworkError(String);

/// A list of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Networks(Vec<Network>);

/// Addresses that do not leave one's own premises: private and loopback ones.
const INSIDE: [&str; 6] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "fc00::/7", "::1"];

impl Network {
    /// The private and the loopback networks: `10.0.0.0/8`, `172.16.0.0/12`, `192.168.0.0/16`, `127.0.0.0/8`, `fc00::/7` and `::1`.
    #[must_use]
    pub fn inside() -> Vec<Self> {
        INSIDE.iter().filter_map(|network| network.parse().ok()).collect()
    }

    /// Whether the address lies in it. An IPv4 address in IPv6 clothes (`::ffff:10.0.0.1`) counts as what it is.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let shift = 32_u32.saturating_sub(self.prefix.into());
                (network.to_bits() ^ address.to_bits()).checked_shr(shift).unwrap_or(0) == 0
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let shift = 128_u32.saturating_sub(self.prefix.into());
                (network.to_bits() ^ address.to_bits()).checked_shr(shift).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let wrong = || NetworkError(text.to_owned());
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(longest), str::parse).map_err(|_| wrong())?;
        if prefix > longest {
            return Err(wrong());
        }
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl Networks {
    pub(super) fn new(networks: Vec<Network>) -> Self {
        Self(networks)
    }

    /// Whether the address lies in one of them.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_an_address_and_the_length_of_its_prefix() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("10.1.2.3", "10.1.2.3", "10.1.2.4"),
            ("10.1.2.3/8", "10.9.9.9", "11.1.2.3"),
            ("0.0.0.0/0", "203.0.113.1", "2001:db8::1"),
            ("fd00::/8", "fdff::1", "fe00::1"),
            ("::/0", "2001:db8::1", "10.0.0.1"),
            ("10.0.0.0/8", "::ffff:10.0.0.1", "::10.0.0.1"),
        ] {
            let parsed: Network = network.parse().unwrap();
            assert!(parsed.contains(inside.parse().unwrap()), "{network} has {inside}");
            assert!(!parsed.contains(outside.parse().unwrap()), "{network} has not {outside}");
        }
        for wrong in [
            "",
            "10.0.0.0/33",
            "fd00::/129",
            "10.0.0/8",
            "10.0.0.0/",
            "10.0.0.0/-1",
            "localhost",
            "10.0.0.0/8/8",
        ] {
            let error = wrong.parse::<Network>().unwrap_err();
            assert!(
                error.to_string().starts_with(&format!("{wrong:?} is no network; expected")),
                "{error}"
            );
        }
        assert_eq!("10.0.0.0/8".parse::<Network>().unwrap().to_string(), "10.0.0.0/8");
    }

    #[test]
    fn what_is_inside_is_private_or_loopback() {
        let networks = Networks::new(Network::inside());
        assert_eq!(Network::inside().len(), INSIDE.len());
        for inside in [
            "127.0.0.1",
            "10.1.2.3",
            "172.31.0.1",
            "192.168.1.1",
            "::1",
            "fd00::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(networks.contains(inside.parse().unwrap()), "{inside}");
        }
        for outside in [
            "203.0.113.1",
            "172.32.0.1",
            "169.254.1.1",
            "2001:db8::1",
            "fe80::1",
            "::ffff:203.0.113.1",
            "0.0.0.0",
        ] {
            assert!(!networks.contains(outside.parse().unwrap()), "{outside}");
        }
    }
}
