//! Counts what a run has reported so far, so that a run that fails or is cut short closes its report like any
//! other. Reads nothing and decides nothing.

use std::sync::{Mutex, PoisonError};

use crate::domain::event::{Event, Summary};

/// The totals of the lines so far, while the report is open.
#[derive(Debug, Default)]
pub(super) struct Reported(Mutex<Option<Summary>>);

impl Reported {
    pub(super) fn note(&self, event: &Event) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Started { connections, due, skipped, .. } => {
                let (connections, due, skipped) = (*connections, *due, skipped.clone());
                *open = Some(Summary { connections, due, skipped, ..Summary::default() });
            }
            Event::Finished(finished) => {
                if let Some(summary) = open.as_mut() {
                    *summary.outcomes.entry(finished.outcome).or_default() += 1;
                    summary.counts += finished.counts;
                }
            }
            Event::Ended { .. } => *open = None,
            _ => {}
        }
    }

    /// The totals of a report that has begun and not ended.
    pub(super) fn open(&self) -> Option<Summary> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
