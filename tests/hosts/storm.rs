//! The faults: drawn by a seed, each for a while, several at a time. Judges nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use fastrand::Rng;
use nix::sys::signal::Signal;

use crate::Asked;
use crate::bank::Bank;
use crate::cluster::Cluster;
use crate::host::Hosts;
use crate::lab::Lab;

/// How long a lease lives in this test.
pub const LEASE: Duration = Duration::from_secs(6);
/// So often a day passes at the banks.
const DAY: Duration = Duration::from_secs(12);

/// What is done to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A run dies.
    Kill,
    /// A run stands still for longer than a lease lives, and goes on.
    Freeze,
    /// A run stands still for less.
    Pause,
    /// A host has no link, for longer than a lease lives or for less.
    Cut,
    /// Sessions end.
    Terminate,
    /// The server crashes.
    Restart,
    /// The primary is lost.
    Failover,
}

impl Fault {
    /// How often each is drawn.
    const ODDS: [(Self, u32); 7] = [
        (Self::Kill, 26),
        (Self::Freeze, 18),
        (Self::Pause, 10),
        (Self::Cut, 20),
        (Self::Terminate, 14),
        (Self::Restart, 6),
        (Self::Failover, 6),
    ];

    /// Whether a name on the command line means this one.
    fn is(self, name: &str) -> bool {
        format!("{self:?}").eq_ignore_ascii_case(name)
    }

    /// One of those with these names; of all if there are none.
    fn draw(rng: &mut Rng, only: &[String]) -> Self {
        let mut odds = Self::ODDS.to_vec();
        odds.retain(|(fault, _)| only.is_empty() || only.iter().any(|name| fault.is(name)));
        let mut left = rng.u32(..odds.iter().map(|(_, odds)| odds).sum::<u32>());
        for (fault, odds) in odds {
            if left < odds {
                return fault;
            }
            left -= odds;
        }
        Self::Kill
    }
}

/// What is the matter with a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    Frozen,
    Cut,
}

/// What was the matter with a host, and when.
#[derive(Clone, Copy, Debug)]
pub struct Past {
    pub host: usize,
    pub trouble: Trouble,
    pub from: Instant,
    /// From when on it was over, at the latest.
    pub until: Instant,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Figures(BTreeMap<Fault, u32>);

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} faults:", self.0.values().sum::<u32>())?;
        self.0.iter().try_for_each(|(fault, number)| write!(f, " {fault:?} {number}"))
    }
}

pub struct Storm<'a> {
    asked: &'a Asked,
    lab: &'a Lab,
    cluster: &'a Cluster,
    bank: &'a Bank,
    hosts: &'a Hosts,
    rng: Rng,
    /// Since and until when, by host.
    troubles: BTreeMap<usize, (Instant, Instant, Trouble)>,
    figures: Figures,
    past: Vec<Past>,
}

impl<'a> Storm<'a> {
    pub fn new(
        asked: &'a Asked,
        lab: &'a Lab,
        cluster: &'a Cluster,
        bank: &'a Bank,
        hosts: &'a Hosts,
    ) -> Self {
        let rng = Rng::with_seed(asked.seed);
        let (troubles, figures, past) = (BTreeMap::new(), Figures::default(), Vec::new());
        Self { asked, lab, cluster, bank, hosts, rng, troubles, figures, past }
    }

    /// Does as many faults as were asked for, as long as there is time; returns also what was the matter with hosts.
    pub fn rage(mut self, began: Instant) -> (Figures, Vec<Past>) {
        let mut day = Instant::now();
        while self.figures.0.values().sum::<u32>() < self.asked.faults && began.elapsed() < self.asked.time {
            self.mend(Instant::now());
            if day.elapsed() > DAY {
                day = Instant::now();
                self.bank.next_day();
                self.bank.link_anew(self.cluster);
                Bank::forget_attempts(self.cluster);
            }
            let fault = Fault::draw(&mut self.rng, &self.asked.only);
            if self.strike(fault) {
                *self.figures.0.entry(fault).or_default() += 1;
            }
            let pause = Duration::from_millis(self.rng.u64(200..1800));
            let end = Instant::now() + pause;
            while Instant::now() < end {
                self.mend(Instant::now());
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        self.mend(Instant::now() + Duration::from_hours(1));
        (self.figures, self.past)
    }

    /// Ends the troubles whose time is over.
    fn mend(&mut self, now: Instant) {
        let over = self.troubles.extract_if(.., |_, (_, until, _)| *until <= now);
        for (host, (from, _, trouble)) in over.collect::<Vec<_>>() {
            match trouble {
                Trouble::Frozen => {
                    self.hosts.signal(host, Signal::SIGCONT);
                }
                Trouble::Cut => Lab::link(host, true),
            }
            self.past.push(Past { host, trouble, from, until: Instant::now() });
        }
    }

    /// Does it; says whether it could be done.
    fn strike(&mut self, fault: Fault) -> bool {
        match fault {
            Fault::Kill => self.free_host().is_some_and(|host| self.hosts.signal(host, Signal::SIGKILL)),
            Fault::Freeze => self.freeze(LEASE + Duration::from_secs(1)..LEASE + Duration::from_secs(5)),
            Fault::Pause => self.freeze(Duration::from_millis(200)..LEASE),
            Fault::Cut => self.cut(),
            Fault::Terminate => {
                let sessions = self.rng.u32(1..12);
                self.cluster.terminate(sessions) > 0
            }
            Fault::Restart => {
                self.cluster.restart();
                true
            }
            Fault::Failover => {
                self.cluster.fail_over();
                true
            }
        }
    }

    /// A host that nothing is the matter with.
    fn free_host(&mut self) -> Option<usize> {
        let free: Vec<usize> =
            (0..self.asked.hosts).filter(|host| !self.troubles.contains_key(host)).collect();
        // Somebody goes on.
        if free.len() < 3 { None } else { self.rng.choice(free) }
    }

    fn freeze(&mut self, time: std::ops::Range<Duration>) -> bool {
        let Some(host) = self.free_host() else { return false };
        if !self.hosts.signal(host, Signal::SIGSTOP) {
            return false;
        }
        self.trouble(host, Trouble::Frozen, time);
        true
    }

    fn cut(&mut self) -> bool {
        let Some(host) = self.free_host().filter(|_| self.lab.has_links()) else { return false };
        Lab::link(host, false);
        self.trouble(host, Trouble::Cut, Duration::from_millis(300)..LEASE * 2);
        true
    }

    fn trouble(&mut self, host: usize, trouble: Trouble, time: std::ops::Range<Duration>) {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap();
        let time = Duration::from_millis(self.rng.u64(millis(time.start)..millis(time.end)));
        let now = Instant::now();
        self.troubles.insert(host, (now, now + time, trouble));
    }
}
