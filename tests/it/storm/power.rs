//! Power cuts: of what a pass wrote only a part reached the disk. SQLite writes its log in order and waits for the
//! disk at each commit, so a cut leaves the log up to any byte; a cut while the log is put away leaves any of its
//! pages in the file. Whatever is left, the store is whole, and the next pass makes it exact.

use std::fs;
use std::path::PathBuf;

use fastrand::Rng;
use tink_sync::clock::{Clock as _, SystemClock};

use super::bank::Bank;
use super::proof::{Proof, Reader};
use super::say;
use crate::harness::World;
use crate::stored::only_on_sqlite;

/// Bytes before the first frame of a log, and before the page of each.
const HEADER: usize = 32;
const FRAME: usize = 24;

/// The file as a pass found it, and all it wrote.
struct Recorded {
    file: Vec<u8>,
    log: Vec<u8>,
    page: usize,
}

impl Recorded {
    /// Lets a pass run while somebody reads the store as it was, so that the log is not put away.
    fn pass(bank: &Bank) -> Self {
        let path = bank.world.path("store.db");
        let file = fs::read(&path).unwrap();
        let _reader = bank.world.reading();
        bank.world.run(&[]).expect(bank.code());
        let log = fs::read(bank.world.path("store.db-wal")).unwrap();
        assert!(fs::read(&path).unwrap() == file, "the log was put away");
        let page = usize::try_from(number(&log, 8)).unwrap();
        Self { file, log, page }
    }

    fn frames(&self) -> usize {
        (self.log.len() - HEADER) / (FRAME + self.page)
    }

    /// Where the nth frame ends.
    fn end(&self, frame: usize) -> usize {
        HEADER + frame * (FRAME + self.page)
    }

    /// The pages of the file at the end of a transaction; `None` within one.
    fn committed(&self, frame: usize) -> bool {
        frame > 0 && number(&self.log, self.end(frame - 1) + 4) > 0
    }

    /// The file after this many pages of the log, chosen by chance, were put into it.
    fn half_put_away(&self, rng: &mut Rng) -> Vec<u8> {
        let mut file = self.file.clone();
        let last = (1..=self.frames()).rev().find(|frame| self.committed(*frame)).unwrap();
        for frame in 0..last {
            let start = self.end(frame);
            let place = (usize::try_from(number(&self.log, start)).unwrap() - 1) * self.page;
            if rng.bool() {
                file.resize(file.len().max(place + self.page), 0);
                let page = &self.log[start + FRAME..start + FRAME + self.page];
                file[place..place + self.page].copy_from_slice(page);
            }
        }
        file
    }
}

/// The four bytes at a place, as a number.
fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// Puts the store into a state.
fn lay(world: &World, file: &[u8], log: &[u8]) {
    let beside = |suffix: &str| -> PathBuf { world.path(&format!("store.db{suffix}")) };
    let _ = fs::remove_file(beside("-shm"));
    fs::write(beside(""), file).unwrap();
    fs::write(beside("-wal"), log).unwrap();
    let _ = fs::remove_dir_all(world.path("spool"));
}

/// A day of a bank whose pass is cut off at every frame of its log and within each, and then made good.
fn cut_everywhere(bank: &Bank, rng: &mut Rng) -> usize {
    let (world, proof) = (&bank.world, Proof::of(bank));
    let recorded = Recorded::pass(bank);
    let mut cuts = 0;
    let mut check = |file: &[u8], log: &[u8]| {
        lay(world, file, log);
        proof.check(world, &mut Reader::default());
        cuts += 1;
    };
    let healed = |what: &str| {
        let ran = world.run(&[]).expect(bank.code());
        assert_eq!(ran.skipped("leased") + ran.skipped("not_before") + ran.skipped("quota"), 0, "{what}");
        world.assert_all_exact();
        assert_eq!(world.number("SELECT count(*) FROM runs_v1 WHERE finished_at IS NULL"), 0, "{what}");
    };
    for frame in 0..=recorded.frames() {
        let end = recorded.end(frame);
        if frame == 0 || recorded.committed(frame) {
            check(&recorded.file, &recorded.log[..end]);
            if rng.u8(..4) == 0 {
                healed(&format!("a cut after frame {frame} of {}", recorded.frames()));
            }
        }
        if frame < recorded.frames() {
            // Some of the frame, or all of it with a part that never came.
            let within = rng.usize(1..FRAME + recorded.page);
            let mut log = recorded.log[..recorded.end(frame + 1)].to_vec();
            log[end + within..].fill(0);
            check(&recorded.file, if rng.bool() { &log } else { &log[..end + within] });
        }
    }
    for _ in 0..8 {
        check(&recorded.half_put_away(rng), &recorded.log);
    }
    healed("a cut while the log was put away");
    cuts
}

/// The day of a bank on which every pass is cut off; those before it go well.
fn day_of_cuts(seed: u64, day: u32) {
    let (mut rng, mut bank) = (Rng::with_seed(seed), Bank::new(seed));
    // The first pass of all finds an empty store.
    let store = bank.world.place.open(SystemClock.now());
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(store.close());
    while bank.day < day {
        bank.world.run(&[]).expect(bank.code());
        bank.next_day();
    }
    let cuts = cut_everywhere(&bank, &mut rng);
    say(&format!("day {day}: {cuts} power cuts"));
    assert!(cuts > 100, "{cuts} cuts");
}

#[test]
fn a_power_cut_at_any_byte_of_the_log_leaves_a_store_that_the_next_pass_makes_exact() {
    only_on_sqlite!("power cuts are made of its log");
    day_of_cuts(10, 0);
}

#[test]
fn so_does_one_on_the_day_of_a_re_consent() {
    only_on_sqlite!("power cuts are made of its log");
    day_of_cuts(11, 2);
}
