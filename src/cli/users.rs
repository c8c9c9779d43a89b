//! `tink-sync users`: which users of the stand-alone store may be synced. Where an application provides its
//! own view, it decides entitlement, and nothing is edited here.

use std::fmt::Write as _;

use clap::ValueEnum;
use jiff::Timestamp;
use serde::Serialize;

use super::actor::{Actor, ActorArgs};
use super::connections::only_stand_alone;
use super::table::{self, TableLine, Tone};
use super::{Environment, Failure};
use crate::domain::ids::{USABLE, is_usable};
use crate::exit::Exit;
use crate::observe::report::Format;
use crate::store::source::{is_never, parse_time};
use crate::store::{AuditRow, Writer, stand_alone::OwnUser};

/// Arguments of `users`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tink-sync users list\n  tink-sync users set u-1 --entitled no          pause this user's connections"
)]
pub struct Args {
    /// What to do
    #[command(subcommand)]
    pub action: UsersAction,
}

/// What can be done with users.
#[derive(Debug, clap::Subcommand)]
pub enum UsersAction {
    /// List every user with the entitlement
    #[command(after_help = "Examples:\n  tink-sync users list\n  tink-sync users list --format json")]
    List {
        /// Form of the output
        #[arg(long, value_enum, default_value_t = Format::Human)]
        format: Format,
    },
    /// Set whether bank sync is part of a user's plan
    #[command(
        after_help = "Examples:\n  tink-sync users set u-1 --entitled yes\n  tink-sync users set u-1 --entitled yes --entitled-until 2027-01-01\n  tink-sync users set u-1 --entitled no"
    )]
    Set {
        /// The user
        id: String,
        /// Whether the plan includes bank sync
        #[arg(long, value_enum)]
        entitled: YesNo,
        /// Until when: 2027-01-01 (the first moment of that day, UTC) or 2027-01-01T12:00:00+01:00
        #[arg(long, value_name = "WHEN", value_parser = time)]
        entitled_until: Option<Timestamp>,
        /// On whose behalf.
        #[command(flatten)]
        who: ActorArgs,
    },
}

/// Yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum YesNo {
    /// Yes.
    Yes,
    /// No.
    No,
}

/// Lists users or sets an entitlement.
///
/// # Errors
/// [`Failure`] if the store cannot be used or the request is invalid.
pub(super) fn run(env: &Environment, args: Args) -> Result<Exit, Failure> {
    match args.action {
        UsersAction::List { format } => list(env, format)?,
        UsersAction::Set { id, entitled, entitled_until, who } => {
            table::print(&set(env, &id, entitled == YesNo::Yes, entitled_until, &who)?)?;
        }
    }
    Ok(Exit::Success)
}

fn time(text: &str) -> Result<Timestamp, String> {
    parse_time(text.trim())
        .ok_or_else(|| "expected a date such as 2027-01-01 or a time such as 2027-01-01T12:00:00Z".to_owned())
}

fn list(env: &Environment, format: Format) -> Result<(), Failure> {
    only_stand_alone(env)?;
    let users = env.reader_if_there()?.map(|reader| reader.users()).transpose()?.unwrap_or_default();
    let now = env.clock.now();
    if format == Format::Json {
        let users = users.iter().map(|user| UserJson {
            user_id: &user.user_id,
            entitled: user.entitled,
            entitled_until: user.entitled_until.as_deref(),
            entitled_now: is_entitled(user, now),
            connections: user.connections,
        });
        return table::print_json(&UsersJson { schema: 1, users: users.collect() });
    }
    table::print(&listing(&users, now, env.color))
}

#[derive(Serialize)]
struct UsersJson<'a> {
    schema: u8,
    users: Vec<UserJson<'a>>,
}

#[derive(Serialize)]
struct UserJson<'a> {
    user_id: &'a str,
    entitled: bool,
    entitled_until: Option<&'a str>,
    entitled_now: bool,
    connections: i64,
}

fn listing(users: &[OwnUser], now: Timestamp, color: bool) -> String {
    if users.is_empty() {
        return "No users yet: tink-sync connect --user ID links a bank and makes the user.\n".to_owned();
    }
    let line = |user: &OwnUser| TableLine {
        cells: vec![
            user.user_id.clone(),
            if is_entitled(user, now) { "yes" } else { "no" }.to_owned(),
            user.entitled_until.clone().unwrap_or_else(|| "-".to_owned()),
            user.connections.to_string(),
        ],
        notes: Vec::new(),
        tone: if is_entitled(user, now) { Tone::Plain } else { Tone::Faint },
    };
    let lines: Vec<TableLine> = users.iter().map(line).collect();
    table::table(&["USER", "ENTITLED", "UNTIL", "CONNECTIONS"], &lines, color)
}

