//! Events that are emitted once they are durable, in the order in which they happened. Decides nothing.

use std::collections::VecDeque;

use super::Pass;
use crate::domain::event::Event;
use crate::store::{Durable, Result};

/// Groups of events, each with its confirmation.
pub(super) type Unconfirmed = VecDeque<(Durable, Vec<Event>)>;

impl Pass {
    /// Emits all events so far, waiting until they are durable.
    pub(super) async fn confirm(&mut self) -> Result<()> {
        while !self.unconfirmed.is_empty() {
            first_durable(&mut self.unconfirmed).await?;
            self.emit_first();
        }
        Ok(())
    }

    pub(super) fn emit_first(&mut self) {
        for event in self.unconfirmed.pop_front().into_iter().flat_map(|(_, events)| events) {
            self.emit(&event);
        }
    }
}

/// Waits until the first group may be emitted; forever if there is none.
pub(super) async fn first_durable(unconfirmed: &mut Unconfirmed) -> Result<()> {
    match unconfirmed.front_mut() {
        Some((durable, _)) => durable.confirmed().await,
        None => std::future::pending().await,
    }
}
