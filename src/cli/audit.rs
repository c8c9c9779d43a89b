//! `tink-sync audit`: who did what to connections and users, newest first. Reads only.

use jiff::{SignedDuration, Timestamp};

use super::table::{self, TableLine};
use super::{Environment, Failure};
use crate::exit::Exit;
use crate::observe::report::Format;
use crate::store::Reader;
use crate::store::reads::{AuditQuery, Audited};
use crate::store::source::parse_time;

/// The default limit of the table; JSON has none.
const SHOWN: u32 = 50;

/// The actions that this release records.
const ACTIONS: [&str; 19] = [
    "app.accepted",
    "balance.accepted",
    "change.accepted",
    "connection.created",
    "connection.disabled",
    "connection.enabled",
    "connection.forgotten",
    "connection.imported",
    "connection.linked",
    "connection.renewed",
    "connection.unmatched_accepted",
    "connection.user_accepted",
    "quarantine.dropped",
    "quarantine.retried",
    "store.migrated",
    "sync.requested",
    "token.refresh_failed",
    "token.refreshed",
    "users.set",
];

/// Arguments of `audit`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tink-sync audit                                   the last 50 acts\n  tink-sync audit --connection c-17 --since 30d\n  tink-sync audit --user u-17 --since 2026-01-01 --until 2026-02-01\n  tink-sync audit --action connection.forgotten --format json\n\nSyncs that nobody asked for are not acts: tink-sync status and why tell of them."
)]
pub struct Args {
    /// Only acts on this user
    #[arg(long, value_name = "ID")]
    pub user: Option<String>,
    /// Only acts on this connection
    #[arg(long, value_name = "ID")]
    pub connection: Option<String>,
    /// Not before: 7d (ago), 2026-01-01 or 2026-01-01T12:00:00Z
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub since: Option<Moment>,
    /// Before: 7d (ago), 2026-01-01 (the first moment of that day, UTC) or a time
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub until: Option<Moment>,
    /// Only this kind of act, such as connection.forgotten
    #[arg(long, value_name = "ACTION")]
    pub action: Option<String>,
    /// At most this many, the newest [default: 50; as JSON all]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,
    /// Form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

/// A time, or a duration before now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    At(Timestamp),
    Ago(SignedDuration),
}

impl Moment {
    fn before(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(time) => time,
            Self::Ago(duration) => now.saturating_sub(duration).unwrap_or(Timestamp::MIN),
        }
    }
}

fn moment(text: &str) -> Result<Moment, String> {
    let ago = humantime::parse_duration(text).ok().and_then(|ago| SignedDuration::try_from(ago).ok());
    ago.map(Moment::Ago).or_else(|| parse_time(text.trim()).map(Moment::At)).ok_or_else(|| {
        "expected a duration such as 7d, a date such as 2026-01-01 or a time such as 2026-01-01T12:00:00Z"
            .to_owned()
    })
}

pub(super) fn run(env: &Environment, args: &Args) -> Result<Exit, Failure> {
    let now = env.clock.now();
    let since = args.since.map(|moment| moment.before(now));
    let until = args.until.map(|moment| moment.before(now));
    if let (Some(since), Some(until)) = (since, until)
        && since >= until
    {
        return Err(Failure::Usage(format!("--since {since} is not before --until {until}")));
    }
    let limit = args.limit.or((args.format == Format::Human).then_some(SHOWN));
    let query = AuditQuery {
        user_id: args.user.clone(),
        connection_id: args.connection.clone(),
        since,
        until,
        action: args.action.clone(),
        // One row more shows whether there are more.
        limit: limit.map(|limit| limit.saturating_add(1)),
    };
    let reader = env.reader_if_there()?;
    let acts = reader.as_ref().map(Reader::audited_actions).transpose()?.unwrap_or_default();
    is_known(args.action.as_deref(), &acts)?;
    let mut rows = reader.as_ref().map(|reader| reader.audit(&query)).transpose()?.unwrap_or_default();
    let is_cut = limit.is_some_and(|limit| rows.len() > limit as usize);
    rows.truncate(limit.map_or(usize::MAX, |limit| limit as usize));
    match args.format {
        Format::Human if rows.is_empty() && reader.is_none() => table::print(&table::no_store(env.place()))?,
        Format::Human if rows.is_empty() => table::print(nothing(&acts))?,
        Format::Human => table::print(&listing(&rows, is_cut, env.color))?,
        Format::Json => rows.iter().try_for_each(table::print_json)?,
    }
    Ok(Exit::Success)
}

