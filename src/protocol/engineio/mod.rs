//! The Engine.IO protocol, revisions 4 and 3: packets, polling payloads, and what is said in the handshake.

pub mod handshake;
pub mod jsonp;
mod packet;
pub mod payload;
#[cfg(test)]
mod tests;

pub use handshake::Revision;
pub use packet::{Packet, PacketError, decode_binary, decode_text, encode_base64};
