//! Masking of client frames (RFC 6455, section 5.3).

/// Applies a mask in place, eight bytes at a time. `offset` is how many bytes of the frame's payload have been masked before.
///
/// Masking twice gives the original.
pub(super) fn apply(mask: [u8; 4], offset: usize, data: &mut [u8]) {
    let mut mask = mask;
    mask.rotate_left(offset % 4);
    let [a, b, c, d] = mask;
    let word = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = data.as_chunks_mut::<8>();
    for chunk in words {
        *chunk = (u64::from_ne_bytes(*chunk) ^ word).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= mask;
    }
}