/// Fails for an act that neither this release records nor an older one has: a mistyped one would be taken for one
/// that nobody did.
fn is_known(action: Option<&str>, acts: &[String]) -> Result<(), Failure> {
    match action {
        Some(action) if !ACTIONS.contains(&action) && !acts.iter().any(|act| act == action) => {
            let mut known: Vec<&str> = acts.iter().map(String::as_str).chain(ACTIONS).collect();
            known.sort_unstable();
            known.dedup();
            Err(Failure::Usage(format!("there is no act {action}; known acts: {}", known.join(", "))))
        }
        _ => Ok(()),
    }
}

/// The text for an empty answer.
const fn nothing(acts: &[String]) -> &'static str {
    if acts.is_empty() {
        "The audit log is empty: nobody has asked for anything yet.\n"
    } else {
        "No act matches.\n"
    }
}

fn listing(rows: &[Audited], is_cut: bool, color: bool) -> String {
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let line = |row: &Audited| {
        let from = row.ip.as_ref().map(|ip| format!("from {ip}"));
        let result = (row.result != "ok").then(|| row.result.clone());
        let notes = [from, result, row.details.clone()].into_iter().flatten();
        let notes = notes.collect::<Vec<_>>().join("; ");
        TableLine {
            cells: vec![
                row.at.get(..16).unwrap_or(&row.at).replace('T', " "),
                row.action.clone(),
                or_dash(&row.connection_id),
                or_dash(&row.user_id),
                or_dash(&row.actor),
            ],
            notes: if notes.is_empty() { Vec::new() } else { vec![notes] },
            ..TableLine::default()
        }
    };
    let lines: Vec<TableLine> = rows.iter().map(line).collect();
    let mut text = table::table(&["AT (UTC)", "ACTION", "CONNECTION", "USER", "WHO"], &lines, color);
    if is_cut {
        text.push_str("There are older ones: --limit shows more.\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_a_date_or_so_long_ago() {
        let now: Timestamp = "2026-06-08T12:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("7d", "2026-06-01T12:00:00Z"),
            ("90m", "2026-06-08T10:30:00Z"),
            ("2026-01-02", "2026-01-02T00:00:00Z"),
            ("2026-01-02T12:00:00+01:00", "2026-01-02T11:00:00Z"),
        ] {
            assert_eq!(moment(text).unwrap().before(now).to_string(), expected, "{text}");
        }
        assert!(moment("").is_err() && moment("yesterday").is_err());
    }

    #[test]
    fn every_known_act_is_written_somewhere_and_every_written_one_is_known() {
        let mut sources = String::new();
        let mut folders = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if !path.ends_with("cli/audit.rs") {
                    sources.push_str(&std::fs::read_to_string(path).unwrap());
                }
            }
        }
        for action in ACTIONS {
            assert!(sources.contains(&format!("\"{action}\"")), "{action}");
        }
        let writes =
            |line: &&str| ["audit(db,", ".row(", "action = ", "action: \""].iter().any(|w| line.contains(w));
        for line in sources.lines().filter(writes) {
            for text in line.split('"').skip(1).step_by(2) {
                let is_act = text.split_once('.').is_some_and(|(of, what)| {
                    [of, what]
                        .iter()
                        .all(|w| w.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') && !w.is_empty())
                });
                assert!(!is_act || ACTIONS.contains(&text), "{line}");
            }
        }
    }

    #[test]
    fn a_line_tells_who_and_from_where_and_fits_a_terminal() {
        let row = Audited {
            at: "2026-06-01T12:00:00.000Z".to_owned(),
            actor: Some("jane@example.com".to_owned()),
            ip: Some("203.0.113.7".to_owned()),
            action: "sync.requested".to_owned(),
            connection_id: Some("c-17".to_owned()),
            user_id: None,
            result: "ok".to_owned(),
            details: Some("20260601T120000Z-00000001".to_owned()),
            run_id: Some("20260601T120000Z-00000001".to_owned()),
        };
        let text = listing(&[row], true, false);
        assert_eq!(
            text,
            "AT (UTC)          ACTION          CONNECTION  USER  WHO\n\
             2026-06-01 12:00  sync.requested  c-17        -     jane@example.com\n  \
             from 203.0.113.7; 20260601T120000Z-00000001\n\
             There are older ones: --limit shows more.\n"
        );
    }
}
