//! Text for people: tables that fit 80 columns, ages, wrapped sentences, and printing to standard output.
//! Must not know what the texts are about.

use std::fmt::Write as _;
use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets};
use jiff::{SignedDuration, Timestamp};
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::Failure;
use crate::observe::terminal::{self, Colour};
use crate::store::Place;

/// The width that all output fits.
pub(super) const WIDTH: usize = 80;

/// The longest id that stays in its table row: a UUID.
const LONGEST_ID: usize = 36;

/// The meaning of a line, which decides its colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Tone {
    #[default]
    Plain,
    Good,
    /// Someone should look at it.
    Warning,
    Bad,
    Faint,
}

/// A line of a table, with notes below it.
#[derive(Clone, Debug, Default)]
pub(super) struct TableLine {
    pub cells: Vec<String>,
    pub notes: Vec<String>,
    pub tone: Tone,
}

/// Writes to standard output; a closed pipe is not an error.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    terminal::print(text).map_err(Failure::Output)
}

/// A value as JSON, the members of each object sorted by name.
pub(super) fn json(value: &impl Serialize) -> Value {
    // Cannot fail: our types serialize without errors, and their maps have string keys.
    serde_json::to_value(value).unwrap_or_default()
}

/// Prints one JSON value on a line of its own.
pub(super) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    terminal::print_json(value).map_err(Failure::Output)
}

/// A JSON list whose items are produced one by one while it is written.
pub(super) struct Each<F>(pub F);

impl<I, F> Serialize for Each<F>
where
    I: Iterator<Item: Serialize>,
    F: Fn() -> I,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((self.0)())
    }
}

/// A table without borders: one row per line, its notes indented below it. A first cell longer than
/// [`LONGEST_ID`] gets a row of its own.
pub(super) fn table(header: &[&str], lines: &[TableLine], color: bool) -> String {
    let long =
        |line: &TableLine| line.cells.first().filter(|cell| cell.chars().count() > LONGEST_ID).cloned();
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().copied());
    for line in lines {
        let alone = usize::from(long(line).is_some());
        let cells = std::iter::repeat_n("", alone).chain(line.cells.iter().skip(alone).map(String::as_str));
        table.add_row(cells.map(clean));
    }
    let mut rendered = padded(&mut table, 2);
    if rendered.iter().any(|line| line.trim_end().chars().count() > WIDTH) {
        rendered = padded(&mut table, 1);
    }
    let mut rendered = rendered.into_iter();
    let mut text = String::new();
    text.push_str(rendered.next().unwrap_or_default().trim_end());
    text.push('\n');
    for (row, line) in rendered.zip(lines) {
        if let Some(id) = long(line) {
            text.push_str(&paint(&clean(&id), line.tone, color));
            text.push('\n');
        }
        text.push_str(&paint(row.trim_end(), line.tone, color));
        text.push('\n');
        for note in &line.notes {
            text.push_str(&wrap(note, 2));
        }
    }
    text
}

/// The lines of the table with this many blanks between its columns.
fn padded(table: &mut Table, blanks: u16) -> Vec<String> {
    for column in table.column_iter_mut() {
        column.set_padding((0, blanks));
    }
    table.lines().collect()
}

pub(super) fn paint(text: &str, tone: Tone, color: bool) -> String {
    let paint = match tone {
        Tone::Plain => None,
        Tone::Good => Some(Colour::Green),
        Tone::Warning => Some(Colour::Yellow),
        Tone::Bad => Some(Colour::Red),
        Tone::Faint => Some(Colour::Faint),
    };
    paint.filter(|_| color).map_or_else(|| text.to_owned(), |paint| terminal::painted(text, paint))
}

/// Replaces everything that a terminal would act on by blanks.
pub(super) fn clean(text: &str) -> String {
    terminal::clean(text)
}

/// The text in lines of at most [`WIDTH`] columns, broken between words, each indented by `indent`.
pub(super) fn wrap(text: &str, indent: usize) -> String {
    let mut wrapped = String::new();
    let mut used = 0;
    for word in clean(text).split_whitespace() {
        let length = word.chars().count();
        if used > 0 && used + 1 + length > WIDTH {
            wrapped.push('\n');
            used = 0;
        }
        let gap = if used == 0 { indent } else { 1 };
        // Writing to a String cannot fail.
        let _ = write!(wrapped, "{:gap$}{word}", "");
        used += gap + length;
    }
    wrapped.push('\n');
    wrapped
}

