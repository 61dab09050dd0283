//! The binary, once there is something to run.

fn main() {}
