//! Parses connections written as JSON lines. Pure: returns the connections, or every mistake with its line number.

use std::collections::HashMap;
use std::fmt::Write as _;

use serde::Deserialize;

use super::NAMED;
use crate::cli::Failure;
use crate::domain::ids::is_usable;
use crate::store::stand_alone::OwnConnection;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    connection_id: String,
    user_id: String,
    external_user_id: Option<String>,
    tink_user_id: Option<String>,
    market: Option<String>,
    priority: Option<i64>,
}

/// Parses every line; skips blank ones.
///
/// # Errors
/// [`Failure::Usage`] lists the invalid lines; then none is added.
pub(super) fn parse(text: &str, file: &str) -> Result<Vec<OwnConnection>, Failure> {
    let mut connections: Vec<OwnConnection> = Vec::new();
    let mut mistakes = Vec::new();
    let mut first_seen: HashMap<String, usize> = HashMap::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        match entry(line) {
            Err(mistake) => mistakes.push(format!("line {number}: {mistake}")),
            Ok(connection) => {
                let first = *first_seen.entry(connection.connection_id.clone()).or_insert(number);
                if first == number {
                    connections.push(connection);
                } else {
                    mistakes.push(format!("line {number}: the connection_id of line {first} again"));
                }
            }
        }
    }
    if mistakes.is_empty() && connections.is_empty() {
        mistakes.push("there is no connection in it".to_owned());
    }
    if mistakes.is_empty() { Ok(connections) } else { Err(Failure::Usage(refusal(file, &mistakes))) }
}

fn refusal(file: &str, mistakes: &[String]) -> String {
    let more = mistakes.len().saturating_sub(NAMED);
    let mut text = format!("{file}: nothing was added");
    for mistake in mistakes.iter().take(NAMED) {
        text.push_str("\n  ");
        text.push_str(mistake);
    }
    if more > 0 {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n  and {more} more");
    }
    text
}

fn entry(line: &str) -> Result<OwnConnection, String> {
    let entry: Entry = serde_json::from_str(line).map_err(|error| without_line(&error))?;
    let connection = OwnConnection {
        connection_id: entry.connection_id,
        user_id: entry.user_id,
        external_user_id: entry.external_user_id,
        tink_user_id: entry.tink_user_id,
        market: entry.market,
        priority: entry.priority.unwrap_or_default(),
    };
    match problem(&connection) {
        Some(problem) => Err(problem.to_owned()),
        None => Ok(connection),
    }
}

/// Removes the parser's own line number, which is always 1 here.
fn without_line(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    match text.strip_suffix(&place) {
        Some(words) => format!("column {}: {words}", error.column()),
        None => text,
    }
}

/// The problem with a connection that is to be added, if any.
pub(super) fn problem(connection: &OwnConnection) -> Option<&'static str> {
    let given = |id: &Option<String>| id.as_ref().is_some_and(|id| !id.is_empty());
    let unusable = |id: &Option<String>| given(id) && !id.as_deref().is_some_and(is_usable);
    if !is_usable(&connection.connection_id) {
        Some("connection_id must be text of at most 16 KiB on one line, without control characters")
    } else if !is_usable(&connection.user_id) {
        Some("user_id must be text of at most 16 KiB on one line, without control characters")
    } else if unusable(&connection.external_user_id) || unusable(&connection.tink_user_id) {
        Some(
            "external_user_id and tink_user_id must be text of at most 16 KiB on one line, without control characters",
        )
    } else if given(&connection.external_user_id) == given(&connection.tink_user_id) {
        Some("exactly one of external_user_id and tink_user_id is needed")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        parse(text, "f").unwrap_err().to_string()
    }

    #[test]
    fn good_lines_become_connections() {
        let text = "{\"connection_id\":\"a\",\"user_id\":\"u\",\"external_user_id\":\"x\"}\n\n\
                    {\"connection_id\":\"b\",\"user_id\":\"u\",\"tink_user_id\":\"t\",\"market\":\"SE\",\"priority\":-3}\r\n";
        let connections = parse(text, "f").unwrap();
        assert_eq!(connections.len(), 2);
        assert_eq!(connections[0].external_user_id.as_deref(), Some("x"));
        assert_eq!((connections[1].market.as_deref(), connections[1].priority), (Some("SE"), -3));
    }

    #[test]
    fn every_bad_line_is_named() {
        let good = "{\"connection_id\":\"a\",\"user_id\":\"u\",\"external_user_id\":\"x\"}";
        let text = format!(
            "{good}\n{good}\n{{\"connection_id\":17}}\nnonsense\n{{\"connection_id\":\"c\",\"user_id\":\"u\"}}\n{{\"conection_id\":\"d\"}}"
        );
        let message = refused(&text);
        let lines: Vec<&str> = message.lines().collect();
        assert_eq!(lines[0], "f: nothing was added");
        assert_eq!(lines[1], "  line 2: the connection_id of line 1 again");
        assert!(
            lines[2].starts_with("  line 3: column 19: invalid type: integer `17`, expected a string"),
            "{message}"
        );
        assert!(lines[3].starts_with("  line 4: column "), "{message}");
        assert_eq!(lines[4], "  line 5: exactly one of external_user_id and tink_user_id is needed");
        assert!(
            lines[5].starts_with("  line 6: column 15: unknown field `conection_id`, expected one of"),
            "{message}"
        );
    }

    #[test]
    fn a_file_without_connections_is_refused() {
        assert_eq!(refused("\n \n"), "f: nothing was added\n  there is no connection in it");
        assert!(refused(&"x\n".repeat(30)).ends_with("\n  and 10 more"));
    }
}
