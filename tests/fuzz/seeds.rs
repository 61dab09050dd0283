//! Where a target begins: the table of inputs, in the form that it reads.

use std::{env, fs, path::Path};

/// Writes the seeds into the first folder that the fuzzer was given, its corpus; called before the fuzzer looks there.
pub fn plant(seeds: impl IntoIterator<Item = Vec<u8>>) {
    let arguments = env::args().skip(1);
    let Some(corpus) = arguments.into_iter().find(|word| Path::new(word).is_dir()) else {
        return;
    };
    for (number, seed) in seeds.into_iter().enumerate() {
        fs::write(Path::new(&corpus).join(format!("seed-{number}")), seed).expect("the corpus can be written");
    }
}

/// A frame of a client, masked with zeros.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match u8::try_from(payload.len()) {
        Ok(length @ 0..=125) => frame.push(0x80 | length),
        _ => {
            frame.push(0xfe);
            frame.extend(u16::try_from(payload.len()).expect("short seeds").to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}
