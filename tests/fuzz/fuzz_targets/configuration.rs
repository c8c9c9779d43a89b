//! Anything as the configuration. Must neither panic nor hang.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = tink_sync::config::read(Path::new("/tink-sync.toml"), text);
});
