//! Anything as a row of the source view. Must neither panic nor pass on what is unusable, nor keep a token unsealed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tink_sync::store::source::hostile;

fuzz_target!(|bytes: &[u8]| hostile::challenge(bytes));
