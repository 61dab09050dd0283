//! The Engine.IO protocol, version 4: packets, polling payloads, and what is said in the handshake.

pub mod handshake;
mod packet;
pub mod payload;
#[cfg(test)]
mod tests;

pub use packet::{Packet, PacketError, decode_text};
