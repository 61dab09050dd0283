//! Holds a history against the promises: nothing repeated, order kept, nothing for others, and the receivers' hole counters are what is
//! missing. A plain value: it is given one entry after the other, and says what is wrong with the first one that is.
//!
//! What is missing is told at each [`Entry::Settled`], of each node that lived through the whole round before it, by its witness:
//!
//! - Of an origin that lives: whatever its speaker has sent since the settling before, and the witness has not got. Each origin's last
//!   event to each audience has arrived, so there is no tail of which the node could not know.
//! - Of an origin that was killed: what is missing before the last event of the same topic that the witness got. Of what came after it
//!   nobody can know: the origin took its numbers with it. (That is exact where the origin's path was in order, and so broken off at one
//!   place: rounds that kill do nothing else to the paths of others.)
//! - Of an origin that is new: what is missing after the first event of a topic that the witness got. That is the receiver's baseline; or
//!   its baseline is a heartbeat that says that there was nothing, which is the same as long as a new origin does not speak before all
//!   know it.
//! - Of the own node: nothing. What is emitted on a node reaches its own clients, whatever became of the backend.
//!
//! A node that has begun since the settling before has no baseline before this one; what it counted so far is where it starts from. A node
//! that was killed takes its last counts with it: what it missed since the settling before is not compared.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::history::{Audience, Client, Entry, Event, Life, Role};

/// What is wrong with a history.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Wrong {
    #[error("{0:?} was delivered {1:?} again")]
    Repeated(Client, Event),
    #[error("{client:?} was delivered {event:?} after number {after} of the same speaker")]
    Disordered { client: Client, event: Event, after: u64 },
    #[error("{0:?} was delivered {1:?}, which is not for its rooms")]
    Leaked(Client, Event),
    #[error("{0:?} was delivered {1:?}, which nobody has sent so")]
    Invented(Client, Event),
    #[error("{client:?} was not delivered {missing} events of its own node, {at:?}")]
    Withheld { client: Client, at: Life, missing: u64 },
    #[error("the node of {at:?} has counted {counted} holes, and its witness misses {missing:?}")]
    Miscounted {
        at: Life,
        counted: u64,
        /// By origin.
        missing: BTreeMap<Life, u64>,
    },
    #[error("the history is not one of a run: {0}")]
    Malformed(String),
}

/// What was found so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Figures {
    pub(super) settlings: u64,
    pub(super) sent: u64,
    pub(super) deliveries: u64,
    /// What witnesses have missed of other nodes, and what their nodes have counted.
    pub(super) missing: u64,
    pub(super) counted: u64,
    /// What was sent to nodes that were killed then, and reached no other node of that round: it may never have been dealt with.
    pub(super) unknown: u64,
}

/// What is known so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Checker {
    lives: BTreeMap<Life, Speech>,
    clients: HashMap<Client, Hearer>,
    witnesses: BTreeMap<Life, Client>,
    /// The hole counters at the last settling.
    base: BTreeMap<Life, u64>,
    figures: Figures,
}

/// What the speaker of a life has sent.
#[derive(Debug, Clone, Default)]
struct Speech {
    /// Since the last settling.
    sent: BTreeMap<u64, Audience>,
    total: u64,
    dealt: u64,
    killed: bool,
}

#[derive(Debug, Clone)]
struct Hearer {
    at: Life,
    rooms: Vec<u8>,
    heard: BTreeMap<Life, Heard>,
}

/// What a client was delivered of one speaker.
#[derive(Debug, Clone, Default)]
struct Heard {
    last: Option<u64>,
    /// Since the last settling.
    got: BTreeSet<u64>,
    /// Both nodes have lived through a settling.
    settled: bool,
}

