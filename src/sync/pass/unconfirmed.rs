//! What has happened and is told once it is durable, in the order in which it happened. Decides nothing.

use std::collections::VecDeque;

use super::Pass;
use crate::domain::event::Event;
use crate::store::{Durable, Result};

/// Events, and when each group of them may be told.
pub(super) type Unconfirmed = VecDeque<(Durable, Vec<Event>)>;

impl Pass {
    /// Tells all that has happened so far, as soon as it is durable.
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

/// Waits until the first of them may be told; for ever if there is none.
pub(super) async fn first_durable(unconfirmed: &mut Unconfirmed) -> Result<()> {
    match unconfirmed.front_mut() {
        Some((durable, _)) => durable.confirmed().await,
        None => std::future::pending().await,
    }
}
