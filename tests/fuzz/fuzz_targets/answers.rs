//! Anything as an answer of Tink's: the first byte says which. Must neither panic nor hang.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tink_sync::tink::hostile::Answer;

fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else { return };
    let answer = Answer::ALL[usize::from(*first) % Answer::ALL.len()];
    let _ = answer.read(rest);
});
