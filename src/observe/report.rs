//! The report of a run on standard output: for people (quiet when all is well) or as JSON lines.

use std::fmt::Write as _;
use std::io::{self, Write};

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::{Value, json};

use super::{journal, notify, progress, terminal};
use crate::domain::event::{Event, Finished, Summary};
use crate::domain::outcome::{Counts, Outcome, Reason};
use crate::exit::Exit;

/// So many connections are listed by name; the rest is in the journal and in `status`.
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

/// Writes the report as things happen.
#[derive(Debug)]
pub struct Reporter<W> {
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
    /// A report on `out`; `progress` shows a bar meanwhile, `silent` says nothing to people.
    pub fn new(out: W, format: Format, progress: bool, silent: bool) -> Self {
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

    /// Takes in an event. A reader that went away is no failure of the run.
    ///
    /// # Errors
    /// What there was to write could not be written; the run goes on.
    pub fn tell(&mut self, event: &Event) -> io::Result<()> {
        if let Event::Started { run_id, .. } = event {
            self.run_id = run_id.to_string();
        }
        let written = match self.format {
            Format::Json => self.json(event),
            Format::Human => self.human(event),
        };
        self.status(event);
        terminal::forgiving(written)
    }

    fn json(&mut self, event: &Event) -> io::Result<()> {
        let line = match event {
            Event::Started { run_id, trigger, dry_run, at, connections, due } => json!({
                "type": "run", "schema": 1, "run_id": run_id.as_str(), "dry_run": dry_run, "trigger": trigger,
                "started_at": at.to_string(), "connections": connections, "due": due,
            }),
            Event::Finished(finished) => connection(&self.run_id, finished),
            Event::Ended {
                run_id,
                trigger,
                dry_run,
                started_at,
                finished_at,
                duration_ms,
                exit_code,
                summary,
            } => {
                let mut line = totals(summary);
                let own = json!({
                    "type": "summary", "schema": 1, "run_id": run_id.as_str(), "dry_run": dry_run, "trigger": trigger,
                    "started_at": started_at.to_string(), "finished_at": finished_at.to_string(),
                    "duration_ms": duration_ms, "exit_code": exit_code,
                });
                merge(&mut line, own);
                line
            }
            _ => return Ok(()),
        };
        self.out.write_all(terminal::json_line(&line).as_bytes())?;
        self.out.flush()
    }

    fn human(&mut self, event: &Event) -> io::Result<()> {
        match event {
            Event::Started { due, dry_run, .. } => {
                self.rehearsal = *dry_run;
                if self.progress {
                    progress::start(*due);
                }
            }
            Event::Finished(finished) => self.note(finished),
            Event::Ended { exit_code, summary, dry_run, .. } => {
                progress::clear();
                if !self.silent {
                    return self.close(*exit_code, summary, *dry_run);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn note(&mut self, finished: &Finished) {
        progress::step();
        // All is well with these; a rehearsal tells what it would write all the same.
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

    fn close(&mut self, exit_code: u8, summary: &Summary, dry_run: bool) -> io::Result<()> {
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
        self.out.write_all(terminal::shown(&text).as_bytes())?;
        self.out.flush()
    }

    /// The line of `systemctl status`.
    fn status(&mut self, event: &Event) {
        match event {
            Event::Started { due, .. } => {
                self.due = *due;
                notify::status(&format!("syncing 0/{due} connections"));
            }
            Event::Finished(_) => {
                self.ended += 1;
                // Every hundredth of the way is often enough to watch.
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

/// The totals as the store keeps them: those of the report, two that only metrics use, and how long it took.
pub fn stored_totals(
    summary: &Summary,
    (request_errors, token_failures): (u64, u64),
    duration_ms: u64,
) -> String {
    let mut all = totals(summary);
    merge(&mut all, json!({ "request_errors": request_errors, "token_failures": token_failures }));
    merge(&mut all, json!({ "duration_ms": duration_ms }));
    all.to_string()
}

/// The same of a run that came to no totals.
pub fn no_totals(duration_ms: u64) -> String {
    json!({ "duration_ms": duration_ms }).to_string()
}

fn connection(run_id: &str, finished: &Finished) -> Value {
    let mut line = json!({
        "type": "connection",
        "run_id": run_id,
        "connection_id": finished.connection_id.as_str(),
        "outcome": finished.outcome.as_str(),
        "reason": finished.reason.map(Reason::as_str),
        "error": finished.error,
        "started_at": finished.started_at.to_string(),
        "duration_ms": finished.duration_ms,
    });
    merge(&mut line, json!(finished.counts));
    line
}

fn merge(line: &mut Value, other: Value) {
    if let (Value::Object(line), Value::Object(other)) = (line, other) {
        line.extend(other);
    }
}

/// The totals of contract section 6, as they are reported and stored.
pub fn totals(summary: &Summary) -> Value {
    let mut line = json!({ "connections": summary.connections, "due": summary.due });
    if let Value::Object(fields) = &mut line {
        for outcome in Outcome::ALL.iter().filter(|outcome| **outcome != Outcome::Skipped) {
            fields.insert(outcome.to_string(), json!(summary.outcome(*outcome)));
        }
        let reasons = [
            Reason::Disabled,
            Reason::Gone,
            Reason::NotEntitled,
            Reason::Recent,
            Reason::Quota,
            Reason::NotBefore,
            Reason::Leased,
            Reason::Deadline,
        ];
        let skipped = reasons.map(|reason| (reason.to_string(), json!(summary.skipped(reason))));
        fields.insert("skipped".to_owned(), Value::Object(skipped.into_iter().collect()));
    }
    merge(&mut line, json!(summary.counts));
    line
}
