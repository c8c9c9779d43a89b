//! Translates our statements into PostgreSQL's syntax. The store's statements are written once, in what SQLite and
//! PostgreSQL have in common; only spelling is changed here, once per text. Never changes what a statement means.

/// A translated statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Translated {
    pub sql: String,
    /// The named parameters in the order of their numbers: the first is `$1`.
    pub names: Vec<String>,
    /// The number of parameters.
    pub arity: usize,
}

/// The prefix of the textual views, which the program itself reads; the others have native types.
const TEXTUAL: &str = "ts_text_";
/// The source view, which has no textual form.
const SOURCE: &str = "tink_sync_source_v1";

/// Translates `?N` and `:name`, the schemas `main` and `temp`, names of views, index hints, and lists.
pub(crate) fn translate(sql: &str) -> Translated {
    let sql = with_arrays(sql);
    let mut to = Translated { sql: String::with_capacity(sql.len() + 32), names: Vec::new(), arity: 0 };
    let mut rest = sql.as_str();
    let mut before = ' ';
    while let Some(next) = rest.chars().next() {
        let taken = match next {
            '\'' => quoted(rest),
            '?' => positional(rest, &mut to),
            ':' if before != ':' => named(rest, &mut to),
            c if c.is_ascii_alphabetic() || c == '_' => {
                let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
                let (name, behind) = rest.split_at(end);
                rest = word(name, behind, &mut to);
                before = 'a';
                continue;
            }
            c => c.len_utf8(),
        };
        let (part, behind) = rest.split_at(taken);
        if !matches!(next, '?' | ':') || taken == 1 {
            to.sql.push_str(part);
        }
        before = part.chars().next_back().unwrap_or(' ');
        rest = behind;
    }
    to.arity = to.arity.max(to.names.len());
    to
}

/// Turns membership in a list parameter into that in an array: PostgreSQL then looks up each element in an
/// index, where it might otherwise join the list with the whole table, if that was small at planning time.
/// Without an index a long list is better left as it is: `SELECT j.value FROM json_each(…) j` is not changed.
fn with_arrays(sql: &str) -> String {
    const LISTS: [&str; 2] = ["SELECT value FROM json_each(", "SELECT CAST(value AS BIGINT) FROM json_each("];
    let mut to = String::with_capacity(sql.len() + 32);
    let mut rest = sql;
    while let Some((before, behind)) = rest.split_once("IN (") {
        let list = LISTS.iter().any(|list| behind.starts_with(list)).then(|| behind.find("))")).flatten();
        let Some((list, behind)) = list.and_then(|end| behind.split_at_checked(end + 2)) else {
            to.extend([before, "IN ("]);
            rest = behind;
            continue;
        };
        match before.strip_suffix("NOT ") {
            Some(before) => to.extend([before, "<> ALL (ARRAY(", list, ")"]),
            None => to.extend([before, "= ANY (ARRAY(", list, ")"]),
        }
        rest = behind;
    }
    to + rest
}

/// The length of a text in quotes; a doubled quote begins another text, with the same effect.
fn quoted(rest: &str) -> usize {
    rest.char_indices().skip(1).find(|(_, c)| *c == '\'').map_or(rest.len(), |(at, _)| at + 1)
}

fn positional(rest: &str, to: &mut Translated) -> usize {
    let digits = rest.bytes().skip(1).take_while(u8::is_ascii_digit).count();
    let number: usize = rest.get(1..=digits).and_then(|digits| digits.parse().ok()).unwrap_or_default();
    if number > 0 {
        to.arity = to.arity.max(number);
        to.sql.push('$');
        to.sql.push_str(&number.to_string());
    }
    1 + digits
}

fn named(rest: &str, to: &mut Translated) -> usize {
    let length = rest.bytes().skip(1).take_while(|c| c.is_ascii_alphanumeric() || *c == b'_').count();
    let name = rest.get(..=length).unwrap_or_default();
    if length == 0 || name.as_bytes().get(1).is_some_and(u8::is_ascii_digit) {
        return 1;
    }
    let at = to.names.iter().position(|known| known == name).unwrap_or_else(|| {
        to.names.push(name.to_owned());
        to.names.len() - 1
    });
    to.sql.push('$');
    to.sql.push_str(&(at + 1).to_string());
    1 + length
}

/// Writes a translated word; returns the rest of the statement.
fn word<'s>(name: &str, behind: &'s str, to: &mut Translated) -> &'s str {
    match name {
        "main" if behind.starts_with('.') => to.sql.push_str("tink_sync"),
        "temp" if behind.starts_with('.') => to.sql.push_str("pg_temp"),
        "INDEXED" => {
            let mut words = behind.trim_start().splitn(3, ' ');
            let (_by, _index) = (words.next(), words.next());
            return words.next().unwrap_or_default();
        }
        view if view.ends_with("_v1") && view != SOURCE => {
            to.sql.push_str(TEXTUAL);
            to.sql.push_str(view);
        }
        other => to.sql.push_str(other),
    }
    behind
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_keeps_its_meaning_in_other_words() {
        for (ours, theirs, names) in [
            ("SELECT a FROM t WHERE b = ?1 AND c = ?12", "SELECT a FROM t WHERE b = $1 AND c = $12", vec![]),
            (
                "UPDATE main.t SET a = :a, b = :b_2 WHERE a <> :a",
                "UPDATE tink_sync.t SET a = $1, b = $2 WHERE a <> $1",
                vec![":a", ":b_2"],
            ),
            ("SELECT ':a ?1 main.t' || 'it''s :b'", "SELECT ':a ?1 main.t' || 'it''s :b'", vec![]),
            ("SELECT x::text FROM temp.p", "SELECT x::text FROM pg_temp.p", vec![]),
            ("SELECT 1 FROM x INDEXED BY x_i WHERE y = :é1", "SELECT 1 FROM x WHERE y = :é1", vec![]),
            (
                "SELECT * FROM runs_v1 r JOIN tink_sync_source_v1",
                "SELECT * FROM ts_text_runs_v1 r JOIN tink_sync_source_v1",
                vec![],
            ),
            ("domain.x temporal.y", "domain.x temporal.y", vec![]),
            (
                "a IN (SELECT value FROM json_each(:a)) AND (b NOT IN (SELECT CAST(value AS BIGINT) FROM json_each(:b)))",
                "a = ANY (ARRAY(SELECT value FROM json_each($1))) AND (b <> ALL (ARRAY(SELECT CAST(value AS BIGINT) FROM json_each($2))))",
                vec![":a", ":b"],
            ),
            ("a IN (SELECT b FROM c) OR a IN (1, 2)", "a IN (SELECT b FROM c) OR a IN (1, 2)", vec![]),
        ] {
            let found = translate(ours);
            assert_eq!(
                (found.sql.as_str(), found.names),
                (theirs, names.into_iter().map(str::to_owned).collect())
            );
        }
        assert_eq!(translate("?3 ?1").arity, 3);
        assert_eq!(translate(":a :b :a").arity, 2);
    }
}
