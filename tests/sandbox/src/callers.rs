//! Who reads the data of a user: whether two machines do so at one time, or take turns while neither is done.
//!
//! A client on several machines promises that never happens. Knows machines by their addresses and nothing else of them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use crate::call::Endpoint;
use crate::lock;
use crate::world::UserKey;

/// The calls that read a user's data.
const READS: [Endpoint; 5] = [
    Endpoint::Consents,
    Endpoint::CredentialsRefresh,
    Endpoint::Accounts,
    Endpoint::Account,
    Endpoint::Transactions,
];

/// A read as it comes in.
#[derive(Debug, Clone, Copy)]
pub struct Read {
    /// Of whom.
    pub user: UserKey,
    /// From where.
    pub from: IpAddr,
    /// The number of its token; later ones are greater.
    pub token: u64,
}

/// Two machines at the data of one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlap {
    /// Of whom.
    pub user: UserKey,
    /// Who came in.
    pub from: IpAddr,
    /// Who was there.
    pub other: IpAddr,
    /// Both had a call in flight; else the one that came had an older token than the other had shown by then.
    pub at_once: bool,
    /// When.
    pub at: Instant,
}

/// All reads of all users.
#[derive(Debug, Default)]
pub struct Callers(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    users: HashMap<UserKey, Reads>,
    most: usize,
    overlaps: Vec<Overlap>,
}

#[derive(Debug, Default)]
struct Reads {
    in_flight: Vec<IpAddr>,
    /// The latest token that was shown, and by whom.
    latest: Option<(u64, IpAddr)>,
}

/// A read in flight; it ends when dropped.
#[derive(Debug)]
pub struct Reading<'a> {
    callers: &'a Callers,
    read: Read,
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        if let Some(reads) = self.callers.known().users.get_mut(&self.read.user)
            && let Some(at) = reads.in_flight.iter().position(|from| *from == self.read.from)
        {
            reads.in_flight.swap_remove(at);
        }
    }
}

impl Callers {
    fn known(&self) -> MutexGuard<'_, Known> {
        lock(&self.0)
    }

    /// Takes note of a call, if it reads a user's data.
    pub fn begin(&self, endpoint: Endpoint, read: Read) -> Option<Reading<'_>> {
        READS.contains(&endpoint).then(|| {
            self.known().add(read);
            Reading { callers: self, read }
        })
    }

    /// Most reads of one user that were in flight at one time.
    pub fn most(&self) -> usize {
        self.known().most
    }

    /// Where two machines were at the data of one user.
    pub fn overlaps(&self) -> Vec<Overlap> {
        self.known().overlaps.clone()
    }

    /// Starts anew; those in flight stay.
    pub fn reset(&self) {
        let mut known = self.known();
        known.most = 0;
        known.overlaps.clear();
    }
}

impl Known {
    fn add(&mut self, Read { user, from, token }: Read) {
        let reads = self.users.entry(user).or_default();
        let beside = reads.in_flight.iter().find(|other| **other != from).map(|other| (*other, true));
        let after = reads.latest.filter(|(latest, other)| *latest > token && *other != from);
        let overlap = beside.or(after.map(|(_, other)| (other, false)));
        let at = Instant::now();
        self.overlaps.extend(overlap.map(|(other, at_once)| Overlap { user, from, other, at_once, at }));
        reads.in_flight.push(from);
        self.most = self.most.max(reads.in_flight.len());
        if reads.latest.is_none_or(|(latest, _)| latest < token) {
            reads.latest = Some((token, from));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const USER: UserKey = UserKey(1);

    fn read(from: u8, token: u64) -> Read {
        Read { user: USER, from: IpAddr::V4(Ipv4Addr::new(10, 0, 0, from)), token }
    }

    #[test]
    fn one_machine_after_the_other_is_no_overlap_and_two_at_once_or_in_turns_are() {
        let callers = Callers::default();
        let begin = |from, token| callers.begin(Endpoint::Accounts, read(from, token));
        drop(begin(1, 5));
        drop(begin(2, 6));
        // Of its own tokens a machine may use any, and all may use the same.
        drop((begin(2, 5), begin(2, 6)));
        drop(begin(1, 6));
        assert_eq!((callers.overlaps(), callers.most()), (Vec::new(), 2));

        let found = || -> Vec<_> {
            callers.overlaps().iter().map(|o| (o.user, o.from, o.other, o.at_once)).collect()
        };
        let overlap = |from, other, at_once| (USER, read(from, 0).from, read(other, 0).from, at_once);
        drop(begin(1, 5));
        assert_eq!(found(), [overlap(1, 2, false)]);
        let (first, second) = (begin(1, 7), begin(2, 8));
        assert_eq!(found()[1..], [overlap(2, 1, true)]);
        drop((first, second));
        callers.reset();
        assert!(callers.begin(Endpoint::Grant, read(3, 1)).is_none());
        drop(begin(2, 8));
        assert_eq!((callers.overlaps(), callers.most()), (Vec::new(), 1));
    }
}
