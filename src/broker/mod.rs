//! The broker: what clients of `fanfare serve` may do, declared as rules.
//!
//! A rule says what an event that clients send does: it reaches everyone else, everyone, or a room; it joins or leaves a room; or it is
//! answered. With no rules the broker is closed: clients may connect to `/`, and nothing that they send goes anywhere.
//!
//! An event that asks for an ack is answered: `{"ok":true}`, or `{"ok":false,"error":"…"}` when its room is not allowed; by the action
//! `ack` with the event's own arguments.
//!
//! A namespace may ask for a token: a static key, or a JSON Web Token that one key has signed ([`Login`]). Who shows none, or another, is
//! answered with CONNECT_ERROR, whose `data` is `{"code":"token_missing"}` or another [code](Denial::code). Claims of the token may name the
//! user, which `{user}` in a rule's rooms stands for, and rooms that the client is in from the start. A token is looked at when a client
//! connects; that it expires later disconnects nobody.
//!
//! The rules stand on top of the public library API ([`crate::hub`]) like any application; they know neither transports nor the wire.
//! [`install`] turns them into handlers.

mod handlers;
mod login;
mod names;
mod rooms;
mod rules;

pub use handlers::install;
pub use login::{Algorithm, Denial, Flaw, Identity, Jwt, JwtKey, KeyError, Login, MAX_TOKEN, MIN_KEY, StaticKey, Token, TokenPlace};
pub use names::{EventName, MAX_NAME, NameError, NamespaceName};
pub use rooms::{Denied, MAX_ROOM, MAX_ROOMS, PatternError, RoomPattern, Rooms};
pub use rules::{Action, Delivery, Greeting, NamespaceRules, Rule, Rules};
