//! The server's side of the WebSocket protocol (RFC 6455), without I/O: a decoder of client frames and an encoder of server frames.
//!
//! No extension is negotiated. Server frames are final and unmasked, so that one encoded frame serves every recipient.

mod decoder;
mod encoder;
mod mask;
#[cfg(test)]
mod tests;

pub use decoder::{Decoder, Message, Violation};
pub use encoder::{MAX_HEADER, Opcode, accept_key, encode_header, header_len, is_valid_key};
