//! The server's side of the WebSocket protocol (RFC 6455), without I/O: a decoder of client frames and an encoder of server frames.
//!
//! The one extension is permessage-deflate (RFC 7692). Server frames are final and unmasked, and compressed without regard to what was sent
//! before, so that one encoded frame serves every recipient.

mod decoder;
mod deflate;
#[cfg(test)]
mod deflate_tests;
mod encoder;
mod mask;
#[cfg(test)]
mod tests;

pub use decoder::{Decoder, Message, Violation};
pub use deflate::{deflate_frames, negotiate};
pub use encoder::{MAX_HEADER, Opcode, accept_key, encode_header, header_len, is_valid_key};
