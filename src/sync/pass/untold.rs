//! What has happened and is told once it is durable, in the order in which it happened. Decides nothing.

use std::collections::VecDeque;

use super::Pass;
use crate::domain::event::Event;
use crate::store::{Durable, Result};

/// Events, and when each group of them may be told.
pub(super) type Untold = VecDeque<(Durable, Vec<Event>)>;

impl Pass {
    /// Tells all that has happened so far, as soon as it is durable.
    pub(super) async fn confirm(&mut self) -> Result<()> {
        while !self.untold.is_empty() {
            first_durable(&mut self.untold).await?;
            self.tell_first();
        }
        Ok(())
    }

    pub(super) fn tell_first(&mut self) {
        for event in self.untold.pop_front().into_iter().flat_map(|(_, events)| events) {
            self.tell(&event);
        }
    }
}

/// Waits until the first of them may be told; for ever if there is none.
pub(super) async fn first_durable(untold: &mut Untold) -> Result<()> {
    match untold.front_mut() {
        Some((durable, _)) => durable.confirmed().await,
        None => std::future::pending().await,
    }
}
