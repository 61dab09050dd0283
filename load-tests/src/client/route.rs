//! Where the requests of one client go.

use std::{sync::Arc, time::Duration};

use tokio::net::TcpStream;

use super::{ClientError, opening::Opening};

/// The longest that a TCP connection may take.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);

/// The servers as one client sees them: it stays with one of them, or each of its requests goes to the next.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    targets: Arc<[String]>,
    next: usize,
    affinity: bool,
    opening: Arc<Opening>,
}

/// Where one request goes.
#[derive(Debug)]
pub(super) struct Way {
    targets: Arc<[String]>,
    /// The target whose turn it is.
    pub(super) first: usize,
    affinity: bool,
    /// How its connection is opened.
    pub(super) opening: Arc<Opening>,
}

impl Route {
    /// Begins at the target of that number, counted around.
    pub(crate) fn new(targets: &Arc<[String]>, start: usize, affinity: bool) -> Self {
        Self {
            targets: Arc::clone(targets),
            next: start % targets.len(),
            affinity,
            opening: Arc::default(),
        }
    }

    /// The same, whose connections are opened like this.
    pub(crate) fn opening(self, opening: &Arc<Opening>) -> Self {
        Self {
            opening: Arc::clone(opening),
            ..self
        }
    }

    /// Whether a server accepts connections there.
    pub(crate) async fn reach(mut self) -> Result<(), ClientError> {
        self.next().dial().await.map(drop)
    }

    /// How many targets there are.
    pub(super) fn targets(&self) -> usize {
        self.targets.len()
    }

    /// Whether the client stays with one server.
    pub(super) fn affinity(&self) -> bool {
        self.affinity
    }

    /// The way of the next request.
    pub(super) fn next(&mut self) -> Way {
        let first = self.next;
        if !self.affinity {
            self.next = (self.next + 1) % self.targets.len();
        }
        Way {
            targets: Arc::clone(&self.targets),
            first,
            affinity: self.affinity,
            opening: Arc::clone(&self.opening),
        }
    }
}

impl Way {
    /// How often a request may be sent that changes nothing: without affinity as to every target once. A balancer sends it again when the
    /// connection has ended before the answer began.
    pub(super) fn tries(&self) -> usize {
        if self.affinity { 1 } else { self.targets.len() }
    }

    /// The way of the same request after a target has failed.
    pub(super) fn after(&mut self, failed: usize) {
        self.first = (failed + 1) % self.targets.len();
    }

    /// A new connection, and the number of the target that it leads to. Without affinity a target that does not accept connections is
    /// passed over, as a balancer does.
    pub(super) async fn dial(&self) -> Result<(usize, TcpStream), ClientError> {
        let mut refused = ClientError::Timeout("dialled", DIAL_TIMEOUT);
        for number in (0..self.targets.len()).cycle().skip(self.first).take(self.tries()) {
            match tokio::time::timeout(DIAL_TIMEOUT, TcpStream::connect(self.address(number))).await {
                Ok(Ok(stream)) => {
                    stream.set_nodelay(true)?;
                    if self.opening.abrupt {
                        stream.set_zero_linger()?;
                    }
                    return Ok((number, stream));
                }
                Ok(Err(error)) => refused = error.into(),
                Err(_) => refused = ClientError::Timeout("dialled", DIAL_TIMEOUT),
            }
        }
        Err(refused)
    }

    /// HOST:PORT of a target.
    pub(super) fn address(&self, number: usize) -> &str {
        self.targets.get(number).map_or("", String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn a_client_stays_with_its_target_or_goes_round() {
        let targets: Arc<[String]> = ["a", "b", "c"].map(str::to_owned).into();
        let firsts = |mut route: Route| [(); 4].map(|()| route.next().first);
        assert_eq!(firsts(Route::new(&targets, 4, true)), [1, 1, 1, 1]);
        assert_eq!(firsts(Route::new(&targets, 4, false)), [1, 2, 0, 1]);
    }

    #[tokio::test]
    async fn only_without_affinity_a_target_that_refuses_is_passed_over() {
        let alive = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let targets: Arc<[String]> = [&gone, &alive].map(|listener| listener.local_addr().unwrap().to_string()).into();
        drop(gone);
        let (number, _) = Route::new(&targets, 0, false).next().dial().await.unwrap();
        assert_eq!(number, 1);
        assert!(Route::new(&targets, 0, true).next().dial().await.is_err());
    }
}
