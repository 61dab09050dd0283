//! When the client library drops messages before the adapter sees them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::Duration,
};

use fanfare_adapters::{Delivery, GapCause};
use tokio::{runtime::Builder, time::sleep};

use crate::world::{Kind, World, topic, within};

/// Long enough for a flood to outgrow the queues of a client library.
const STANDSTILL: Duration = Duration::from_millis(200);

pub async fn what_the_client_library_drops_is_a_gap(kind: Kind) {
    let world = World::new(kind).await;
    let sender = world.node().await;
    let done = Arc::new(AtomicBool::new(false));
    let is_done = done.clone();
    let slow = std::thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let heard = runtime.block_on(async {
            let mut receiver = world.node().await;
            receiver.subscribe(topic("a")).await;
            within("the gap is heard", async {
                // The one thread of this node stands still again and again while the flood comes in.
                let (_never, nothing) = mpsc::channel::<()>();
                loop {
                    assert!(nothing.recv_timeout(STANDSTILL).is_err());
                    sleep(Duration::from_millis(1)).await;
                    while let Some(delivery) = receiver.inbox.try_next() {
                        // A node that stands still for so long may also be taken for dead, and come back.
                        if delivery == Delivery::Gap(GapCause::Lagged) {
                            return receiver.adapter.counters().received;
                        }
                    }
                }
            })
            .await
        });
        is_done.store(true, Ordering::Relaxed);
        heard
    });
    let mut sent = 0;
    while !done.load(Ordering::Relaxed) && !slow.is_finished() {
        sender.publish_patiently(&topic("a"), "x".into()).await;
        sent += 1;
    }
    let heard = slow.join().expect("the receiver does not panic");
    assert!(heard < sent, "{heard} of {sent}");
}
