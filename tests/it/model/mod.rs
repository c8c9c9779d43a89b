//! A model of the truth: thousands of made-up histories of a bank, played against the real program, with the few
//! lines that say what must be true at their end. A history that goes wrong is made as small as it can be and told in
//! words, with the seed that makes it again.
//!
//! `TINK_SYNC_MODEL_SEED` and `TINK_SYNC_MODEL_HISTORIES` choose other ones, and how many.

mod bank;
mod drift;
mod history;
mod play;
pub mod reader;
mod year;

use proptest::strategy::{Strategy as _, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use history::{History, histories, hours};
use play::play;

/// Histories that are played in one lab.
const AT_ONCE: usize = 100;

#[expect(clippy::disallowed_methods, reason = "a test's own settings")]
fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

fn runner(seed: u64) -> TestRunner {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

/// The smallest history that goes wrong as well, and how.
fn smallest(tree: &mut impl ValueTree<Value = History>, mut wrong: String) -> (History, String) {
    let mut small = tree.current();
    let mut left = 600;
    while left > 0 && tree.simplify() {
        loop {
            left -= 1;
            let history = tree.current();
            match play(std::slice::from_ref(&history)).pop().flatten() {
                Some(also) => {
                    (small, wrong) = (history, also);
                    break;
                }
                None if left > 0 && tree.complicate() => {}
                None => return (small, wrong),
            }
        }
    }
    (small, wrong)
}

#[test]
fn the_store_is_what_the_bank_has() {
    let first = number("TINK_SYNC_MODEL_SEED", 1);
    let count = number("TINK_SYNC_MODEL_HISTORIES", 300).div_ceil(AT_ONCE as u64);
    for seed in first..first + count {
        let mut runner = runner(seed);
        let strategy = histories(hours().new_tree(&mut runner).unwrap().current());
        let mut trees: Vec<_> = (0..AT_ONCE).map(|_| strategy.new_tree(&mut runner).unwrap()).collect();
        let made: Vec<History> = trees.iter().map(ValueTree::current).collect();
        let wrong = play(&made);
        let count = wrong.iter().flatten().count();
        let Some((n, first)) = wrong.into_iter().enumerate().find_map(|(n, wrong)| Some((n, wrong?))) else {
            continue;
        };
        let (small, wrong) = smallest(&mut trees[n], first);
        panic!(
            "TINK_SYNC_MODEL_SEED={seed}: {count} of {AT_ONCE} histories went wrong; one of them:\n{small}{wrong}"
        );
    }
}
