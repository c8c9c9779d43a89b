//! Reads the source view of an application's PostgreSQL database, on its own read-only connection, closed
//! after one bounded query. Knows nothing else of the application.

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use tokio_postgres::Row as PgRow;
use tokio_postgres::error::DbError;

use super::connect::Target;
use super::explain::explain;
use super::session::Pg;
use super::value::{self, Parameter};
use crate::domain::cause::Cause;
use crate::domain::view::ViewRows;
use crate::store::StoreError;
use crate::store::engine::value::Cell;
use crate::store::engine::{Fail, Row};
use crate::store::source::error::SourceError;
use crate::store::source::row::source_row;
use crate::store::source::view::{LIMITS, ViewLimits, columns, longest, missing, quoted};
use crate::vault::Vault;

const WHAT: &str = "read the source view";

/// The columns of the first of two names that exists: the view's qualified name, and for each column its
/// name, its quoted name, and its type, with domains resolved to their base type. A name without a schema is searched on
/// the role's search path, but never in the schema of a store: that has a view of its own with the usual name, and
/// comes first on the path of a role of that name. A path of nothing but a store's schemas, as packaging/postgres/roles.sql
/// used to set it, names no place of an application: `public` is meant.
const COLUMNS: &str = "
    WITH path (schema, place) AS (
        SELECT * FROM unnest(current_schemas(true)) WITH ORDINALITY
        UNION ALL
        SELECT 'public', 1000 WHERE current_setting('search_path') ~ '^((pg_temp|tink_sync)[, ]*)+$'),
    usable (prefix, place) AS (
        SELECT format('%I.', schema), place FROM path
        WHERE strpos($1, '.') = 0 AND schema <> 'tink_sync' AND NOT starts_with(schema, 'pg_temp_')
            AND has_schema_privilege(to_regnamespace(quote_ident(schema)), 'USAGE')
        UNION ALL
        SELECT '', 0 WHERE strpos($1, '.') > 0),
    named (oid) AS (
        SELECT to_regclass(prefix || name) FROM usable, (VALUES (1, $1), (2, $2)) wanted (turn, name)
        WHERE to_regclass(prefix || name) IS NOT NULL ORDER BY turn, place LIMIT 1)
    SELECT format('%I.%I', n.nspname, c.relname), a.attname, format('%I', a.attname), b.typname, b.typcategory::text
    FROM named
    JOIN pg_catalog.pg_attribute a ON a.attrelid = named.oid
    JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
    JOIN pg_catalog.pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
    WHERE a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attnum";

/// Whether the schema of a store has a view of one of these names.
const IN_STORE: &str = "
    SELECT 1::bigint FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'tink_sync' AND c.relname IN ($1, $2)";

/// Replaces a value that is too long; no id may contain it.
const TOO_LONG: &[u8] = b"\x01";

type Result<T> = std::result::Result<T, SourceError>;

/// A view and how it is read.
struct ServerSource<'a> {
    target: &'a Arc<Target>,
    view: &'a str,
    vault: Option<&'a Vault>,
    now: Timestamp,
    limits: ViewLimits,
}

/// A column of a view.
struct ViewColumn {
    name: String,
    /// Quoted for a statement.
    quoted: String,
    base: String,
    is_number: bool,
}

/// Reads the whole view.
///
/// # Errors
/// As [`crate::store::source::read_view`], without patience.
pub(crate) fn read(
    target: &Arc<Target>,
    view: &str,
    vault: Option<&Vault>,
    now: Timestamp,
) -> Result<ViewRows> {
    ServerSource { target, view, vault, now, limits: LIMITS }.read()
}

/// Whether there is no view or table of this name.
pub(crate) fn is_missing(target: &Arc<Target>, view: &str) -> bool {
    Pg::plain(target).and_then(|pg| found(&pg, view)).is_ok_and(|(_, columns)| columns.is_empty())
}

