//! A session under a list of operations. What must hold stands in the driver.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../session/mod.rs"]
mod driver;

fuzz_target!(|script: driver::Script| driver::run(&script));
