//! A session under any list of operations, by the driver of the fuzz target: a few hundred lists each time, and those that once failed.

use arbitrary::{Arbitrary as _, Unstructured};
use proptest::{collection::vec, prelude::*};

#[path = "../fuzz/session/mod.rs"]
mod driver;

use self::driver::{Script, run};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn nothing_is_lost_repeated_or_reordered_and_the_end_is_the_end(bytes in vec(any::<u8>(), 0..700)) {
        let script = Script::arbitrary(&mut Unstructured::new(&bytes)).unwrap();
        run(&script);
    }
}
