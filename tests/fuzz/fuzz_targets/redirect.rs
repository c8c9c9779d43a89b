//! Anything as what a browser brings back from Tink Link. Must neither panic nor be believed without its state.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|query: &str| tink_sync::challenge_redirect(query));
