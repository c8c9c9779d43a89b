//! The only writer of standard output and standard error. Replaces whatever a terminal would obey (escapes,
//! other control characters, marks that turn the direction of text), so that no foreign id, name or text can
//! move a cursor, hide a line or set a title. Must not know what is written.

use std::io::{self, BufWriter, IsTerminal as _, StdoutLock, Write};
use std::os::fd::{AsFd as _, OwnedFd};

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;

/// What active characters are replaced by.
const REPLACEMENT: char = '\u{fffd}';

/// Ends a colour. These characters stand for escapes inside texts and become escapes only when they are
/// written; Unicode reserves them for uses like this one.
const PLAIN: char = '\u{fdd0}';

/// The colours in use, their marks, and the sequences by which a terminal knows them.
const COLOURS: [(Colour, char, &str); 4] = [
    (Colour::Red, '\u{fdd1}', "\u{1b}[31m"),
    (Colour::Green, '\u{fdd2}', "\u{1b}[32m"),
    (Colour::Yellow, '\u{fdd3}', "\u{1b}[33m"),
    (Colour::Faint, '\u{fdd4}', "\u{1b}[2m"),
];

/// A colour of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colour {
    Red,
    Green,
    /// Needs attention.
    Yellow,
    Faint,
}

/// The text in a colour; the marks become escapes when it is written.
pub(crate) fn painted(text: &str, colour: Colour) -> String {
    let mark = COLOURS.iter().find(|(known, _, _)| *known == colour).map_or(PLAIN, |(_, mark, _)| *mark);
    format!("{mark}{}{PLAIN}", clean(text))
}

/// Whether a terminal, or a reader of many lines, may treat the character as more than text.
fn is_active(c: char) -> bool {
    let turns = matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    let is_break = matches!(c, '\u{2028}' | '\u{2029}');
    let is_tag = matches!(c, '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
    c.is_control() || turns || is_break || is_tag || matches!(c, '\u{fdd0}'..='\u{fdef}')
}

/// The text on one line, with a blank for every active character.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|c| if is_active(c) { ' ' } else { c }).collect()
}

/// The text as it is written: of the active characters only line ends, tabs and our own colours are kept.
pub(crate) fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => shown.push(c),
            PLAIN => shown.push_str("\u{1b}[0m"),
            _ => match COLOURS.iter().find(|(_, mark, _)| *mark == c) {
                Some((_, _, escape)) => shown.push_str(escape),
                None => shown.push(if is_active(c) { REPLACEMENT } else { c }),
            },
        }
    }
    shown
}

/// JSON with active characters as JSON escapes, so that it is the same value.
struct Escaping;

impl Formatter for Escaping {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, active)) = rest.char_indices().find(|(_, c)| is_active(*c)) {
            let (plain, behind) = rest.split_at_checked(at).unwrap_or_default();
            out.write_all(plain.as_bytes())?;
            for unit in active.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}")?;
            }
            rest = behind.get(active.len_utf8()..).unwrap_or_default();
        }
        out.write_all(rest.as_bytes())
    }
}

/// Writes a JSON value on a line of its own, without buffering it.
fn write_json(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    value.serialize(&mut Serializer::with_formatter(&mut *out, Escaping))?;
    out.write_all(b"\n")
}

/// A JSON value on a line of its own.
pub(crate) fn json_line(value: &impl Serialize) -> String {
    let mut line = Vec::new();
    // Serializing numbers and texts cannot fail, and neither can writing to memory.
    let _ = write_json(&mut line, value);
    String::from_utf8(line).unwrap_or_default()
}

/// Writes to standard output, for people. A reader that closed it is not a failure.
pub(crate) fn print(text: &str) -> io::Result<()> {
    unless_broken_pipe(write(&mut io::stdout().lock(), &shown(text)))
}

/// Like [`print`], for machines.
pub(crate) fn print_json(value: &impl Serialize) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    unless_broken_pipe(write_json(&mut out, value).and_then(|()| out.flush()))
}

/// Writes to standard error. If even that fails, nothing is left to do.
pub(crate) fn print_error(text: &str) {
    let _ = write(&mut io::stderr().lock(), &shown(text));
}

fn write(out: &mut impl Write, text: &str) -> io::Result<()> {
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// The file behind standard output, for a report that cleans what it writes.
pub(crate) fn output_file() -> io::Result<OwnedFd> {
    io::stdout().as_fd().try_clone_to_owned()
}

/// Writes text that was already cleaned to standard error.
pub(super) fn write_error(bytes: &[u8]) -> io::Result<usize> {
    io::stderr().write(bytes)
}

/// A reader that closed the stream is not a failure of ours.
///
/// # Errors
/// Any other error in `written`.
pub(crate) fn unless_broken_pipe(written: io::Result<()>) -> io::Result<()> {
    written.or_else(|error| if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) })
}

