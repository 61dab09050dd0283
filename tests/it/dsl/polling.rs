//! A client that polls.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use serde_json::Value;

use super::{Answer, request};

/// An Engine.IO session over polling.
#[derive(Debug, Clone)]
pub(crate) struct Polling {
    /// Where its requests go, in turn, as behind a balancer that knows nothing of sessions.
    addresses: Arc<[SocketAddr]>,
    requests: Arc<AtomicUsize>,
    /// What the server told in its `open` packet.
    pub(crate) open: Value,
    pub(crate) sid: String,
}

impl Polling {
    /// Opens a session.
    pub(crate) async fn open(address: SocketAddr) -> Self {
        Self::open_at(&[address]).await
    }

    /// Opens a session at the first address, whose requests then go to all of them in turn.
    pub(crate) async fn open_at(addresses: &[SocketAddr]) -> Self {
        let answer = request(addresses[0], "GET", "/socket.io/?EIO=4&transport=polling", &[], b"").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let open: Value = serde_json::from_str(answer.text().strip_prefix('0').unwrap()).unwrap();
        let sid = open["sid"].as_str().unwrap().to_owned();
        Self {
            addresses: addresses.into(),
            requests: Arc::new(AtomicUsize::new(1)),
            open,
            sid,
        }
    }

    /// Opens a session and connects to the namespace `/`.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::connect_at(&[address]).await
    }

    /// The same as [`Polling::open_at`].
    pub(crate) async fn connect_at(addresses: &[SocketAddr]) -> Self {
        let client = Self::open_at(addresses).await;
        client.send("40").await;
        let answer = client.receive().await;
        assert!(answer.len() == 1 && answer[0].starts_with("40{\"sid\":"), "{answer:?}");
        client
    }

    /// Where this session's requests go.
    pub(crate) fn target(&self) -> String {
        format!("/socket.io/?EIO=4&transport=polling&sid={}", self.sid)
    }

    fn next(&self) -> SocketAddr {
        self.addresses[self.requests.fetch_add(1, Relaxed) % self.addresses.len()]
    }

    /// Polls once.
    pub(crate) async fn get(&self) -> Answer {
        request(self.next(), "GET", &self.target(), &[], b"").await
    }

    /// Posts a payload, whatever it is.
    pub(crate) async fn post(&self, body: &[u8]) -> Answer {
        request(
            self.next(),
            "POST",
            &self.target(),
            &["Content-Type: text/plain;charset=UTF-8"],
            body,
        )
        .await
    }

    /// Posts packets and expects the server to take them.
    pub(crate) async fn send(&self, packets: &str) {
        let answer = self.post(packets.as_bytes()).await;
        assert_eq!((answer.status, answer.text()), (200, "ok"));
    }

    /// Polls until there are packets; answers pings on the way.
    pub(crate) async fn receive(&self) -> Vec<String> {
        loop {
            let answer = self.get().await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            let (pings, packets): (Vec<_>, Vec<_>) = answer.text().split('\x1e').map(str::to_owned).partition(|packet| packet == "2");
            for _ in pings {
                self.send("3").await;
            }
            if !packets.is_empty() {
                return packets;
            }
        }
    }

    /// Polls until so many packets have come.
    pub(crate) async fn receive_some(&self, count: usize) -> Vec<String> {
        let mut packets = Vec::new();
        while packets.len() < count {
            packets.extend(self.receive().await);
        }
        packets
    }
}
