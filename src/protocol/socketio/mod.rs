//! The Socket.IO protocol, version 5: packets, their text form, binary attachments, and typed values.

pub mod assembler;
mod json;
mod packet;
#[cfg(test)]
mod tests;
pub mod text;
pub mod value;

pub use assembler::{Assembled, Assembler};
pub use packet::{DecodeError, Kind, Limits, Packet, RESERVED_EVENTS, is_reserved};
pub use text::event_name;
pub use value::{ArgumentError, Arguments, Attachments, EncodeError, Payload};
