//! The Socket.IO protocol, version 5: packets, the parsers that carry them, binary attachments, and typed values.

pub mod assembler;
mod json;
mod json_parser;
pub mod msgpack;
mod packet;
mod parser;
mod placeholder;
#[cfg(test)]
mod tests;
pub mod text;
pub mod value;

pub use assembler::{Assembled, Assembler};
pub use json_parser::JsonParser;
pub use msgpack::MsgpackParser;
pub use packet::{DecodeError, Kind, Limits, Packet, RESERVED_EVENTS, is_reserved};
pub use parser::{Decoded, Encoded, Message, Parser, Pending, Unencodable};
pub use text::event_name;
pub use value::{ArgumentError, Arguments, Attachments, Date, EncodeError, Encoding, NotADate, Payload};
