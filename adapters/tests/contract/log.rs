//! What every log must do: one order, nothing twice, nothing lost without a word.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use fanfare_adapters::{AppendError, Appended, Away, Bound, Entry, Fed, Log, Place, ReadError};

use crate::world::{Kind, World, topic, within};

const ALL: Bound = Bound {
    entries: 10_000,
    bytes: 1 << 30,
};

async fn append(log: &Arc<dyn Log>, origin: &str, sequence: u64, text: &str) -> Result<Appended, AppendError> {
    let entry = Bytes::copy_from_slice(text.as_bytes());
    within("an append is answered", log.append(&topic("log.a"), origin, sequence, entry)).await
}

async fn read(log: &Arc<dyn Log>, after: u64) -> Vec<(u64, String)> {
    let page = within("a page", log.read(&topic("log.a"), after, ALL)).await.expect("a page");
    page.entries.iter().map(text).collect()
}

fn text(entry: &Entry) -> (u64, String) {
    (entry.position, String::from_utf8(entry.entry.to_vec()).expect("text"))
}

fn pair(position: u64, text: &str) -> (u64, String) {
    (position, text.to_owned())
}

pub async fn entries_get_positions_from_one_and_can_be_read_after_any(kind: Kind) {
    let world = World::new(kind).await;
    let (log, _) = world.store();
    assert_eq!(read(&log, 0).await, []);
    for (text, number) in ["a", "b", "c"].into_iter().zip(1..) {
        assert_eq!(append(&log, "one", number, text).await, Ok(Appended::At(number)));
    }
    assert_eq!(read(&log, 0).await, [pair(1, "a"), pair(2, "b"), pair(3, "c")]);
    assert_eq!(read(&log, 2).await, [pair(3, "c")]);
    assert_eq!(read(&log, 3).await, []);
    let end = within("the end", log.end(&topic("log.a"))).await.expect("the end");
    assert_eq!(end.position, 3);
    let ahead = within("an answer", log.read(&topic("log.a"), 4, ALL)).await;
    assert_eq!(ahead, Err(ReadError::Ahead { end: 3 }));
    // Another log is another order.
    let other = within("the end", log.end(&topic("log.b"))).await.expect("the end");
    assert_eq!(other.position, 0);
}

pub async fn an_entry_is_appended_once_however_often_it_is_sent(kind: Kind) {
    let world = World::new(kind).await;
    let ((log, _), (other, _)) = (world.store(), world.store());
    assert_eq!(append(&log, "one", 7, "a").await, Ok(Appended::At(1)));
    assert_eq!(append(&log, "one", 7, "a").await, Ok(Appended::Before));
    assert_eq!(append(&other, "two", 7, "b").await, Ok(Appended::At(2)));
    assert_eq!(append(&log, "one", 9, "d").await, Err(AppendError::OutOfOrder { expected: 8 }));
    assert_eq!(append(&log, "one", 8, "c").await, Ok(Appended::At(3)));
    assert_eq!(append(&log, "one", 7, "a").await, Ok(Appended::Before));
    assert_eq!(read(&other, 0).await, [pair(1, "a"), pair(2, "b"), pair(3, "c")]);
}

pub async fn a_page_is_bounded_and_holds_one_entry_at_least(kind: Kind) {
    let world = World::new(kind).await;
    let (log, _) = world.store();
    for number in 1..=9 {
        append(&log, "one", number, "0123456789").await.expect("appended");
    }
    for (bound, expected) in [((4, 1000), 4), ((100, 35), 3), ((100, 1), 1), ((0, 0), 1)] {
        let (entries, bytes) = bound;
        let page = within("a page", log.read(&topic("log.a"), 2, Bound { entries, bytes })).await;
        let page = page.expect("a page");
        let positions: Vec<u64> = page.entries.iter().map(|entry| entry.position).collect();
        assert_eq!(positions, (3..3 + expected).collect::<Vec<_>>());
        assert_eq!(page.end.position, 9);
    }
}