/// Cuts a text to `most` characters, with an ellipsis.
pub(super) fn shorten(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(most.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// A span of time in one unit: `45s`, `12m`, `31h`, `9d`.
pub(super) fn span(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A duration as a user would type it: `26h`, else `1h 30m`.
pub(super) fn exact(duration: Duration) -> String {
    let short = SignedDuration::try_from(duration).map(span).unwrap_or_default();
    match humantime::parse_duration(&short) {
        Ok(same) if same == duration => short,
        _ => humantime::format_duration(duration).to_string(),
    }
}

/// 24 hours before, clamped to the range of [`Timestamp`].
pub(super) fn day_before(at: Timestamp) -> Timestamp {
    at.saturating_sub(SignedDuration::from_hours(24)).unwrap_or(Timestamp::MIN)
}

/// 24 hours later, clamped to the range of [`Timestamp`].
pub(super) fn day_after(at: Timestamp) -> Timestamp {
    at.saturating_add(SignedDuration::from_hours(24)).unwrap_or(Timestamp::MAX)
}

/// Parses a duration of the command line; refuses more than ten years, which no clock could wait for.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    const LONGEST: Duration = Duration::from_hours(10 * 365 * 24);
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if duration <= LONGEST { Ok(duration) } else { Err("expected at most 10 years (3650d)".to_owned()) }
}

/// How long ago, or `never`.
pub(super) fn age(at: Option<Timestamp>, now: Timestamp) -> String {
    at.map_or_else(|| "never".to_owned(), |at| span(now.duration_since(at)))
}

/// A time for people, to the minute.
pub(super) fn minute(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M").to_string()
}

/// A time as the views write it.
pub(super) fn rfc3339(at: Timestamp) -> String {
    format!("{at:.3}")
}

/// The message for a store that does not exist.
pub(super) fn no_store(place: &Place) -> String {
    format!("{}: no run was made.\n", clean(&place.absence()))
}

/// A number of things: `1 connection`, `2 connections`.
pub(super) fn count(number: usize, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_use_one_unit() {
        for (seconds, text) in
            [(-5, "0s"), (59, "59s"), (60, "1m"), (3_600, "1h"), (100_000, "27h"), (172_800, "2d")]
        {
            assert_eq!(span(SignedDuration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn durations_are_told_as_they_are_typed() {
        for text in ["26h", "90s", "14d", "1h 30m"] {
            assert_eq!(exact(humantime::parse_duration(text).unwrap()), text.replace("90s", "1m 30s"));
        }
    }

    #[test]
    fn long_texts_are_broken_between_words() {
        let text = wrap(&"word ".repeat(40), 2);
        assert!(
            text.lines().all(|line| line.starts_with("  word") && line.chars().count() <= WIDTH),
            "{text}"
        );
        assert_eq!(text.lines().count(), 3);
        assert_eq!(wrap("a\tb\u{1b}[31m", 0), "a b [31m\n");
    }

    #[test]
    fn a_table_has_a_line_for_each_line_and_its_notes_below() {
        let line = |id: &str, notes: &[&str]| TableLine {
            cells: vec![id.to_owned(), "x".to_owned()],
            notes: notes.iter().map(|&note| note.to_owned()).collect(),
            tone: Tone::Bad,
        };
        let lines = [line("c-1", &["broken"]), line("long\nid", &[])];
        assert_eq!(
            table(&["ID", "STATE"], &lines, false),
            "ID       STATE\nc-1      x\n  broken\nlong id  x\n"
        );
        let painted = terminal::shown(&table(&["ID", "STATE"], &lines, true));
        assert!(painted.contains("\u{1b}[31mc-1      x\u{1b}[0m\n"));
    }

    #[test]
    fn a_long_id_stands_alone_and_is_whole() {
        let long = "x".repeat(60);
        let line =
            |id: &str| TableLine { cells: vec![id.to_owned(), "ok".to_owned()], ..TableLine::default() };
        assert_eq!(
            table(&["ID", "STATE"], &[line(&long), line("c-1")], false),
            format!("ID   STATE\n{long}\n     ok\nc-1  ok\n")
        );
    }

    #[test]
    fn times_look_as_in_the_views() {
        assert_eq!(rfc3339("2026-01-02T03:04:05Z".parse().unwrap()), "2026-01-02T03:04:05.000Z");
    }
}
