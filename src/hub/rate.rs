//! How many events a second a client may send into a namespace.
//!
//! A client that sends faster is read from more slowly: what it has sent is handled, and it is not read from again until as much time has
//! passed as its events are worth. One that keeps on for too long is cut off. Acks do not count, they are asked for; nor do CONNECT and
//! DISCONNECT, which are answered one by one.

use std::{
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

use super::bucket::Bucket;

/// How much may come at once: what comes in this time if it comes evenly.
const BURST: Duration = Duration::from_secs(1);

/// The shortest pause, so that a fast client is not paused for each event.
const PAUSE: Duration = Duration::from_millis(100);

/// The meters of one connection, one for each namespace into which it sends. A client that leaves a namespace and joins it again finds the
/// meter as it was.
#[derive(Debug)]
pub(super) struct Meters {
    /// What an event is worth.
    cost: Duration,
    /// How long a client may stay above its rate.
    patience: Duration,
    /// At most so many. Those that are back at rest are forgotten.
    most: usize,
    meters: Vec<(Arc<str>, Meter)>,
}

/// One socket's events.
#[derive(Debug, Clone, Copy)]
struct Meter {
    came: Bucket,
    /// Since when more comes than may, without having come to rest.
    over: Option<Instant>,
}

/// What becomes of a connection after an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// It is read on.
    Even,
    /// It is not read from until then.
    Fast(Instant),
    /// It has been too fast for too long.
    Relentless,
}

impl Meters {
    pub(super) fn new(rate: NonZeroU32, patience: Duration, most: usize) -> Self {
        Self {
            cost: BURST / rate.get(),
            patience,
            most,
            meters: Vec::new(),
        }
    }

    /// An event came.
    pub(super) fn event(&mut self, namespace: &str, now: Instant) -> Pace {
        let place = self.place(namespace, now);
        let Some((_, meter)) = self.meters.get_mut(place) else {
            return Pace::Even;
        };
        if meter.came.is_at_rest(now) {
            meter.over = None;
        }
        let (_, paid) = meter.came.spend(self.cost, now);
        if paid <= now + BURST {
            return Pace::Even;
        }
        let since = *meter.over.get_or_insert(now);
        if now >= since + self.patience {
            return Pace::Relentless;
        }
        // Then the next event is in time, or a few, if it is little time.
        Pace::Fast(paid + self.cost.max(PAUSE) - BURST)
    }

    /// Where the meter of a namespace stands.
    fn place(&mut self, namespace: &str, now: Instant) -> usize {
        if let Some(place) = self.meters.iter().position(|(name, _)| **name == *namespace) {
            return place;
        }
        self.meters.retain(|(_, meter)| !meter.came.is_at_rest(now));
        let full = self.meters.len() >= self.most;
        match self.meters.last_mut() {
            // Only who joins and leaves ever other namespaces comes here, and wins nothing by it.
            Some((name, _)) if full => *name = namespace.into(),
            _ => {
                let came = Bucket::new(now);
                self.meters.push((namespace.into(), Meter { came, over: None }));
            }
        }
        self.meters.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn meters(rate: u32) -> Meters {
        Meters::new(NonZeroU32::new(rate).unwrap(), PATIENCE, 2)
    }

    /// Sends as fast as it is read; gives when each event came, and whether the connection was cut off.
    fn flood(meters: &mut Meters, namespace: &str, begun: Instant, lasting: Duration) -> (Vec<Instant>, bool) {
        let (mut now, mut came) = (begun, Vec::new());
        while now < begun + lasting {
            came.push(now);
            match meters.event(namespace, now) {
                Pace::Even => {}
                Pace::Fast(until) => {
                    assert!(until > now);
                    now = until;
                }
                Pace::Relentless => return (came, true),
            }
        }
        (came, false)
    }

    #[test]
    fn a_second_s_worth_may_come_at_once_and_then_so_many_a_second() {
        for rate in [1, 3, 10, 1000] {
            let begun = Instant::now();
            let (came, cut) = flood(&mut meters(rate), "/", begun, Duration::from_secs(10));
            assert!(!cut);
            let rate = rate as usize;
            let at_once = came.iter().filter(|at| **at == begun).count();
            assert_eq!(at_once, rate + 1, "the one that is too many has been read already");
            assert!((10 * rate..=11 * rate + 2).contains(&came.len()), "{rate}: {}", came.len());
        }
    }

    #[test]
    fn who_never_falls_back_is_cut_off_and_who_does_is_not() {
        let begun = Instant::now();
        let (came, cut) = flood(&mut meters(10), "/", begun, Duration::from_secs(3600));
        assert!(cut);
        let lasted = *came.last().unwrap() - begun;
        assert!((PATIENCE..PATIENCE + Duration::from_secs(1)).contains(&lasted), "{lasted:?}");

        let mut bursts = meters(10);
        for round in 0..1000 {
            let (_, cut) = flood(
                &mut bursts,
                "/",
                begun + Duration::from_secs(32 * round),
                PATIENCE - Duration::from_secs(1),
            );
            assert!(!cut, "round {round}");
        }
    }

    #[test]
    fn namespaces_have_their_own_meters_and_leaving_one_does_not_reset_it() {
        let mut meters = meters(10);
        let now = Instant::now();
        let burst = |meters: &mut Meters, name: &str| (0..).take_while(|_| meters.event(name, now) == Pace::Even).count();
        assert_eq!(burst(&mut meters, "/a"), 10);
        assert_eq!(burst(&mut meters, "/b"), 10);
        assert_eq!(burst(&mut meters, "/a"), 0);
        for other in 0..100 {
            assert_eq!(burst(&mut meters, &format!("/{other}")), 0, "there are no further meters");
        }
        assert_eq!(meters.meters.len(), 2);
        assert_eq!(meters.event("/c", now + 100 * BURST), Pace::Even);
        assert_eq!(meters.meters.len(), 1, "those at rest are forgotten");
    }

    proptest! {
        /// Whatever a client does within its pauses: in no stretch of time comes more than that time is worth, a burst and one.
        #[test]
        fn no_stretch_of_time_has_more_events_than_it_is_worth(rate in 1..50_u32, waits in prop::collection::vec(0..2000_u64, 1..200)) {
            let mut meters = meters(rate);
            let (mut now, mut came) = (Instant::now(), Vec::new());
            for wait in waits {
                now += Duration::from_millis(wait / 10 * (wait % 3));
                came.push(now);
                match meters.event("/", now) {
                    Pace::Even => {}
                    Pace::Fast(until) => now = until,
                    Pace::Relentless => break,
                }
            }
            for (first, begun) in came.iter().enumerate() {
                for (last, ended) in came.iter().enumerate().skip(first) {
                    let worth = (*ended - *begun + BURST).as_secs_f64() * f64::from(rate) + 1.001;
                    prop_assert!((last - first + 1) as f64 <= worth, "{} events in {:?}", last - first + 1, *ended - *begun);
                }
            }
        }
    }
}