pub async fn followers_on_every_node_are_fed_in_the_order_of_the_log(kind: Kind) {
    const COUNT: u64 = 200;
    let world = World::new(kind).await;
    let stores = [world.store().0, world.store().0, world.store().0];
    append(&stores[0], "before", 1, "before").await.expect("appended");
    let mut followers = Vec::new();
    for log in &stores {
        let (follower, place) = within("a follower", log.follow(&topic("log.a"))).await.expect("a follower");
        assert_eq!(place.position, 1);
        followers.push(follower);
    }
    let writers = stores.iter().zip(["a", "b", "c"]).map(|(log, origin)| {
        let log = Arc::clone(log);
        tokio::spawn(async move {
            for number in 1..=COUNT {
                append(&log, origin, number, &format!("{origin}{number}")).await.expect("appended");
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        within("a writer", writer).await.expect("a writer that did not panic");
    }
    let expected = read(&stores[0], 1).await;
    assert_eq!(expected.len() as u64, 3 * COUNT);
    for follower in &mut followers {
        let mut fed = Vec::new();
        while fed.len() < expected.len() {
            match within("an entry", follower.next()).await {
                Some(Fed::Entry(entry)) => fed.push(text(&entry)),
                other => panic!("expected an entry, got {other:?}"),
            }
        }
        assert_eq!(fed, expected);
    }
}

pub async fn an_outage_is_answered_and_leaves_a_gap_that_can_be_read(kind: Kind) {
    let world = World::new(kind).await;
    let ((log, _), (other, _)) = (world.store(), world.store());
    let (mut follower, _) = within("a follower", log.follow(&topic("log.a"))).await.expect("a follower");
    append(&log, "one", 1, "a").await.expect("appended");
    world.cut(&log);
    assert_eq!(append(&log, "one", 2, "b").await, Err(AppendError::Away));
    assert_eq!(within("an answer", log.read(&topic("log.a"), 0, ALL)).await, Err(ReadError::Away));
    assert_eq!(within("an answer", log.end(&topic("log.a"))).await, Err(Away));
    append(&other, "two", 1, "x").await.expect("appended");
    world.mend(&log);
    append(&log, "one", 2, "b").await.expect("appended");
    let Some(Fed::Entry(first)) = within("an entry", follower.next()).await else {
        panic!("no entry")
    };
    assert_eq!(text(&first), pair(1, "a"));
    assert_eq!(within("a gap", follower.next()).await, Some(Fed::Gap));
    assert_eq!(read(&log, 1).await, [pair(2, "x"), pair(3, "b")]);
    let Some(Fed::Entry(last)) = within("an entry", follower.next()).await else {
        panic!("no entry")
    };
    assert_eq!(text(&last), pair(3, "b"));
}

pub async fn what_was_trimmed_is_said(kind: Kind) {
    let world = World::new(kind).await;
    let (log, _) = world.store();
    // Far more than the few KiB that the world lets a log keep.
    for number in 1..=400 {
        append(&log, "one", number, &"x".repeat(1000)).await.expect("appended");
    }
    let Err(ReadError::Trimmed { first }) = within("an answer", log.read(&topic("log.a"), 0, ALL)).await else {
        panic!("nothing was trimmed")
    };
    assert!((2..=400).contains(&first), "{first}");
    let kept = read(&log, first - 1).await;
    assert_eq!(kept.len() as u64, 401 - first);
    assert_eq!(within("the end", log.end(&topic("log.a"))).await.expect("the end").position, 400);
}

pub async fn a_follower_that_is_not_read_has_a_gap_and_costs_nobody(kind: Kind) {
    let world = World::new(kind).await;
    let (log, _) = world.store();
    let (mut follower, _) = within("a follower", log.follow(&topic("log.a"))).await.expect("a follower");
    for number in 1..=400 {
        append(&log, "one", number, &"x".repeat(1000)).await.expect("appended");
    }
    let mut next = 1;
    loop {
        match within("something", follower.next()).await {
            Some(Fed::Entry(entry)) => {
                assert_eq!(entry.position, next);
                next += 1;
            }
            Some(Fed::Gap) => break,
            other => panic!("expected entries and a gap, got {other:?}"),
        }
    }
    assert!((2..=400).contains(&next), "{next}");
    append(&log, "one", 401, "after").await.expect("appended");
    loop {
        match within("something", follower.next()).await {
            Some(Fed::Entry(entry)) if entry.position == 401 => break,
            Some(Fed::Gap | Fed::Entry(_)) => {}
            other => panic!("unexpected {other:?}"),
        }
    }
}

pub async fn a_log_that_lost_its_entries_begins_an_epoch(kind: Kind) {
    let world = World::new(kind).await;
    let (log, _) = world.store();
    let (mut follower, before) = within("a follower", log.follow(&topic("log.a"))).await.expect("a follower");
    append(&log, "one", 1, "a").await.expect("appended");
    world.lose_logs().await;
    let after = loop {
        match within("the new epoch", follower.next()).await {
            Some(Fed::Epoch(place)) => break place,
            Some(Fed::Entry(_) | Fed::Gap) => {}
            None => panic!("the follower ended"),
        }
    };
    assert_ne!(after.epoch, before.epoch);
    let expected = Place {
        epoch: after.epoch,
        position: 0,
    };
    assert_eq!(within("the end", log.end(&topic("log.a"))).await, Ok(expected));
    // The origin goes on with its numbers.
    assert_eq!(append(&log, "one", 2, "b").await, Ok(Appended::At(1)));
}

pub async fn a_follower_ends_with_its_store(kind: Kind) {
    let world = World::new(kind).await;
    let (log, records) = world.store();
    let (mut follower, _) = within("a follower", log.follow(&topic("log.a"))).await.expect("a follower");
    append(&log, "one", 1, "a").await.expect("appended");
    drop((log, records));
    world.forget_stores();
    assert!(matches!(within("what was fed", follower.next()).await, Some(Fed::Entry(_))));
    assert_eq!(within("the end", follower.next()).await, None);
    assert!(follower.is_closed());
}

/// Long enough that a timer of a test is not what decides.
pub const LONG: Duration = Duration::from_secs(3600);
