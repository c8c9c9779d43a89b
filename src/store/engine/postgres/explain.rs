//! Translates failures into user-facing errors that name what the operator has to do. Omits the server's
//! detail, and its message about values, which may contain bound values.

use tokio_postgres::error::DbError;

use super::connect::Target;
use crate::domain::cause::Cause;
use crate::store::StoreError;
use crate::store::engine::Fail;

/// What the program itself can do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// Another transaction was in the way: the same work may succeed if it is repeated at once.
    Again,
    /// The server is away or not ready: reconnect and try again after a while.
    Reconnect,
    /// Nothing.
    None,
}

pub(crate) fn remedy(fail: &Fail) -> Remedy {
    match fail {
        Fail::Connect(error) if error.is_transient() => Remedy::Reconnect,
        Fail::NoAnswer => Remedy::Reconnect,
        Fail::Blocked(_) => Remedy::Again,
        Fail::Postgres(error) => match error.as_db_error().map(DbError::code) {
            None => Remedy::Reconnect,
            Some(code) => match code.code() {
                "40001" | "40P01" | "55P03" | "TS003" => Remedy::Again,
                // A table has gained a column since the statement was prepared.
                "0A000"
                    if error.as_db_error().and_then(DbError::routine) == Some("RevalidateCachedQuery") =>
                {
                    Remedy::Again
                }
                "57P01" | "57P02" | "57P03" | "25006" | "25P03" | "53300" => Remedy::Reconnect,
                code if code.starts_with("08") => Remedy::Reconnect,
                _ => Remedy::None,
            },
        },
        _ => Remedy::None,
    }
}

/// Turns a failure into an error that names the step and the database.
pub(crate) fn explain(what: &'static str, target: &Target, fail: Fail) -> StoreError {
    let place = target.url().to_owned();
    let is_transient = remedy(&fail) != Remedy::None;
    match fail {
        Fail::Connect(error) if is_transient => StoreError::Unavailable {
            what,
            place,
            detail: error.to_string(),
            source: Some(Cause::of(*error)),
        },
        Fail::Connect(error) => {
            let (detail, is_local) = (error.to_string(), error.is_local());
            let source = Some(Cause::of(*error));
            if is_local {
                StoreError::Setting { what, place, detail, source }
            } else {
                StoreError::Unusable { what, path: place, detail, source }
            }
        }
        Fail::Postgres(error) => match error.as_db_error() {
            Some(refused) => of_server(what, place, refused, is_transient),
            None => StoreError::Unavailable {
                what,
                place,
                detail: format!("the session with the server ended: {error}; see the server's log"),
                source: None,
            },
        },
        Fail::CommitUnknown(error) => StoreError::CommitUnknown {
            what,
            place,
            detail: format!(
                "the session ended in a commit ({error}), and nobody knows if it was kept; the next attempt reads again"
            ),
            source: error,
        },
        Fail::NoAnswer => StoreError::Unavailable {
            what,
            place,
            detail: "the server did not answer for five minutes: look at pg_stat_activity there".to_owned(),
            source: None,
        },
        Fail::Blocked(sessions) => StoreError::Unavailable {
            what,
            place,
            detail: format!(
                "this release changes tables and views, which others use for too long: {sessions}; let them end (or SELECT pg_terminate_backend(PID)), and repeat this"
            ),
            source: None,
        },
        Fail::RunOver => StoreError::Unavailable {
            what,
            place,
            detail: "this run was not heard of for four minutes (a frozen machine, a cut link), and others have taken over its connections; the next run goes on".to_owned(),
            source: None,
        },
        fail => fail.explain(what, place),
    }
}

/// Classifies what the server refused by what the operator has to do about it.
fn of_server(what: &'static str, place: String, error: &DbError, is_transient: bool) -> StoreError {
    let said = said(error);
    if is_transient {
        return StoreError::Unavailable { what, place, detail: said, source: None };
    }
    let hint = match error.code().code() {
        "42501" => "grant it as packaging/postgres/roles.sql does; `tink-sync check` names what is missing",
        "53100" => "the server's disk is full: make room, then run again; nothing half-written was kept",
        "53200" => "the server is out of memory",
        "XX001" | "XX002" => "the server's data are damaged: stop the timer and restore a backup",
        "57014" => "the server ended the statement: see statement_timeout of the role",
        _ => return StoreError::Sql { what, detail: format!("{place}: {said}"), source: None },
    };
    StoreError::Unusable { what, path: place, detail: format!("{said}; {hint}"), source: None }
}

/// What the server said. Its messages about data and constraints (classes 22 and 23) may quote a value, such as
/// an amount or a text of a transaction: of these, only the code and the names.
fn said(error: &DbError) -> String {
    let code = error.code().code();
    if !["22", "23"].iter().any(|class| code.starts_with(class)) {
        return format!("{} ({code})", error.message());
    }
    let names = [
        ("table", error.table()),
        ("column", error.column()),
        ("type", error.datatype()),
        ("constraint", error.constraint()),
    ];
    let names = names.into_iter().filter_map(|(what, name)| Some(format!(", {what} {}", name?)));
    format!("the server refuses a value (SQLSTATE {code}{})", names.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::engine::postgres::session::Pg;
    use crate::store::engine::postgres::tests::server::Server;
    use crate::store::engine::values;

    #[test]
    fn no_bound_value_is_shown_and_what_refused_it_is_named() {
        let target =
            std::sync::Arc::new(Target::parse(&Server::shared().fresh_database(), &|_| None).unwrap());
        let pg = Pg::connect(&target).unwrap();
        pg.batch_as_is("CREATE TABLE public.kept (name text, CONSTRAINT once UNIQUE (name))").unwrap();
        pg.batch_as_is("INSERT INTO public.kept VALUES ('Jane')").unwrap();
        for (sql, code) in [
            ("SELECT CAST(CAST(?1 AS text) AS numeric)", "22P02"),
            ("SELECT CAST(CAST(?1 AS text) AS date)", "22007"),
            ("INSERT INTO public.kept VALUES (?1)", "23505, table kept, constraint once"),
        ] {
            let fail = pg.ask(sql, values!["Jane"]).unwrap_err();
            let shown = explain("write", &target, fail).to_string();
            assert!(shown.contains(code) && !shown.contains("Jane"), "{sql}: {shown}");
        }
        let fail = pg.batch_as_is("SELECT no_such_column").unwrap_err();
        assert!(explain("write", &target, fail).to_string().contains("no_such_column"));
    }
}
