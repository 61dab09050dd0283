//! What all records must do: of several who change one, exactly one succeeds.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use fanfare_adapters::{Away, Kept, PutError, Records};
use tokio::time::sleep;

use crate::{
    log::LONG,
    world::{Kind, World, topic, within},
};

async fn put(records: &Arc<dyn Records>, value: &str, revision: Option<u64>) -> Result<u64, PutError> {
    let value = Bytes::copy_from_slice(value.as_bytes());
    within("a put is answered", records.put(&topic("r.key"), value, revision, LONG)).await
}

async fn get(records: &Arc<dyn Records>) -> Option<Kept> {
    within("a get is answered", records.get(&topic("r.key"))).await.expect("reachable")
}

pub async fn a_value_is_changed_by_who_knows_it_and_by_nobody_else(kind: Kind) {
    let world = World::new(kind).await;
    let ((_, records), (_, other)) = (world.store(), world.store());
    assert_eq!(get(&records).await, None);
    assert_eq!(put(&records, "no", Some(1)).await, Err(PutError::Conflict));
    let first = put(&records, "a", None).await.expect("put");
    assert_eq!(put(&other, "b", None).await, Err(PutError::Conflict));
    let kept = get(&other).await.expect("a value");
    assert_eq!((&*kept.value, kept.revision), (&b"a"[..], first));
    let second = put(&other, "b", Some(first)).await.expect("put");
    assert_ne!(first, second);
    assert_eq!(put(&records, "c", Some(first)).await, Err(PutError::Conflict));
    let wrong = within("a delete is answered", records.delete(&topic("r.key"), first)).await;
    assert_eq!(
        (wrong, get(&records).await.map(|kept| kept.value)),
        (Ok(false), Some(Bytes::from("b")))
    );
    let right = within("a delete is answered", records.delete(&topic("r.key"), second)).await;
    assert_eq!((right, get(&records).await), (Ok(true), None));
    // What is made anew is not taken for what was there before.
    let third = put(&records, "d", None).await.expect("put");
    assert!(third != first && third != second);
}

pub async fn one_of_many_who_change_a_value_succeeds(kind: Kind) {
    let world = World::new(kind).await;
    let first = put(&world.store().1, "start", None).await.expect("put");
    let racers: Vec<_> = (0..8)
        .map(|number: u8| {
            let (_, records) = world.store();
            tokio::spawn(async move { put(&records, &number.to_string(), Some(first)).await })
        })
        .collect();
    let mut winners = 0;
    for racer in racers {
        match within("a racer", racer).await.expect("a racer that did not panic") {
            Ok(_) => winners += 1,
            Err(refused) => assert_eq!(refused, PutError::Conflict),
        }
    }
    assert_eq!(winners, 1);
}

pub async fn a_value_expires_unless_it_is_put_again(kind: Kind) {
    const SHORT: Duration = Duration::from_millis(300);
    let world = World::new(kind).await;
    let (_, records) = world.store();
    let key = topic("r.key");
    let first = within("a put", records.put(&key, Bytes::from("a"), None, SHORT))
        .await
        .expect("put");
    let second = within("a put", records.put(&key, Bytes::from("b"), Some(first), LONG))
        .await
        .expect("put");
    let gone = topic("r.gone");
    within("a put", records.put(&gone, Bytes::from("c"), None, SHORT))
        .await
        .expect("put");
    sleep(2 * SHORT).await;
    assert_eq!(within("a get", records.get(&gone)).await, Ok(None));
    assert_eq!(get(&records).await.map(|kept| kept.revision), Some(second));
}

pub async fn an_outage_is_answered(kind: Kind) {
    let world = World::new(kind).await;
    let (log, records) = world.store();
    let revision = put(&records, "a", None).await.expect("put");
    world.cut(&log);
    assert_eq!(within("an answer", records.get(&topic("r.key"))).await, Err(Away));
    assert_eq!(put(&records, "b", Some(revision)).await, Err(PutError::Away));
    assert_eq!(within("an answer", records.delete(&topic("r.key"), revision)).await, Err(Away));
    world.mend(&log);
    assert!(put(&records, "b", Some(revision)).await.is_ok());
}

pub async fn records_are_bounded(kind: Kind) {
    let world = World::new(kind).await;
    let (_, records) = world.store();
    let mut kept = 0;
    let refused = loop {
        let key = topic(&format!("r.{kept}"));
        match within("an answer", records.put(&key, vec![0; 1000].into(), None, LONG)).await {
            Ok(_) => kept += 1,
            Err(refused) => break refused,
        }
        assert!(kept < 10_000, "it takes any number of records");
    };
    assert_eq!(refused, PutError::Full);
    assert_eq!(records.counters().records, kept);
    // A smaller value in place of one that is there always has room.
    let first = within("a get", records.get(&topic("r.0"))).await.expect("reachable").expect("kept");
    let smaller = records.put(&topic("r.0"), Bytes::from("x"), Some(first.revision), LONG);
    assert!(within("an answer", smaller).await.is_ok());
}