/// An end that has passed or cannot be parsed ends the entitlement.
pub(super) fn is_entitled(user: &OwnUser, now: Timestamp) -> bool {
    let until = user.entitled_until.as_deref().map(parse_time);
    user.entitled && until.is_none_or(|until| until.is_some_and(|until| until > now))
}

fn set(
    env: &Environment,
    id: &str,
    entitled: bool,
    until: Option<Timestamp>,
    who: &ActorArgs,
) -> Result<String, Failure> {
    only_stand_alone(env)?;
    if !is_usable(id) {
        return Err(Failure::Usage(format!("the user's id must be {USABLE}")));
    }
    if !entitled && until.is_some() {
        return Err(Failure::Usage("--entitled-until goes with --entitled yes only".to_owned()));
    }
    let now = env.clock.now();
    let mut tables = Writer::open(env.place(), now)?;
    let until = until.filter(|until| !is_never(*until));
    let written = until.map(|until| until.to_string());
    let details = match &written {
        Some(until) => format!("entitled until {until}"),
        None => if entitled { "entitled" } else { "not entitled" }.to_owned(),
    };
    let actor = Actor::of(env, who);
    let audit = AuditRow { user_id: Some(id), details: Some(&details), ..actor.row(now, "users.set") };
    tables.set_user(id, entitled, written.as_deref(), &audit)?;
    let users = env.reader()?.users()?;
    let connections = users.iter().find(|user| user.user_id == id).map_or(0, |user| user.connections);
    Ok(result(id, entitled, until, now, connections))
}

fn result(id: &str, entitled: bool, until: Option<Timestamp>, now: Timestamp, connections: i64) -> String {
    let mut text = match until {
        _ if !entitled => {
            format!("User {id} is not entitled: runs leave the connections alone, their data stays.\n")
        }
        Some(until) if until <= now => format!("User {id} is not entitled: {until} is in the past.\n"),
        Some(until) => format!("User {id} is entitled until {until}.\n"),
        None => format!("User {id} is entitled.\n"),
    };
    if connections == 0 {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "The user has no connections yet: tink-sync connect --user {id}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fixture::Fixture;

    #[test]
    fn a_date_is_its_first_moment() {
        assert_eq!(time("2027-01-01").unwrap().to_string(), "2027-01-01T00:00:00Z");
        assert_eq!(time("2027-01-01T12:00:00+01:00").unwrap().to_string(), "2027-01-01T11:00:00Z");
        assert!(time("soon").is_err());
    }

    #[test]
    fn an_entitlement_is_set_shown_and_audited() {
        let fixture = Fixture::new();
        let env = fixture.env();
        let until = Some("2027-01-01T00:00:00Z".parse().unwrap());
        let said = set(&env, "u-1", true, until, &ActorArgs::default()).unwrap();
        assert!(
            said.starts_with(
                "User u-1 is entitled until 2027-01-01T00:00:00Z.\nThe user has no connections yet"
            ),
            "{said}"
        );
        set(&env, "u-2", false, None, &ActorArgs::default()).unwrap();
        let users = env.reader().unwrap().users().unwrap();
        let text = listing(&users, env.clock.now(), false);
        assert_eq!(
            text,
            "USER  ENTITLED  UNTIL                 CONNECTIONS\nu-1   yes       2027-01-01T00:00:00Z  0\nu-2   no        -                     0\n"
        );
        assert_eq!(
            fixture.audited(),
            ["users.set - u-1 entitled until 2027-01-01T00:00:00Z", "users.set - u-2 not entitled"]
        );
    }

    #[test]
    fn an_entitlement_in_the_past_is_none() {
        let fixture = Fixture::new();
        let past = Some("2020-01-01T00:00:00Z".parse().unwrap());
        assert!(set(&fixture.env(), "u", true, past, &ActorArgs::default()).unwrap().contains("in the past"));
        assert!(matches!(
            set(&fixture.env(), "u", false, past, &ActorArgs::default()),
            Err(Failure::Usage(_))
        ));
    }

    #[test]
    fn where_the_application_decides_nothing_is_set() {
        let fixture = Fixture::with("[source]\nview = \"app_view\"\n");
        assert!(
            matches!(set(&fixture.env(), "u", true, None, &ActorArgs::default()), Err(Failure::Usage(text)) if text.contains("app_view"))
        );
        assert!(!fixture.path("store.db").exists());
    }
}
