//! The broker: what clients of `fanfare serve` may do, declared as rules.
//!
//! A rule says what an event that clients send does: it reaches everyone else, everyone, or a room; it joins or leaves a room; or it is
//! answered. With no rules the broker is closed: clients may connect to `/`, and nothing that they send goes anywhere.
//!
//! An event that asks for an ack is answered: `{"ok":true}`, or `{"ok":false,"error":"…"}` when its room is not allowed; by the action
//! `ack` with the event's own arguments.
//!
//! The rules stand on top of the public library API ([`crate::hub`]) like any application; they know neither transports nor the wire.
//! [`install`] turns them into handlers.

mod handlers;
mod names;
mod rooms;
mod rules;

pub use handlers::install;
pub use names::{EventName, MAX_NAME, NameError, NamespaceName};
pub use rooms::{Denied, MAX_ROOM, MAX_ROOMS, PatternError, RoomPattern, Rooms};
pub use rules::{Action, Greeting, NamespaceRules, Rule, Rules};
