//! Limits what a connection holds of Tink's responses while it is processed: lists, ids of a walk, rows not
//! yet written. Limits on bodies alone would not bound what is made of them. Each connection has a small
//! allowance; one at a time may exceed it. Must not know what is held.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What every connection may hold, in bytes: about 40,000 records of a walk.
const OWN: usize = 4 * 1024 * 1024;
/// What the one connection that needs more may hold, in bytes.
const MOST: usize = 128 * 1024 * 1024;

/// The parts of what is held; each has its own size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MemoryPart {
    /// The list of consents, and its copies.
    Consents,
    /// The list of accounts, and its copies.
    Accounts,
    /// What is kept of each record of a walk.
    Walk,
    /// Rows and records read and not yet written.
    Unwritten,
}

/// The total would exceed `MOST`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooMuch;

/// Permission to hold more than `OWN`, for one connection at a time; shared by the process.
#[derive(Clone, Debug)]
pub(super) struct MemoryTurn(Arc<Semaphore>);

impl Default for MemoryTurn {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

/// What one connection holds.
#[derive(Debug)]
pub(super) struct Memory {
    turn: MemoryTurn,
    state: Mutex<MemoryState>,
}

#[derive(Debug, Default)]
struct MemoryState {
    parts: [usize; 4],
    permit: Option<OwnedSemaphorePermit>,
}

impl MemoryState {
    fn total(&self) -> usize {
        self.parts.iter().fold(0, |sum: usize, part| sum.saturating_add(*part))
    }

    fn set(&mut self, part: MemoryPart, bytes: usize) {
        if let Some(held) = self.parts.get_mut(part as usize) {
            *held = bytes;
        }
    }
}

impl Memory {
    pub(super) fn new(turn: MemoryTurn) -> Self {
        Self { turn, state: Mutex::default() }
    }

    /// Records how much of a part is held now, and waits until that is allowed. A connection that has the
    /// permit does not wait, so this cannot block forever.
    pub(super) async fn hold(&self, part: MemoryPart, bytes: usize) -> Result<(), TooMuch> {
        {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.set(part, bytes);
            let total = state.total();
            if total > MOST {
                return Err(TooMuch);
            }
            if total <= OWN {
                state.permit = None;
            }
            if total <= OWN || state.permit.is_some() {
                return Ok(());
            }
        }
        // The semaphore is never closed.
        let permit = Arc::clone(&self.turn.0).acquire_owned().await.ok();
        self.state.lock().unwrap_or_else(PoisonError::into_inner).permit = permit;
        Ok(())
    }

    /// Frees a part, and returns the permit if the rest fits in `OWN`.
    pub(super) fn release(&self, part: MemoryPart) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.set(part, 0);
        if state.total() <= OWN {
            state.permit = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    fn now(memory: &Memory, part: MemoryPart, bytes: usize) -> Option<Result<(), TooMuch>> {
        memory.hold(part, bytes).now_or_never()
    }

    #[test]
    fn one_at_a_time_holds_more_than_its_own() {
        let turn = MemoryTurn::default();
        let [one, two, three] = [(); 3].map(|()| Memory::new(turn.clone()));
        assert_eq!(now(&one, MemoryPart::Walk, OWN), Some(Ok(())));
        assert_eq!(now(&one, MemoryPart::Unwritten, 1), Some(Ok(())));
        assert_eq!(
            now(&one, MemoryPart::Accounts, MOST / 2),
            Some(Ok(())),
            "who has the turn waits for nobody"
        );
        assert_eq!(now(&two, MemoryPart::Walk, OWN + 1), None);
        assert_eq!(now(&three, MemoryPart::Walk, OWN), Some(Ok(())), "and nobody waits who needs little");
        one.release(MemoryPart::Accounts);
        assert_eq!(now(&two, MemoryPart::Walk, OWN + 1), None);
        one.release(MemoryPart::Unwritten);
        assert_eq!(now(&two, MemoryPart::Walk, OWN + 1), Some(Ok(())));
        drop(two);
        assert_eq!(
            now(&three, MemoryPart::Consents, 1),
            Some(Ok(())),
            "the turn of one that is gone is free"
        );
    }

    #[test]
    fn there_is_a_limit_to_all_of_it_together() {
        let memory = Memory::new(MemoryTurn::default());
        assert_eq!(now(&memory, MemoryPart::Walk, MOST - 1), Some(Ok(())));
        assert_eq!(now(&memory, MemoryPart::Consents, 1), Some(Ok(())));
        assert_eq!(now(&memory, MemoryPart::Accounts, 1), Some(Err(TooMuch)));
        assert_eq!(now(&memory, MemoryPart::Accounts, usize::MAX), Some(Err(TooMuch)));
        assert_eq!(now(&memory, MemoryPart::Accounts, 0), Some(Ok(())));
    }
}
