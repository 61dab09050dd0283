//! Long events are compressed before the shards of their recipients are locked.

use super::Core;
use crate::{
    engine::Handle,
    hub::{EmitFlags, Target, shared::lock},
    protocol::socketio::Payload,
};

/// From how many bytes on. What is shorter is compressed in some 100 us, when the first recipient is met that takes it so.
const LONG: usize = 16 << 10;

impl Core {
    /// A session that gets an event compressed, if it is a long one: who emits has the message [compressed](Handle::deflate) for it, so that
    /// nobody who joins, leaves, or emits waits for a lock meanwhile.
    pub(super) fn deflating(&self, target: &Target, payload: &Payload, flags: EmitFlags) -> Option<Handle> {
        if payload.size() < LONG || !flags.compress {
            return None;
        }
        self.shards().iter().find_map(|shard| {
            let mut found = None;
            lock(shard).select(&target.rooms, &target.except, |_, member| {
                if found.is_none() && member.handle.deflates() {
                    found = Some(member.handle.clone());
                }
            });
            found
        })
    }
}
