//! The checks of the connections: the source view, its rows, and the number of each kind. Only reads.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::Finding;
use super::store::failed;
use crate::cli::connections::{self, naming};
use crate::cli::table::{count, exact, span};
use crate::cli::{Environment, Failure, remedy};
use crate::domain::connection::TinkUser;
use crate::domain::population::Fall;
use crate::store::Reader;
use crate::store::reads::{KnownConnection, Overlaid, State};

/// The most problems with rows that are reported one by one.
const TOLD: usize = 10;

/// The source view and its contents, beside a store that is `sound` or not; also a Tink user to try Tink
/// with, and the id of its connection.
pub(super) fn findings(
    env: &Environment,
    sound: bool,
    reader: Option<&Reader>,
) -> (Vec<Finding>, Option<(String, TinkUser)>) {
    let stand_alone = env.settings.source.view.is_none();
    if stand_alone && !sound {
        return (vec![Finding::skip("connections", "not counted, because of the store")], None);
    }
    // A `sound` store was readable a moment ago.
    if stand_alone && !env.place().is_there().unwrap_or(true) {
        let text = "none yet; connections come from tink-sync connections add";
        return (vec![Finding::ok("connections", text)], None);
    }
    // If the store cannot be read, every connection counts as never synced.
    let overlaid = match reader {
        Some(reader) => connections::overlaid_on(env, reader),
        None if sound => connections::overlaid(env),
        None => connections::as_if_new(env),
    };
    let Overlaid { connections: all, fall, .. } = match overlaid {
        Ok(overlaid) => overlaid,
        Err(failure) => return (vec![unreadable(&failure, env)], None),
    };
    let mut findings = Vec::new();
    if let Some(view) = &env.settings.source.view {
        findings.push(Finding::ok("source view", format!("{view} is readable and has the columns needed")));
    }
    findings.extend(fall.as_ref().map(fallen));
    findings.extend(counts(&all, env.clock.now(), stand_alone));
    findings.extend(data(&all, env.settings.sync.stale_after, env.clock.now()));
    (findings, someone(&all, env.clock.now()))
}

fn fallen(fall: &Fall) -> Finding {
    let remedy = "correct the view; if that is right: tink-sync connections accept-change";
    Finding::warn("connections", fall.sentence(), remedy)
}

/// The view cannot be read, or what a pass would make of it cannot be told.
fn unreadable(failure: &Failure, env: &Environment) -> Finding {
    let is_of_the_store = matches!(failure, Failure::Store(_));
    let finding = failed(if is_of_the_store { "connections" } else { "source view" }, failure);
    if finding.remedy.is_some() {
        return finding;
    }
    if is_of_the_store {
        return finding
            .remedy("the store could not be asked, whatever the view lists: see the log of its database");
    }
    let place = env.settings.source.database.as_ref().map_or("store.url", |_| "source.database");
    finding.remedy(format!(
        "compare source.view and {place} with the application, README: \"Connect your application\""
    ))
}

fn counts(all: &[KnownConnection], now: Timestamp, stand_alone: bool) -> Vec<Finding> {
    if all.is_empty() {
        let remedy = if stand_alone {
            "tink-sync connect --user ID links a bank; a user who is at Tink already: tink-sync connections add --help"
        } else {
            "add them in the application; its view gives no row"
        };
        return vec![Finding::warn("connections", "none", remedy)];
    }
    let number = |is: &dyn Fn(&KnownConnection) -> bool| all.iter().filter(|c| is(c)).count();
    let active = number(&|c| c.is_active(now));
    let others = [
        (number(&|c| c.state(now) == State::NeedsUser), "waiting for their user"),
        (number(&|c| c.state(now) == State::Paused), "not entitled"),
        (number(&|c| !c.enabled), "disabled"),
    ];
    let others = others.iter().filter(|(number, _)| *number > 0);
    let others: Vec<String> = others.map(|(number, kind)| format!(", {number} {kind}")).collect();
    let due = number(&|c| c.skipped.is_none());
    let text = format!(
        "{} in all: {active} enabled and entitled{}; about {due} due now",
        all.len(),
        others.concat()
    );
    let mut findings = vec![if active > 0 {
        Finding::ok("connections", text)
    } else if stand_alone {
        Finding::warn(
            "connections",
            text,
            "nothing will be synced: tink-sync users set ID --entitled yes, tink-sync connections enable ID",
        )
    } else {
        Finding::warn(
            "connections",
            text,
            "nothing will be synced: look at the columns enabled and entitled of the view; true is 1, true, t or yes",
        )
    }];
    findings.extend(unusable(all));
    let mut unreadable = all.iter().filter(|connection| connection.until_unreadable);
    if let Some(first) = unreadable.next() {
        let text = remedy::until_unreadable_text(1 + unreadable.count(), &first.connection_id);
        findings.push(Finding::warn("connections", text, remedy::TIMES));
    }
    findings
}

