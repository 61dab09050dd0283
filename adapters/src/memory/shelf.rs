//! The records of a memory bus: a plain value.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;

use crate::{Kept, PutError, Topic};

/// What a record costs beside its bytes.
const OVERHEAD: usize = 2 * size_of::<(Instant, Topic)>() + size_of::<Kept>();

/// Values by key, and by when they expire.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    kept: HashMap<Topic, (Kept, Instant)>,
    expiring: BTreeSet<(Instant, Topic)>,
    bytes: usize,
    /// Grows over all keys, so that no revision of a key comes again.
    revision: u64,
}

impl Shelf {
    pub(super) fn records(&self) -> usize {
        self.kept.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn get(&self, key: &Topic) -> Option<Kept> {
        self.kept.get(key).map(|(kept, _)| kept.clone())
    }

    /// `limit` is for the bytes of all records together.
    pub(super) fn put(&mut self, key: &Topic, value: Bytes, revision: Option<u64>, until: Instant, limit: usize) -> Result<u64, PutError> {
        let present = self.kept.get(key);
        if present.map(|(kept, _)| kept.revision) != revision {
            return Err(PutError::Conflict);
        }
        let before = present.map_or(0, |(kept, _)| cost(key, &kept.value));
        let bytes = self.bytes - before + cost(key, &value);
        if bytes > limit && bytes > self.bytes {
            return Err(PutError::Full);
        }
        self.remove(key);
        self.bytes = bytes;
        self.revision += 1;
        let kept = Kept {
            value,
            revision: self.revision,
        };
        self.kept.insert(key.clone(), (kept, until));
        self.expiring.insert((until, key.clone()));
        Ok(self.revision)
    }

    pub(super) fn delete(&mut self, key: &Topic, revision: u64) -> bool {
        let present = self.kept.get(key).is_some_and(|(kept, _)| kept.revision == revision);
        if present {
            self.remove(key);
        }
        present
    }

    /// Forgets what has expired.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some((_, key)) = self.expiring.first().filter(|(until, _)| *until <= now).cloned() {
            self.remove(&key);
        }
    }

    fn remove(&mut self, key: &Topic) {
        if let Some((kept, until)) = self.kept.remove(key) {
            self.bytes -= cost(key, &kept.value);
            self.expiring.remove(&(until, key.clone()));
        }
    }
}

fn cost(key: &Topic, value: &Bytes) -> usize {
    key.as_str().len() + value.len() + OVERHEAD
}

/// When something that is kept for so long expires.
pub(super) fn expiry(now: Instant, expires_in: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    now + expires_in.min(YEAR)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        /// Puts under the revision that was seen last, none, or a wrong one.
        Put(u8, u8, usize, u64),
        Delete(u8, bool),
        Wait(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            5 => (0_u8..5, 0_u8..4, 0_usize..300, 0_u64..30).prop_map(|(key, how, size, time)| Step::Put(key, how, size, time)),
            1 => (0_u8..5, any::<bool>()).prop_map(|(key, right)| Step::Delete(key, right)),
            1 => (0_u64..20).prop_map(Step::Wait),
        ]
    }

    proptest! {
        /// The records agree with a plain list of values; a change is made by who knows the present revision, and by nobody else.
        #[test]
        fn holds_what_a_naive_model_holds(steps in prop::collection::vec(step(), 1..150)) {
            const LIMIT: usize = 1500;
            let key = |number: u8| Topic::new(&format!("k{number}")).unwrap();
            let mut now = Instant::now();
            let mut shelf = Shelf::default();
            let mut model: Vec<(u8, Bytes, u64, Instant)> = Vec::new();
            let mut newest = 0;
            for (number, step) in steps.into_iter().enumerate() {
                let present = |which: u8, model: &[(u8, Bytes, u64, Instant)]| model.iter().position(|(key, ..)| *key == which);
                match step {
                    Step::Put(which, how, size, seconds) => {
                        let at = present(which, &model);
                        let revision = match how {
                            0 => None,
                            1 => Some(newest + 1),
                            _ => at.map(|at| model[at].2),
                        };
                        let value = Bytes::from(vec![u8::try_from(number % 256).unwrap(); size]);
                        let until = expiry(now, Duration::from_secs(seconds));
                        let outcome = shelf.put(&key(which), value.clone(), revision, until, LIMIT);
                        if at.map(|at| model[at].2) != revision {
                            prop_assert_eq!(outcome, Err(PutError::Conflict));
                        } else {
                            let total = |model: &[(u8, Bytes, u64, Instant)]| -> usize { model.iter().map(|(which, value, ..)| cost(&key(*which), value)).sum() };
                            let mut changed = model.clone();
                            changed.retain(|(key, ..)| *key != which);
                            changed.push((which, value, newest + 1, until));
                            if total(&changed) > LIMIT && total(&changed) > total(&model) {
                                prop_assert_eq!(outcome, Err(PutError::Full));
                            } else {
                                let revision = outcome.unwrap();
                                prop_assert!(revision > newest);
                                newest = revision;
                                model = changed;
                                model.last_mut().unwrap().2 = revision;
                            }
                        }
                    }
                    Step::Delete(which, right) => {
                        let at = present(which, &model).filter(|_| right);
                        prop_assert_eq!(shelf.delete(&key(which), at.map_or(newest + 1, |at| model[at].2)), at.is_some());
                        at.map(|at| model.remove(at));
                    }
                    Step::Wait(seconds) => now += Duration::from_secs(seconds),
                }
                shelf.expire(now);
                model.retain(|(.., until)| *until > now);
                for which in 0..5 {
                    let expected = present(which, &model).map(|at| Kept { value: model[at].1.clone(), revision: model[at].2 });
                    prop_assert_eq!(shelf.get(&key(which)), expected);
                }
                prop_assert_eq!((shelf.records(), shelf.kept.len()), (model.len(), shelf.expiring.len()));
                prop_assert_eq!(shelf.bytes(), model.iter().map(|(which, value, ..)| cost(&key(*which), value)).sum::<usize>());
            }
        }
    }
}