/// The qualified name and the columns of the view, as written or in lower case; no columns if there is no view.
fn found(pg: &Pg, view: &str) -> std::result::Result<(String, Vec<ViewColumn>), Fail> {
    let (written, usual) = (quoted(view), quoted(&view.to_ascii_lowercase()));
    let names = [Some(written), Some(usual)].map(Parameter::from).into();
    let (mut whole, mut columns) = (String::new(), Vec::new());
    for row in &pg.ask_as_is(COLUMNS, names)?.rows {
        let row = Row::Postgres(row);
        whole = row.get(0)?;
        columns.push(ViewColumn {
            name: row.get(1)?,
            quoted: row.get(2)?,
            base: row.get(3)?,
            is_number: row.get::<String>(4)? == "N",
        });
    }
    Ok((whole, columns))
}

impl ServerSource<'_> {
    fn read(&self) -> Result<ViewRows> {
        let pg = Pg::plain(self.target).map_err(|fail| self.explain(fail))?;
        let end = Instant::now() + self.limits.time;
        // Makes the text of times independent of the role's settings.
        let begin = format!(
            "BEGIN READ ONLY; SET LOCAL statement_timeout = {}; SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO'",
            self.limits.time.as_millis()
        );
        let sql = |fail| self.explain(fail);
        pg.batch_as_is(&begin).map_err(sql)?;
        let (whole, present) = found(&pg, self.view).map_err(sql)?;
        if present.is_empty() {
            return Err(self.absent(&pg));
        }
        let names = self.names(&present)?;
        let columns: Vec<&ViewColumn> = names
            .iter()
            .filter_map(|name| present.iter().find(|column| column.name.eq_ignore_ascii_case(name)))
            .collect();
        let selected: Vec<String> = columns.iter().map(|column| column.bounded()).collect();
        let select = format!("SELECT {} FROM {whole} v", selected.join(", "));
        pg.batch_as_is(&format!("DECLARE ts_source NO SCROLL CURSOR FOR {select}")).map_err(sql)?;
        let (mut rows, mut bytes) = (ViewRows::default(), 0);
        loop {
            let part = pg.ask_as_is("FETCH 500 FROM ts_source", Vec::new()).map_err(sql)?.rows;
            if part.is_empty() {
                // Until the transaction ends, a pooler could not give the server session to anybody else.
                let _ = pg.batch_as_is("ROLLBACK");
                return Ok(rows);
            }
            if Instant::now() >= end {
                return Err(self.unusable(self.limits.too_slow(self.view)));
            }
            for row in &part {
                bytes += (0..columns.len()).map(|at| length(row, at)).sum::<usize>();
                if rows.number() >= self.limits.rows || bytes > self.limits.bytes {
                    return Err(self.unusable(self.limits.too_much(self.view)));
                }
                let value_at = |at: usize| Some(columns.get(at)?.cell(value::cell(row, at).ok()?));
                rows.push(source_row(&names, value_at, self.vault, self.now));
            }
        }
    }

    /// The known columns that the view has.
    fn names(&self, present: &[ViewColumn]) -> Result<Vec<&'static str>> {
        let present: Vec<&str> = present.iter().map(|column| column.name.as_str()).collect();
        columns(self.view, &present).map_err(|detail| self.wrong(detail, None))
    }

    /// There is no view of this name, or only a store's own, which nobody means by that name alone.
    fn absent(&self, pg: &Pg) -> SourceError {
        let view = self.view;
        let names = [view.to_owned(), view.to_ascii_lowercase()].map(Parameter::Text).into();
        match pg.ask_as_is(IN_STORE, names) {
            Ok(found) if found.rows.is_empty() => {
                let said = format!("there is no view {view} that this role may look for");
                self.wrong(missing(view, &said), None)
            }
            Ok(_) => {
                let said = format!(
                    "there is no view {view} outside the store's schema (for the one in it: source.view = \"tink_sync.{view}\")"
                );
                self.wrong(missing(view, &said), None)
            }
            Err(fail) => self.explain(fail),
        }
    }

    fn wrong(&self, detail: String, source: Option<Cause>) -> SourceError {
        SourceError::View { path: self.target.url().to_owned(), detail, source }
    }

    fn unusable(&self, detail: String) -> SourceError {
        let path = self.target.url().to_owned();
        SourceError::Store(StoreError::Unusable { what: WHAT, path, detail, source: None })
    }

    fn explain(&self, fail: Fail) -> SourceError {
        let view = self.view;
        if let Fail::Postgres(error) = &fail
            && let Some(said) = error.as_db_error()
        {
            let code = said.code().code();
            match code {
                "57014" => return self.unusable(self.limits.too_slow(view)),
                // The server's own name for this place, whatever language it speaks.
                "42501" if said.routine() == Some("check_enable_rls") => {
                    let detail = format!(
                        "{}: row_security is off for this role; ALTER ROLE or ALTER DATABASE … RESET row_security, and a policy that shows it all rows",
                        said.message()
                    );
                    return self.wrong(detail, None);
                }
                "42501" => {
                    let detail = format!(
                        "{}: GRANT SELECT ON {view}, and USAGE on its schema, to this role",
                        said.message()
                    );
                    return self.wrong(detail, None);
                }
                "25006" => {
                    return self.wrong(format!("the view {view} does not work: it changes something"), None);
                }
                _ if is_of_view(code) => {
                    return self.wrong(format!("the view {view} does not work: {}", told(said)), None);
                }
                _ => {}
            }
        }
        explain(WHAT, self.target, fail).into()
    }
}

