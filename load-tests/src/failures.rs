//! Why connections were not made, or have ended, counted by reason.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use serde::Serialize;

use crate::client::ClientError;

/// What has failed so far.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    counts: [AtomicU64; REASONS],
    /// By HTTP status. Behind a lock: failures are rare, and what waits for it has failed.
    statuses: Mutex<BTreeMap<u16, u64>>,
    first: OnceLock<String>,
}

/// Why something failed. The order is that of [`ByReason`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    Refused,
    Local,
    Timeout,
    Silent,
    Status,
    Closed,
    Disconnected,
    Protocol,
}

/// How many reasons there are.
const REASONS: usize = Reason::Protocol as usize + 1;

/// Failures by their reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct ByReason {
    /// No TCP connection was made.
    pub(crate) refused: u64,
    /// The generator had no address, port or file left for it.
    pub(crate) local: u64,
    /// Something took too long.
    pub(crate) timeout: u64,
    /// No ping came for as long as the server had said.
    pub(crate) silent: u64,
    /// A request was answered with an HTTP status that is an error.
    pub(crate) status: u64,
    /// The server closed or reset the connection.
    pub(crate) closed: u64,
    /// The server took the client out of the namespace.
    pub(crate) disconnected: u64,
    /// Something else came than the protocol has there.
    pub(crate) protocol: u64,
}

/// How often a server answered with an HTTP status that is an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Refusals {
    /// The status.
    pub(crate) status: u16,
    /// How often.
    pub(crate) count: u64,
}

impl Failures {
    /// Counts one.
    pub(crate) fn count(&self, error: &ClientError) {
        self.first.get_or_init(|| error.to_string());
        let (reason, status) = judge(error);
        if let Some(count) = self.counts.get(reason as usize) {
            count.fetch_add(1, Relaxed);
        }
        if let Some(status) = status {
            *self
                .statuses
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .entry(status)
                .or_default() += 1;
        }
    }

    /// How many there were.
    pub(crate) fn total(&self) -> u64 {
        self.counts.iter().map(|count| count.load(Relaxed)).sum()
    }

    /// How many there were for each reason.
    pub(crate) fn by_reason(&self) -> ByReason {
        let [refused, local, timeout, silent, status, closed, disconnected, protocol] =
            self.counts.each_ref().map(|count| count.load(Relaxed));
        ByReason {
            refused,
            local,
            timeout,
            silent,
            status,
            closed,
            disconnected,
            protocol,
        }
    }

    /// How many there were for each HTTP status.
    pub(crate) fn refusals(&self) -> Vec<Refusals> {
        let statuses = self.statuses.lock().unwrap_or_else(PoisonError::into_inner);
        statuses
            .iter()
            .map(|(status, count)| Refusals {
                status: *status,
                count: *count,
            })
            .collect()
    }

    /// What the first one was.
    pub(crate) fn first(&self) -> Option<String> {
        self.first.get().cloned()
    }
}

/// Linux's numbers of "too many open files", of the process and of the system.
const NO_FILES: [i32; 2] = [24, 23];

/// The reason, and the status if it is one.
fn judge(error: &ClientError) -> (Reason, Option<u16>) {
    let reason = match error {
        ClientError::Status { status, .. } => return (Reason::Status, Some(*status)),
        ClientError::Dial(error) if is_local(error) => Reason::Local,
        ClientError::Dial(_) => Reason::Refused,
        ClientError::Timeout(..) => Reason::Timeout,
        ClientError::Silent(_) => Reason::Silent,
        ClientError::Http(_) | ClientError::Closed | ClientError::Broken(_) => Reason::Closed,
        ClientError::Disconnected => Reason::Disconnected,
        ClientError::WebSocket(_) | ClientError::Request | ClientError::Unexpected { .. } => Reason::Protocol,
    };
    (reason, None)
}

fn is_local(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error().is_some_and(|number| NO_FILES.contains(&number))
}

impl ByReason {
    /// For whatever reason.
    pub(crate) fn total(&self) -> u64 {
        let Self {
            refused,
            local,
            timeout,
            silent,
            status,
            closed,
            disconnected,
            protocol,
        } = self;
        refused + local + timeout + silent + status + closed + disconnected + protocol
    }

    /// What is to be said of those that there are: `3 refused, 1 closed`; nothing if there are none.
    pub(crate) fn list(&self) -> String {
        let named = [
            ("refused", self.refused),
            ("for want of an address or a file here", self.local),
            ("too slow", self.timeout),
            ("without pings", self.silent),
            ("with an HTTP status", self.status),
            ("closed", self.closed),
            ("disconnected", self.disconnected),
            ("against the protocol", self.protocol),
        ];
        let named: Vec<_> = named
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| format!("{count} {name}"))
            .collect();
        named.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_reason_has_its_counter_and_each_status_too() {
        let failures = Failures::default();
        let status = |status| ClientError::Status {
            status,
            body: "busy".to_owned(),
        };
        for error in [
            ClientError::Dial(io::ErrorKind::ConnectionRefused.into()),
            ClientError::Dial(io::ErrorKind::AddrNotAvailable.into()),
            ClientError::Dial(io::Error::from_raw_os_error(24)),
            ClientError::Timeout("connected", Duration::from_secs(20)),
            ClientError::Silent(Duration::from_secs(45)),
            status(503),
            status(503),
            status(429),
            ClientError::Broken(io::ErrorKind::ConnectionReset.into()),
            ClientError::Closed,
            ClientError::Disconnected,
            ClientError::Request,
        ] {
            failures.count(&error);
        }
        let by_reason = ByReason {
            refused: 1,
            local: 2,
            timeout: 1,
            silent: 1,
            status: 3,
            closed: 2,
            disconnected: 1,
            protocol: 1,
        };
        assert_eq!((failures.by_reason(), failures.total()), (by_reason, 12));
        assert_eq!(
            failures.refusals(),
            [(429, 1), (503, 2)].map(|(status, count)| Refusals { status, count })
        );
        assert_eq!(failures.first().unwrap(), "connection refused");
    }

    #[test]
    fn what_did_not_happen_is_not_listed() {
        let mut reasons = ByReason::default();
        assert_eq!(reasons.list(), "");
        (reasons.refused, reasons.closed) = (3, 1);
        assert_eq!(reasons.list(), "3 refused, 1 closed");
    }
}