impl Checker {
    /// Checks a whole history.
    pub(super) fn check<'a>(history: impl IntoIterator<Item = &'a Entry>) -> Result<Figures, Wrong> {
        let mut checker = Self::default();
        history.into_iter().try_for_each(|entry| checker.take(entry))?;
        Ok(checker.figures)
    }

    /// Takes the next entry.
    pub(super) fn take(&mut self, entry: &Entry) -> Result<(), Wrong> {
        match entry {
            Entry::Connected { client, at, role, rooms } => {
                if *role == Role::Witness {
                    self.witnesses.insert(*at, *client);
                }
                if *role == Role::Speaker {
                    self.lives.insert(*at, Speech::default());
                }
                let (at, rooms, heard) = (*at, rooms.clone(), BTreeMap::new());
                self.clients.insert(*client, Hearer { at, rooms, heard });
                Ok(())
            }
            Entry::Sent(event) => self.sent(*event),
            Entry::Dealt { from, count } => {
                self.speech(*from)?.dealt = *count;
                Ok(())
            }
            Entry::Got { client, event } => self.got(*client, *event),
            Entry::Killed(life) => {
                if let Some(speech) = self.lives.get_mut(life) {
                    speech.killed = true;
                }
                self.base.remove(life);
                self.witnesses.remove(life);
                Ok(())
            }
            Entry::Settled { holes } => self.settled(holes),
        }
    }

    pub(super) fn figures(&self) -> Figures {
        self.figures
    }

    /// What the witness of a life misses now of each other life, if the node lived through the last settling.
    pub(super) fn missing(&self, at: Life) -> Option<BTreeMap<Life, u64>> {
        self.base.get(&at)?;
        let hearer = self.clients.get(self.witnesses.get(&at)?)?;
        let others = self.lives.iter().filter(|(from, _)| **from != at);
        let missing = others.map(|(from, speech)| (*from, hearer.missing(*from, speech)));
        Some(missing.filter(|(_, missing)| *missing > 0).collect())
    }

    /// The hole counter of a life at the last settling.
    pub(super) fn base(&self, at: Life) -> Option<u64> {
        self.base.get(&at).copied()
    }

    /// Who of these lives has not got what the speaker of `from` sent last to each audience.
    pub(super) fn lacking<'a>(&'a self, from: Life, lives: &'a [Life]) -> impl Iterator<Item = Life> + 'a {
        let lacks = move |at: &Life| {
            let hearer = self.witnesses.get(at).and_then(|client| self.clients.get(client));
            let speech = self.lives.get(&from);
            hearer.zip(speech).is_none_or(|(hearer, speech)| !hearer.has_the_last(from, speech))
        };
        lives.iter().copied().filter(lacks)
    }

    fn speech(&mut self, life: Life) -> Result<&mut Speech, Wrong> {
        self.lives
            .get_mut(&life)
            .ok_or_else(|| Wrong::Malformed(format!("no speaker of {life:?}")))
    }

    fn sent(&mut self, event: Event) -> Result<(), Wrong> {
        let speech = self.speech(event.from)?;
        if event.number != speech.total || speech.killed {
            return Err(Wrong::Malformed(format!("{event:?} after {} others", speech.total)));
        }
        speech.total += 1;
        speech.sent.insert(event.number, event.audience);
        self.figures.sent += 1;
        Ok(())
    }

    fn got(&mut self, client: Client, event: Event) -> Result<(), Wrong> {
        let unknown = || Wrong::Malformed(format!("{client:?} is not connected"));
        let hearer = self.clients.get_mut(&client).ok_or_else(unknown)?;
        let was_sent = self.lives.get(&event.from).and_then(|speech| speech.sent.get(&event.number));
        let heard = hearer.heard.entry(event.from).or_default();
        if heard.got.contains(&event.number) {
            return Err(Wrong::Repeated(client, event));
        }
        if let Some(after) = heard.last.filter(|last| event.number <= *last) {
            return Err(Wrong::Disordered { client, event, after });
        }
        if was_sent != Some(&event.audience) {
            return Err(Wrong::Invented(client, event));
        }
        if let Audience::Room(room) = event.audience
            && !hearer.rooms.contains(&room)
        {
            return Err(Wrong::Leaked(client, event));
        }
        heard.last = Some(event.number);
        heard.got.insert(event.number);
        self.figures.deliveries += 1;
        Ok(())
    }

    fn settled(&mut self, holes: &BTreeMap<Life, u64>) -> Result<(), Wrong> {
        for (at, count) in holes {
            self.compare(*at, *count)?;
        }
        for (from, speech) in &mut self.lives {
            if !speech.killed && (!holes.contains_key(from) || speech.dealt != speech.total) {
                return Err(Wrong::Malformed(format!("{from:?} has not settled")));
            }
            if speech.killed {
                let got = |number: &u64| self.clients.values().any(|hearer| hearer.has(*from, *number));
                self.figures.unknown += speech.sent.keys().rev().take_while(|number| !got(number)).count() as u64;
            }
            speech.sent.clear();
        }
        let lives: BTreeSet<Life> = holes.keys().copied().collect();
        for hearer in self.clients.values_mut() {
            for life in &lives {
                hearer.heard.entry(*life).or_default().settled = true;
            }
            hearer.heard.values_mut().for_each(|heard| heard.got.clear());
        }
        self.base.clone_from(holes);
        self.figures.settlings += 1;
        Ok(())
    }

    /// Compares what a node has counted since the last settling with what its witness misses.
    fn compare(&mut self, at: Life, count: u64) -> Result<(), Wrong> {
        let malformed = |what: &str| Wrong::Malformed(format!("{at:?} {what}"));
        let client = *self.witnesses.get(&at).ok_or_else(|| malformed("has no witness"))?;
        let hearer = self.clients.get(&client).ok_or_else(|| malformed("has no witness"))?;
        for (from, speech) in self.lives.iter().filter(|(_, speech)| !speech.killed) {
            if !hearer.has_the_last(*from, speech) {
                return Err(malformed(&format!("has not got the last of {from:?}")));
            }
        }
        let own = self.lives.get(&at).map_or(0, |speech| hearer.missing(at, speech));
        if own > 0 {
            return Err(Wrong::Withheld { client, at, missing: own });
        }
        let Some((base, missing)) = self.base.get(&at).zip(self.missing(at)) else {
            return Ok(());
        };
        let (counted, sum) = (count.wrapping_sub(*base), missing.values().sum::<u64>());
        if counted != sum {
            return Err(Wrong::Miscounted { at, counted, missing });
        }
        self.figures.missing += sum;
        self.figures.counted += counted;
        Ok(())
    }
}

