//! The report of a run on standard output: for people (quiet when all is well) or as JSON lines.

mod lines;

use std::fmt::Write as _;
use std::io::Write;

use comfy_table::{ContentArrangement, Table, presets};

use super::{journal, log, notify, progress, terminal};
use crate::domain::event::{Event, Finished, Summary};
use crate::domain::outcome::{Counts, Outcome, Reason};
use crate::exit::Exit;
pub(crate) use lines::{no_totals, stored_totals};

/// How many connections are listed by name; the rest is in the journal and in `status`.
const LISTED: usize = 50;

/// The table fits a plain terminal.
const WIDTH: u16 = 80;

/// The form of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Human,
    /// One JSON object per line.
    Json,
}

/// Writes the report as events happen.
#[derive(Debug)]
pub(crate) struct Reporter<W> {
    out: W,
    format: Format,
    progress: bool,
    silent: bool,
    rehearsal: bool,
    run_id: String,
    due: u64,
    ended: u64,
    attention: Vec<Finished>,
    unlisted: u64,
}

impl<W: Write> Reporter<W> {
    /// A report on `out`; `progress` shows a bar meanwhile, `silent` omits the text for people.
    pub(crate) fn new(out: W, format: Format, progress: bool, silent: bool) -> Self {
        Self {
            out,
            format,
            progress,
            silent,
            rehearsal: false,
            run_id: String::new(),
            due: 0,
            ended: 0,
            attention: Vec::new(),
            unlisted: 0,
        }
    }

    /// Reports an event.
    pub(crate) fn emit(&mut self, event: &Event) {
        if let Event::Started { run_id, .. } = event {
            self.run_id = run_id.to_string();
        }
        let text = match self.format {
            Format::Json => lines::line(&self.run_id, event),
            Format::Human => self.human(event).map(|text| terminal::shown(&text)),
        };
        if let Some(text) = text {
            let _ = self.out.write_all(text.as_bytes());
        }
        self.status(event);
    }

    fn human(&mut self, event: &Event) -> Option<String> {
        match event {
            Event::Started { due, dry_run, .. } => {
                self.rehearsal = *dry_run;
                if self.progress {
                    progress::start(*due, "connections");
                }
            }
            Event::Finished(finished) => self.note(finished),
            Event::Ended { exit_code, summary, dry_run, .. } => {
                progress::clear();
                if !self.silent {
                    log::wait_until_written();
                    return Some(self.close(*exit_code, summary, *dry_run));
                }
            }
            _ => {}
        }
        None
    }

    fn note(&mut self, finished: &Finished) {
        progress::step(1);
        // Nothing to report about these, except by a dry run, which lists what it would write.
        let well = match finished.outcome {
            Outcome::Synced => !self.rehearsal,
            outcome => outcome == Outcome::Unchanged,
        };
        if well {
            return;
        }
        if self.attention.len() < LISTED {
            self.attention.push(finished.clone());
        } else {
            self.unlisted += 1;
        }
    }

    fn close(&self, exit_code: u8, summary: &Summary, dry_run: bool) -> String {
        let would = if dry_run { "dry run, nothing was changed: " } else { "" };
        let mut text = format!("{would}{}\n", journal::totals(summary));
        if !self.attention.is_empty() {
            let mut table = Table::new();
            table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
            table.set_width(WIDTH);
            table.set_header(["connection", "outcome", "reason", "what happened"]);
            for finished in &self.attention {
                table.add_row([
                    terminal::clean(finished.connection_id.as_str()).as_str(),
                    finished.outcome.as_str(),
                    finished.reason.map_or("", Reason::as_str),
                    &terminal::clean(finished.error.as_deref().unwrap_or(&changes(&finished.counts))),
                ]);
            }
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{table}");
        }
        if self.unlisted > 0 {
            let _ = writeln!(text, "and {} more: tink-sync status shows them all", self.unlisted);
        }
        if let Some(exit) = Exit::from_code(exit_code).filter(|exit| *exit != Exit::Success) {
            let _ = writeln!(text, "exit status {exit_code}: {}", exit.meaning_of_pass(dry_run));
        }
        text
    }

    /// Sets the status line in `systemctl status`.
    fn status(&mut self, event: &Event) {
        match event {
            Event::Started { due, .. } => {
                self.due = *due;
                notify::status(&format!("syncing 0/{due} connections"));
            }
            Event::Finished(_) => {
                self.ended += 1;
                // One update per percent is enough.
                if self.ended.is_multiple_of((self.due / 100).max(1)) {
                    notify::status(&format!("syncing {}/{} connections", self.ended, self.due));
                }
            }
            Event::Waiting { .. } => {
                progress::note("Tink does not answer, waiting".to_owned());
                notify::status("Tink does not answer, waiting");
            }
            Event::Resumed => {
                progress::note(String::new());
                notify::status(&format!(
                    "Tink answers again, syncing {}/{} connections",
                    self.ended, self.due
                ));
            }
            Event::Ended { exit_code, summary, finished_at, .. } => notify::status(&format!(
                "last pass ended {} with {exit_code}: {}",
                finished_at.strftime("%F %T UTC"),
                journal::totals(summary)
            )),
            _ => {}
        }
    }
}

fn changes(counts: &Counts) -> String {
    format!("{} new, {} changed, {} removed rows", counts.added, counts.updated, counts.removed)
}
