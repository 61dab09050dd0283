//! What a run has seen, as plain values.

use std::collections::BTreeMap;

/// The rooms that there are. The last two share a topic, so that a node hears of either what is meant for the other.
pub(super) const ROOMS: [&str; 3] = ["lobby", "room-34", "room-131"];

/// One start of a node, from 0 in the order of starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Life(pub(super) u32);

/// One connection of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Client(pub(super) u32);

/// Whom an event is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Audience {
    Everyone,
    /// The place of the room among [`ROOMS`].
    Room(u8),
}

impl Audience {
    pub(super) const ALL: [Self; 4] = [Self::Everyone, Self::Room(0), Self::Room(1), Self::Room(2)];

    /// Where nodes carry it: audiences of one topic are numbered together.
    pub(super) fn topic(self) -> u8 {
        match self {
            Self::Everyone => 0,
            Self::Room(0) => 1,
            Self::Room(_) => 2,
        }
    }
}

/// An event of the speaker of a life. They are numbered from 0, whomever they are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Event {
    pub(super) from: Life,
    pub(super) number: u64,
    pub(super) audience: Audience,
}

/// What a client is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// In all rooms, and never cut while its node lives.
    Witness,
    /// Sends the events of its node's life; in no room.
    Speaker,
    /// In some rooms, and cut from time to time.
    Listener,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    /// A client is about to connect to a node, and to join these rooms.
    Connected {
        client: Client,
        at: Life,
        role: Role,
        rooms: Vec<u8>,
    },
    /// A speaker is about to send this.
    Sent(Event),
    /// A speaker was told that its node has dealt with this many of its events.
    Dealt { from: Life, count: u64 },
    /// A client was delivered this.
    Got { client: Client, event: Event },
    /// The node of this life is killed.
    Killed(Life),
    /// Nothing is under way: every speaker is silent, and what it sent last to each audience has reached every witness. These are the hole
    /// counters of the nodes that live.
    Settled { holes: BTreeMap<Life, u64> },
}
