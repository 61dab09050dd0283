//! What a run with rooms finds, for people and as JSON.

use std::fmt;

use serde::Serialize;

use crate::{fanout::Deliveries, report::Findings};

/// Messages published into rooms, and their deliveries.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct RoomDeliveries {
    /// Rooms, to which the connections were dealt.
    pub(crate) rooms: usize,
    /// Deliveries to who is not in the room.
    pub(crate) stray: u64,
    /// Messages that were due and that nobody sent: their publisher had no session, or the server took nothing from it. They count as
    /// overrun, too.
    pub(crate) unsent: u64,
    /// What a fan-out finds as well.
    #[serde(flatten)]
    pub(crate) of: Deliveries,
}

impl Findings for RoomDeliveries {
    const SCENARIO: &'static str = "rooms";
    const EACH: &'static str = Deliveries::EACH;
    const STAYS: bool = Deliveries::STAYS;

    fn count(&self) -> u64 {
        self.of.count()
    }

    fn flawed(&self) -> bool {
        self.of.flawed() || self.stray + self.unsent > 0
    }

    fn overrun(&self) -> Option<(u64, u64)> {
        self.of.overrun()
    }
}

impl fmt::Display for RoomDeliveries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rooms, stray, unsent, of } = self;
        write!(f, "rooms          {rooms}\n{of}stray          {stray}\n")?;
        if *unsent > 0 {
            writeln!(f, "unsent         {unsent}")?;
        }
        Ok(())
    }
}
