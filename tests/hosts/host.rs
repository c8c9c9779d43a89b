//! The hosts: each runs one pass after the other, now and then one connection on demand, and writes down how each run ended.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::bank::{Bank, CONNECTIONS};
use crate::lab::Lab;

/// How runs may end: with all well, with connections that failed or need their user, without Tink, or without the store.
const FAIR: [i32; 5] = [0, 10, 11, 69, 75];

/// How the runs of a host ended.
#[derive(Debug, Default)]
pub struct Ended {
    /// By exit code; those that were killed have none.
    pub codes: BTreeMap<Option<i32>, u64>,
    /// What those said that ended in a way that they may not.
    pub foul: Vec<String>,
}

/// What a host is doing.
#[derive(Debug, Default)]
struct Work {
    process: Option<u32>,
    ended: Ended,
}

pub struct Hosts {
    works: Vec<Arc<Mutex<Work>>>,
    stop: Arc<AtomicBool>,
}

fn lock(work: &Mutex<Work>) -> MutexGuard<'_, Work> {
    work.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hosts {
    /// Puts them to work; `scope` ends when they have.
    pub fn start<'s>(
        scope: &'s std::thread::Scope<'s, '_>,
        lab: &'s Lab,
        bank: &'s Bank,
        hosts: usize,
        seed: u64,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let works: Vec<Arc<Mutex<Work>>> = (0..hosts).map(|_| Arc::default()).collect();
        for (host, work) in works.iter().enumerate() {
            let (work, stop) = (Arc::clone(work), Arc::clone(&stop));
            let mut rng = Rng::with_seed(seed.wrapping_add(host as u64));
            scope.spawn(move || {
                while !stop.load(Relaxed) {
                    once(lab, bank, host, &work, &mut rng);
                    std::thread::sleep(Duration::from_millis(rng.u64(20..300)));
                }
            });
        }
        Self { works, stop }
    }

    /// Sends a signal to the run that is at work on a host; says whether there was one.
    pub fn signal(&self, host: usize, signal: Signal) -> bool {
        let work = lock(&self.works[host]);
        let id = work.process.map(|id| Pid::from_raw(i32::try_from(id).unwrap()));
        id.is_some_and(|id| kill(id, signal).is_ok())
    }

    /// Waits until all runs have ended; returns how.
    pub fn ended_at_last(&self) -> Ended {
        self.stop.store(true, Relaxed);
        while Arc::strong_count(&self.stop) > 1 {
            std::thread::sleep(Duration::from_millis(20));
        }
        let mut all = Ended::default();
        for work in &self.works {
            let ended = std::mem::take(&mut lock(work).ended);
            ended.codes.into_iter().for_each(|(code, number)| *all.codes.entry(code).or_default() += number);
            all.foul.extend(ended.foul);
        }
        all
    }
}

/// Lets the hosts end when the storm panics.
pub struct StopOnDrop<'h>(pub &'h Hosts);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Relaxed);
        if std::thread::panicking() {
            (0..self.0.works.len()).for_each(|host| {
                self.0.signal(host, Signal::SIGKILL);
            });
        }
    }
}

/// One run.
fn once(lab: &Lab, bank: &Bank, host: usize, work: &Mutex<Work>, rng: &mut Rng) {
    let connection = format!("c-{}", rng.u32(..CONNECTIONS));
    let args: &[&str] = match rng.u32(..10) {
        0 => &["--connection", &connection],
        1..=4 => &[],
        _ => &["--force"],
    };
    let mut command = bank.command(lab, host, args);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    lock(work).process = Some(child.id());
    let output = child.wait_with_output().unwrap();
    let mut work = lock(work);
    work.process = None;
    let code = output.status.code();
    *work.ended.codes.entry(code).or_default() += 1;
    if !is_fair(output.status) {
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let last = out.lines().next_back().unwrap_or_default();
        work.ended.foul.push(format!("{} on host {host}: {last}\n{err}", output.status));
    }
}

fn is_fair(status: ExitStatus) -> bool {
    status.code().map_or(status.signal() == Some(9), |code| FAIR.contains(&code))
}
