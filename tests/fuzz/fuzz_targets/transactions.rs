//! Anything as a page of transactions. Must neither panic nor hang, and let no inexact amount in.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tink_sync::tink::hostile::AnswerKind;

fuzz_target!(|bytes: &[u8]| AnswerKind::Transactions.challenge(bytes));