impl Hearer {
    fn has(&self, from: Life, number: u64) -> bool {
        self.heard.get(&from).is_some_and(|heard| heard.got.contains(&number))
    }

    /// Whether it has got what was sent last to each audience since the last settling.
    fn has_the_last(&self, from: Life, speech: &Speech) -> bool {
        let last: BTreeMap<_, _> = speech.sent.iter().map(|(number, audience)| (audience, *number)).collect();
        last.into_values().all(|number| self.has(from, number))
    }

    /// How much this witness misses that its node can know of, of what was sent since the last settling.
    fn missing(&self, from: Life, speech: &Speech) -> u64 {
        let none = Heard::default();
        let heard = self.heard.get(&from).unwrap_or(&none);
        let has = |number: &u64| heard.got.contains(number);
        let mut ends = [None::<(u64, u64)>; 3];
        for (number, audience) in speech.sent.iter().filter(|(number, _)| has(number)) {
            let (_, last) = ends[usize::from(audience.topic())].get_or_insert((*number, *number));
            *last = *number;
        }
        let is_between = |(number, audience): &(&u64, &Audience)| {
            let ends = ends[usize::from(audience.topic())];
            let begun = heard.settled || self.at == from || ends.is_some_and(|(first, _)| first <= **number);
            let ended = speech.killed && ends.is_none_or(|(_, last)| last < **number);
            begun && !ended
        };
        let missing = speech.sent.iter().filter(|(number, _)| !has(number));
        missing.filter(is_between).count() as u64
    }
}

#[cfg(test)]
#[path = "checker_tests.rs"]
mod tests;
