//! A JSON writer that appends to one string.
//!
//! Pages are built with it because going through a tree of values would cost more than making the data. It places commas
//! and escapes texts; that keys and values come in a sensible order is up to the caller.

use std::fmt::Write;

/// JSON text under construction.
#[derive(Debug, Default)]
pub struct Json(String);

impl Json {
    /// An empty text with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self(String::with_capacity(capacity))
    }

    /// Opens an object or array; also places the comma before it.
    pub fn open(&mut self, bracket: char) -> &mut Self {
        self.comma();
        self.0.push(bracket);
        self
    }

    /// Closes an object or array.
    pub fn close(&mut self, bracket: char) -> &mut Self {
        self.0.push(bracket);
        self
    }

    /// Writes a key; the value must follow. Keys are ours and need no escaping.
    pub fn key(&mut self, name: &str) -> &mut Self {
        self.comma();
        self.0.push('"');
        self.0.push_str(name);
        self.0.push_str("\":");
        self
    }

    /// Writes a value that is valid JSON already.
    pub fn raw(&mut self, json: &str) -> &mut Self {
        self.comma();
        self.0.push_str(json);
        self
    }

    /// Writes a value whose text needs no quotes: numbers and truth values.
    pub fn plain(&mut self, value: impl std::fmt::Display) -> &mut Self {
        self.comma();
        write!(self.0, "{value}").expect("a String never fails to grow");
        self
    }

    /// Writes a quoted value that cannot hold anything to escape: ids, dates, numbers.
    pub fn quoted(&mut self, value: impl std::fmt::Display) -> &mut Self {
        self.comma();
        write!(self.0, "\"{value}\"").expect("a String never fails to grow");
        self
    }

    /// Writes any text.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.comma();
        self.0.push('"');
        for c in text.chars() {
            match c {
                '"' | '\\' => self.0.extend(['\\', c]),
                '\u{0}'..='\u{1f}' => {
                    write!(self.0, "\\u{:04x}", c as u32).expect("a String never fails to grow");
                }
                _ => self.0.push(c),
            }
        }
        self.0.push('"');
        self
    }

    /// The finished text.
    pub fn finish(self) -> String {
        self.0
    }

    // A value or key needs a comma before it unless it is the first of its kind: only then does the text end in one of these.
    // A text value that ends in a bracket does not count, its last byte is the quote.
    fn comma(&mut self) {
        if !matches!(self.0.as_bytes().last(), None | Some(b'{' | b'[' | b':')) {
            self.0.push(',');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let nasty = "a\"\\\u{1}\n{[:\u{a0}\u{1f4b6}";
        let mut json = Json::default();
        json.open('{').key("list").open('[').plain(1).text(nasty).quoted("x").open('{').close('}').close(']');
        json.key("raw").raw("null").close('}');
        let value: serde_json::Value = serde_json::from_str(&json.finish()).unwrap();
        assert_eq!(value, serde_json::json!({"list": [1, nasty, "x", {}], "raw": null}));
    }
}