/// The rows that cannot be used, grouped by problem.
fn unusable(all: &[KnownConnection]) -> Vec<Finding> {
    let mut troubles: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for connection in all {
        if let Some(problem) = &connection.problem {
            troubles.entry(problem).or_default().push(&connection.connection_id);
        }
    }
    let more: usize = troubles.values().skip(TOLD).map(Vec::len).sum();
    let finding = |(problem, ids): (&str, Vec<&str>)| {
        let rows = count(ids.len(), "row");
        // A row without a usable id cannot be named.
        let named = if ids == [""] { String::new() } else { format!("{}: ", naming(ids.into_iter())) };
        let (problem, remedy) = remedy::of_row(problem);
        let text = format!("{rows} of the source view cannot be used: {named}{problem}");
        Finding::warn("connections", text, remedy)
    };
    let mut findings: Vec<Finding> = troubles.into_iter().take(TOLD).map(finding).collect();
    if more > 0 {
        let text = format!("{} of the source view cannot be used", count(more, "more row"));
        findings.push(Finding::warn(
            "connections",
            text,
            "tink-sync status lists the connections with their problems",
        ));
    }
    findings
}

/// The age of Tink's own data of the connections that should be fresh.
fn data(all: &[KnownConnection], limit: Duration, now: Timestamp) -> Option<Finding> {
    let what = "Tink's data";
    let known = all.iter().filter(|c| c.is_served(now)).filter_map(|c| Some((c.data_age(now)?, c)));
    let (oldest, first) = known.clone().max_by_key(|(age, _)| *age)?;
    let text = format!("the oldest came from its bank {} ago", span(oldest));
    let limit_signed = SignedDuration::try_from(limit).unwrap_or(SignedDuration::MAX);
    let mut old: Vec<(SignedDuration, &KnownConnection)> =
        known.filter(|(age, _)| *age > limit_signed).collect();
    if old.is_empty() {
        return Some(Finding::ok(what, text));
    }
    old.sort_by_key(|(age, _)| Reverse(*age));
    let named = naming(old.iter().map(|(_, c)| c.connection_id.as_str()));
    let number = count(old.len(), "connection");
    let text = format!("{text}; older than sync.stale_after ({}): {number}, {named}", exact(limit));
    Some(Finding::warn(what, text, format!("tink-sync why {}", first.connection_id)))
}

/// A user to try Tink with, preferably one that worked before.
fn someone(all: &[KnownConnection], now: Timestamp) -> Option<(String, TinkUser)> {
    let usable = all.iter().filter(|c| c.is_active(now) && c.problem.is_none() && c.tink_user.is_some());
    let best = usable.max_by_key(|c| (c.needs_user.is_none(), c.last_success_at))?;
    Some((best.connection_id.clone(), best.tink_user.clone()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rows_beyond_the_problems_told_one_by_one_are_counted() {
        let row = |problem: usize| KnownConnection {
            problem: Some(format!("problem {problem:02}")),
            ..KnownConnection::default()
        };
        let last = |more: usize| {
            let all: Vec<KnownConnection> = (0..TOLD).chain((0..more).map(|_| TOLD)).map(row).collect();
            unusable(&all).last().unwrap().text.clone()
        };
        assert_eq!(last(1), "1 more row of the source view cannot be used");
        assert_eq!(last(5), "5 more rows of the source view cannot be used");
    }
}
