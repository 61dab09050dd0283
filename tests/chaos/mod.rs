//! Chaos: three nodes, processes of the binary, over a real backend. Nodes are killed with SIGKILL and begun anew, paused with SIGSTOP, cut
//! from the backend, or their path to it is frozen; the backend is killed and comes back; some clients are cut for two seconds at random.
//! A checker is told of every send and every delivery, and proves of each round: nothing was repeated, order was kept, nothing reached who
//! it was not for, and what each node has counted as holes is exactly what a client of it that was never cut has missed (see [`checker`]
//! for what can be known).
//!
//! Everything that is drawn follows from a seed, which a failure prints. What the kernel and the backend do with it may differ between two
//! runs. More than the few rounds of every day:
//!
//! ```sh
//! CHAOS_BACKEND=redis CHAOS_SEED=7 CHAOS_ROUNDS=100 cargo test -p fanfare --test it chaos::over -- --nocapture
//! ```
//!
//! `CHAOS_BACKEND` is `redis`, `nats`, `sentinel`, `redis-cluster` or `nats-cluster` (default: each), `CHAOS_SEED` the first number of
//! everything, and `CHAOS_ROUNDS` how many rounds there are (default: as below). A round takes two to ten seconds.

mod backend;
mod checker;
mod clients;
mod history;
mod process;
mod random;
mod run;
mod schedule;

use std::str::FromStr;

use self::{backend::Kind, run::Run};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_redis() {
    chaos(Kind::Redis, 5, 7).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_nats() {
    chaos(Kind::Nats, 58, 7).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_sentinel() {
    chaos(Kind::Sentinel, 25, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_redis_cluster() {
    chaos(Kind::RedisCluster, 7, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_nats_cluster() {
    chaos(Kind::NatsCluster, 32, 2).await;
}

/// As many rounds of this seed, unless the environment says otherwise.
async fn chaos(kind: Kind, seed: u64, rounds: u64) {
    if from_environment::<String>("CHAOS_BACKEND").is_some_and(|name| name != kind.name()) {
        return;
    }
    let seed = from_environment("CHAOS_SEED").unwrap_or(seed);
    let rounds = from_environment("CHAOS_ROUNDS").unwrap_or(rounds);
    let again = format!(
        "CHAOS_BACKEND={} CHAOS_SEED={seed} CHAOS_ROUNDS={rounds} cargo test -p fanfare --test it chaos::over -- --nocapture",
        kind.name()
    );
    println!("{again}");
    let mut run = Run::start(kind, seed).await;
    match run.rounds(rounds).await {
        Ok(figures) => println!("over {}, seed {seed}, {rounds} rounds: {figures:?}", kind.name()),
        Err(wrong) => panic!(
            "chaos over {}, seed {seed}, {wrong}\nagain: {again}\nthe nodes' logs: {}",
            kind.name(),
            process::files("*.log").display()
        ),
    }
}

#[expect(clippy::disallowed_methods, reason = "of a test, not of a node")]
fn from_environment<T: FromStr>(name: &str) -> Option<T> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is {value}")))
}