/// Whether standard output is a terminal.
pub(crate) fn is_watched() -> bool {
    io::stdout().is_terminal()
}

/// Whether standard error is a terminal.
pub(crate) fn is_error_watched() -> bool {
    io::stderr().is_terminal()
}

/// The file behind standard error, to inspect it.
pub(super) fn error_file() -> io::Result<OwnedFd> {
    io::stderr().as_fd().try_clone_to_owned()
}

/// Standard output for data: unchanged into a file or a pipe, and cleaned like everything else on a terminal.
#[derive(Debug)]
pub(crate) struct Data<W = StdoutLock<'static>> {
    out: W,
    watched: bool,
    /// The beginning of a character whose rest has not arrived yet.
    begun: Vec<u8>,
}

impl Data {
    pub(crate) fn open() -> Self {
        Self { out: io::stdout().lock(), watched: is_watched(), begun: Vec::new() }
    }
}

impl<W: Write> Write for Data<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.watched {
            return self.out.write(bytes);
        }
        self.begun.extend_from_slice(bytes);
        let whole = whole(&self.begun);
        let rest = self.begun.split_off(whole);
        let text = std::mem::replace(&mut self.begun, rest);
        self.out.write_all(shown(&String::from_utf8_lossy(&text)).as_bytes())?;
        Ok(bytes.len())
    }

    /// Also writes what is left of a character that does not end, as nothing may follow.
    fn flush(&mut self) -> io::Result<()> {
        let text = std::mem::take(&mut self.begun);
        self.out.write_all(shown(&String::from_utf8_lossy(&text)).as_bytes())?;
        self.out.flush()
    }
}

/// How many of the bytes come before an incomplete character at the end.
fn whole(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        _ => bytes.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    #[test]
    fn nothing_that_a_terminal_obeys_passes() {
        for (text, expected) in [
            ("a\u{1b}]0;title\u{7}b", "a\u{fffd}]0;title\u{fffd}b"),
            ("\u{9b}2J\r\u{8}\u{7f}", "\u{fffd}2J\u{fffd}\u{fffd}\u{fffd}"),
            ("1\u{202e}2\u{2066}3\u{200f}4", "1\u{fffd}2\u{fffd}3\u{fffd}4"),
            ("two\nlines\tand é 日本 👍", "two\nlines\tand é 日本 👍"),
        ] {
            assert_eq!(shown(text), expected);
        }
        assert_eq!(shown(&painted("x\u{1b}[8m", Colour::Red)), "\u{1b}[31mx [8m\u{1b}[0m");
    }

    #[test]
    fn json_keeps_its_value() {
        let value = serde_json::json!({ "a": "\u{9b}31m\u{7f}\u{202e}\u{e0041}\n\u{fdd1}é" });
        let line = json_line(&value);
        assert!(line.trim_end().chars().all(|c| !is_active(c)), "{line}");
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), value);
    }

    #[test]
    fn only_a_reader_that_went_away_is_forgiven() {
        let failed = |kind: io::ErrorKind| unless_broken_pipe(Err(kind.into())).is_err();
        assert!(!failed(io::ErrorKind::BrokenPipe) && failed(io::ErrorKind::StorageFull));
    }

    #[test]
    fn characters_that_come_in_pieces_are_put_together() {
        assert_eq!(whole("é".as_bytes()), 2);
        assert_eq!(whole(&[b'a', 0xe2, 0x80]), 1);
        assert_eq!(whole(&[b'a', 0xff]), 2);
    }

    #[test]
    fn a_character_that_does_not_end_is_written_at_the_end() {
        let mut data = Data { out: Vec::new(), watched: true, begun: Vec::new() };
        data.write_all(&[b'a', 0xc3]).unwrap();
        data.write_all(&[0xa9, 0xe2, 0x80]).unwrap();
        data.flush().unwrap();
        assert_eq!(String::from_utf8(data.out).unwrap(), "aé\u{fffd}");
    }

    proptest! {
        #[test]
        fn of_any_text_only_signs_line_ends_and_tabs_are_left(text in any::<String>()) {
            let unmarked: String = text.chars().filter(|c| !matches!(c, '\u{fdd0}'..='\u{fdd4}')).collect();
            prop_assert!(shown(&unmarked).chars().all(|c| matches!(c, '\n' | '\t') || !is_active(c)));
            prop_assert!(clean(&text).chars().all(|c| !is_active(c)));
        }
    }
}