/// Whether the error is in the view's statement and not in the server: values, names, limits, functions of
/// the application.
fn is_of_view(code: &str) -> bool {
    ["21", "22", "2F", "38", "39", "42", "44", "54", "P0"].iter().any(|class| code.starts_with(class))
}

/// The server's message about a view. Only those about names (class 42) contain no value of a row.
fn told(error: &DbError) -> String {
    let code = error.code().code();
    if code.starts_with("42") { format!("{} ({code})", error.message()) } else { format!("error {code}") }
}

impl ViewColumn {
    /// The SQL for the column: as text, whatever its type. A value that is too long is not sent.
    fn bounded(&self) -> String {
        let (column, most) = (format!("v.{}", self.quoted), longest(&self.name.to_ascii_lowercase()));
        match self.base.as_str() {
            "bytea" => {
                format!("CASE WHEN octet_length({column}) > {most} THEN ''::bytea ELSE {column}::bytea END")
            }
            // Beyond the end of the calendar, `infinity` included.
            "date" | "timestamp" | "timestamptz" => {
                format!("CASE WHEN {column} >= '9999-12-30' THEN '9999-12-31' ELSE {column}::text END")
            }
            _ => {
                format!("CASE WHEN octet_length({column}::text) > {most} THEN chr(1) ELSE {column}::text END")
            }
        }
    }

    /// The value of a cell; a number's text becomes a number.
    fn cell<'a>(&self, cell: Cell<'a>) -> Cell<'a> {
        let Cell::Text(text) = cell else { return cell };
        if text == TOO_LONG {
            return Cell::Bytes(b"");
        }
        let Some(number) = std::str::from_utf8(text).ok().filter(|_| self.is_number) else { return cell };
        match number.parse() {
            Ok(number) => Cell::Int(number),
            // An id with many digits.
            Err(_) if text.iter().all(u8::is_ascii_digit) => cell,
            Err(_) => number.parse().map_or(cell, Cell::Real),
        }
    }
}

fn length(row: &PgRow, at: usize) -> usize {
    match value::cell(row, at) {
        Ok(Cell::Text(bytes) | Cell::Bytes(bytes)) => bytes.len(),
        _ => 8,
    }
}

#[cfg(test)]
mod tests;
