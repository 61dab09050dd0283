//! Servers that are tried one after the other.

use std::{
    future::Future,
    sync::atomic::{AtomicUsize, Ordering},
};

use crate::driver::Fault;

/// Whose turn it is. Goes on where it stopped, so that what failed last is tried last; the list may change meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Turn(AtomicUsize);

impl Turn {
    /// Tries all, each once, until `attempt` succeeds; else answers the last fault. Cancel safe: the one that was being tried has had
    /// its turn.
    pub(crate) async fn try_all<T: Clone, R, F>(&self, all: &[T], mut attempt: impl FnMut(T) -> F) -> Result<R, Fault>
    where
        F: Future<Output = Result<R, Fault>>,
    {
        let mut fault = Fault::new("no server is known");
        for _ in all {
            let turn = self.0.fetch_add(1, Ordering::Relaxed);
            let Some(server) = all.get(turn % all.len()) else { break };
            match attempt(server.clone()).await {
                Ok(done) => return Ok(done),
                Err(refused) => fault = refused,
            }
        }
        Err(fault)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[tokio::test]
    async fn each_has_its_turn_after_the_one_that_had_it_last() {
        let turn = Turn::default();
        let tried = Mutex::new(Vec::new());
        let good = async |name: &'static str| {
            tried.lock().unwrap().push(name);
            (name == "b").then_some(name).ok_or_else(|| Fault::new(name))
        };
        assert_eq!(turn.try_all(&["a", "b", "c"], good).await.unwrap(), "b");
        assert_eq!(turn.try_all(&["a", "b", "c"], good).await.unwrap(), "b");
        assert_eq!(turn.try_all(&["x", "y"], good).await.unwrap_err().to_string(), "x");
        assert!(turn.try_all(&[], good).await.is_err());
        assert_eq!(*tried.lock().unwrap(), ["a", "b", "c", "a", "b", "y", "x"]);
    }
}
