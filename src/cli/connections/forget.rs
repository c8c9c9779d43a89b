//! `tink-sync connections forget`: erases connections here, and with `--at-tink` their users at Tink. Asks
//! for confirmation. Tink comes first: while a user may still exist there, its id must stay known here.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::io::{self, BufRead, IsTerminal as _};

use super::{naming, overlaid, viewed};
use crate::cli::actor::{Actor, ActorArgs};
use crate::cli::connections::add::read_file;
use crate::cli::{Environment, Failure, app, client, table};
use crate::domain::connection::TinkUser;
use crate::domain::ids::{ConnectionId, shown};
use crate::observe::spool::Spool;
use crate::store::StoreError;
use crate::store::forget::HeldData;
use crate::store::reads::KnownConnection;
use crate::store::{AuditRow, Writer};
use crate::store::{Place, Reader};
use crate::tink::{self, Deletion};

/// The audit log's text for a user that was deleted at Tink.
const DELETED: &str = "deleted at Tink";

/// Arguments of `connections forget`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tink-sync connections forget c-17 --dry-run     what would go?\n  tink-sync connections forget c-17               asks first\n  tink-sync connections forget c-17 --at-tink     and the user at Tink\n  tink-sync connections forget c-17 --yes --actor jane --ip 203.0.113.7\n  tink-sync connections forget --file ids.txt --yes   ids that cannot be typed\n\nWhat goes: transactions, accounts, consents, original JSON, quarantine, tokens,\nrun history, events for hooks. What stays: the audit log, which holds ids only,\nand the journal."
)]
#[group(skip)]
pub struct Args {
    /// The connections
    #[arg(value_name = "ID", required_unless_present = "file")]
    pub ids: Vec<String>,
    /// And those whose ids are in this file, one a line, as they are or as JSON texts (- is standard input)
    #[arg(long, value_name = "FILE")]
    pub file: Option<String>,
    /// Delete the users at Tink too, with everything Tink holds of them
    #[arg(long)]
    pub at_tink: bool,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Only report what would be erased
    #[arg(long)]
    pub dry_run: bool,
    /// On whose behalf.
    #[command(flatten)]
    pub who: ActorArgs,
}

/// A connection to be erased.
struct Doomed {
    id: String,
    held: HeldData,
}

/// What became of users at Tink, as the audit log has it.
type Deletions = HashMap<TinkUser, &'static str>;

impl Doomed {
    /// What became of its user at Tink; `None` if the user was not deleted there.
    fn deletion(&self, deletions: &Deletions) -> Option<&'static str> {
        deletions.get(self.held.tink_user.as_ref()?).copied()
    }
}

/// A connection that was forgotten before, or of which only events of hooks are left.
struct Gone {
    id: String,
    events: usize,
}

/// Erases the connections, once that is confirmed.
pub(super) fn forget(env: &Environment, args: &Args) -> Result<(), Failure> {
    if args.at_tink {
        app::ours(env)?;
    }
    let ids = ids(args)?;
    let spool = Spool::new(&env.settings.hooks.spool);
    let (mut doomed, gone) = look(env.place(), &spool, &ids)?;
    if args.dry_run {
        table::print(&lines("Connection", &doomed, &gone))?;
    }
    refuse_listed(env, &doomed)?;
    if args.at_tink {
        refuse_shared(&doomed)?;
    }
    if args.dry_run {
        return table::print("Nothing was erased: this is a rehearsal.\n");
    }
    if !doomed.is_empty() && !args.yes && !agreed(&doomed, args.at_tink)? {
        return table::print("Nothing was erased.\n");
    }
    let (deletions, failed) = if args.at_tink { at_tink(env, &doomed)? } else { (HashMap::new(), None) };
    table::print(&gone_at_tink(&doomed, &deletions))?;
    if let Some(error) = failed {
        // What is gone at Tink is erased here, too: only now is it known and audited that it was deleted there.
        let kept: Vec<String> = doomed
            .extract_if(.., |doomed| doomed.deletion(&deletions).is_none())
            .map(|doomed| doomed.id)
            .collect();
        tracing::warn!(
            "the user of {} could not be deleted at Tink, so nothing was erased here of {}: repeat this, or leave --at-tink out",
            kept.first().map_or("a connection", String::as_str),
            naming(kept.iter().map(String::as_str))
        );
        if !doomed.is_empty() {
            erase(env, args, &spool, (&doomed, &[]), &deletions)?;
        }
        return Err(error.into());
    }
    erase(env, args, &spool, (&doomed, &gone), &deletions)
}

/// Erases the connections here.
fn erase(
    env: &Environment,
    args: &Args,
    spool: &Spool,
    (doomed, gone): (&[Doomed], &[Gone]),
    deletions: &Deletions,
) -> Result<(), Failure> {
    // An earlier erasure that was cut short may have left events in the spool.
    gone.iter().try_for_each(|gone| spool.forget(&gone.id, || Ok::<_, Failure>(())))?;
    if !env.place().is_there()? {
        return table::print(&done(env, doomed, gone, args.at_tink)?);
    }
    let mut tables = Writer::open(env.place(), env.clock.now())?;
    let actor = Actor::of(env, &args.who);
    for one in doomed {
        let id = &one.id;
        let row = actor.row(env.clock.now(), "connection.forgotten");
        let row = AuditRow { connection_id: Some(id), details: one.deletion(deletions), ..row };
        spool.forget(id, || tables.forget(id, &row).map_err(Failure::from))?;
    }
    table::print(&done(env, doomed, gone, args.at_tink)?)?;
    tables.wipe().map_err(|error| {
        let ids = doomed.iter().map(|doomed| doomed.id.as_str()).chain(gone.iter().map(|gone| gone.id.as_str()));
        let ids = naming(ids.collect::<Vec<_>>().into_iter());
        tracing::warn!("the rows are erased, but remains of them may lie in {} until this command is repeated: tink-sync connections forget {ids}", env.place());
        error.into()
    })
}

/// The ids on the command line and in the file. An id accepted by an older release may be too long for a
/// command line, or contain characters that cannot be typed.
fn ids(args: &Args) -> Result<Vec<String>, Failure> {
    let mut ids = args.ids.clone();
    let Some(file) = &args.file else { return Ok(ids) };
    for (number, line) in (1..).zip(read_file(file)?.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        ids.push(if line.starts_with('"') {
            let wrong = |error| Failure::Usage(format!("{file}: line {number}: {error}; nothing was erased"));
            serde_json::from_str(line.trim_end()).map_err(wrong)?
        } else {
            line.to_owned()
        });
    }
    if ids.is_empty() {
        return Err(Failure::Usage(format!("{file}: there is no id in it")));
    }
    Ok(ids)
}

/// The data held of the connections, and which of them were forgotten before.
fn look(place: &Place, spool: &Spool, ids: &[String]) -> Result<(Vec<Doomed>, Vec<Gone>), Failure> {
    let reader = match Reader::open(place) {
        Err(StoreError::Missing { .. }) => None,
        opened => Some(opened?),
    };
    let (mut doomed, mut gone, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
    for id in ids {
        let found = reader.as_ref().map(|reader| reader.held(id)).transpose()?.flatten();
        let forgotten = reader.as_ref().filter(|_| found.is_none()).map(|reader| reader.forgotten_at(id));
        let is_forgotten = forgotten.transpose()?.flatten().is_some();
        let events = if found.is_none() { spool.of(id)?.len() } else { 0 };
        match found {
            Some(_) if doomed.iter().any(|other: &Doomed| other.id == *id) => {}
            Some(held) => doomed.push(Doomed { id: id.clone(), held }),
            None if is_forgotten || events > 0 => gone.push(Gone { id: id.clone(), events }),
            None => unknown.push(id.as_str()),
        }
    }
    if unknown.is_empty() {
        Ok((doomed, gone))
    } else {
        Err(super::unknown(&unknown, "; nothing was erased"))
    }
}

/// The next pass would fetch again what the application still lists.
fn refuse_listed(env: &Environment, doomed: &[Doomed]) -> Result<(), Failure> {
    let Some(view) = &env.settings.source.view else { return Ok(()) };
    let connections = overlaid(env)?.connections;
    // A row that was refused for this connection, or that is missing, restores nothing.
    let lists = |known: &KnownConnection| known.enabled && known.refused.is_none() && known.gone_at.is_none();
    let is_listed = |id: &&str| connections.iter().any(|known| lists(known) && known.connection_id == *id);
    let listed: Vec<&str> = doomed.iter().map(|doomed| doomed.id.as_str()).filter(is_listed).collect();
    if listed.is_empty() {
        return Ok(());
    }
    Err(Failure::Usage(format!(
        "the application's view {view} lists it as enabled, so the next pass would fetch everything anew: {}; \
         disconnect it in the application first, then repeat this; nothing was erased",
        naming(listed.into_iter())
    )))
}

/// A user at Tink is deleted as a whole, so no other connection may depend on it.
fn refuse_shared(doomed: &[Doomed]) -> Result<(), Failure> {
    for Doomed { id, held } in doomed {
        if held.tink_user.is_none() {
            return Err(Failure::Usage(format!(
                "connection {id} has no Tink user that could be deleted from here (it lives from a refresh token): \
                 delete the user in Tink Console, and repeat this without --at-tink; nothing was erased"
            )));
        }
        let others = held.same_tink_user.iter().map(String::as_str);
        let others: Vec<&str> = others.filter(|other| !doomed.iter().any(|d| d.id == *other)).collect();
        if !others.is_empty() {
            return Err(Failure::Usage(format!(
                "the Tink user of connection {id} is also that of {}: name all of them, or leave --at-tink out; \
                 nothing was erased",
                naming(others.into_iter())
            )));
        }
    }
    Ok(())
}

/// Deletes the users at Tink, each once, up to the first that cannot be deleted; a user unknown to Tink counts
/// as deleted.
fn at_tink(env: &Environment, doomed: &[Doomed]) -> Result<(Deletions, Option<tink::Error>), Failure> {
    let client = client::client(env)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut deletions = Deletions::new();
    for user in doomed.iter().filter_map(|doomed| doomed.held.tink_user.as_ref()) {
        if deletions.contains_key(user) {
            continue;
        }
        let said = match runtime.block_on(client.delete_user(user)) {
            Ok(Deletion::Deleted) => DELETED,
            Ok(Deletion::Unknown) => "not known at Tink",
            Err(error) => return Ok((deletions, Some(error))),
        };
        deletions.insert(user.clone(), said);
    }
    Ok((deletions, None))
}

fn agreed(doomed: &[Doomed], at_tink: bool) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::Usage(
            "this asks before it erases, and there is no terminal to ask on: look with --dry-run, then repeat \
             it with --yes; nothing was erased"
                .to_owned(),
        ));
    }
    let question = |text: &str| -> Result<bool, Failure> { ask(text, &mut io::stdin().lock()) };
    table::print(&lines("Connection", doomed, &[]))?;
    let users = doomed.iter().filter_map(|doomed| doomed.held.tink_user.as_ref()).map(called);
    let users: Vec<&str> = users.collect();
    let users = naming(users.into_iter());
    if !at_tink {
        table::print(&table::wrap(
            &format!("Tink keeps its own copy of user {users}; --at-tink deletes that too."),
            0,
        ))?;
    }
    if !question("Erase it here?")? {
        return Ok(false);
    }
    if !at_tink {
        return Ok(true);
    }
    table::print(&table::wrap(
        &format!(
            "At Tink user {users} goes with all banks; they would have to be connected anew. This cannot be undone."
        ),
        0,
    ))?;
    question("Delete it at Tink?")
}

/// Asks a yes-or-no question; any unclear answer is no.
fn ask(question: &str, answers: &mut impl BufRead) -> Result<bool, Failure> {
    table::print(&format!("{question} [y/N] "))?;
    let mut answer = String::new();
    answers.read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

fn called(user: &TinkUser) -> &str {
    match user {
        TinkUser::External(id) | TinkUser::Tink(id) => id,
    }
}

/// Reports each deleted user at Tink once: the first connection of a user deletes it for all.
fn gone_at_tink(doomed: &[Doomed], deletions: &Deletions) -> String {
    let mut text = String::new();
    let mut told = HashSet::new();
    for Doomed { held, .. } in doomed {
        let Some(user) = held.tink_user.as_ref() else { continue };
        let Some(became) = deletions.get(user).filter(|_| told.insert(user)) else { continue };
        let user = called(user);
        // Writing to a String cannot fail.
        let _ = if *became == DELETED {
            writeln!(text, "Deleted Tink's user {} with all its banks.", shown(user))
        } else {
            let user = shown(user);
            writeln!(text, "Tink does not know user {user} (any more): there was nothing to delete there.")
        };
    }
    text
}

fn lines(beginning: &str, doomed: &[Doomed], gone: &[Gone]) -> String {
    let mut text = String::new();
    for Doomed { id, held } in doomed {
        let user = if held.user_goes { ", and the user, who has no other one" } else { "" };
        let quarantine = match held.quarantined {
            0 => String::new(),
            number => format!(", {number} in quarantine"),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{beginning} {} of user {}: {}, {}{quarantine}{user}.",
            shown(id),
            shown(&held.user_id),
            number(held.accounts, "account"),
            number(held.transactions, "transaction"),
        );
    }
    for Gone { id, events } in gone {
        let left = if *events == 0 {
            "nothing of it is here".to_owned()
        } else {
            format!("{} for hooks of it are left until this command is done", table::count(*events, "event"))
        };
        let _ = writeln!(text, "Connection {} was forgotten before; {left}.", shown(id));
    }
    text
}

fn number(number: u64, thing: &str) -> String {
    table::count(usize::try_from(number).unwrap_or(usize::MAX), thing)
}

/// Reports what was done, and what is left elsewhere.
fn done(env: &Environment, doomed: &[Doomed], gone: &[Gone], at_tink: bool) -> Result<String, Failure> {
    let mut text = lines("Forgot connection", doomed, gone);
    if at_tink && !gone.is_empty() {
        text.push_str("Which user that was at Tink is not known here any more: look in Tink Console.\n");
    }
    for Doomed { id, held } in doomed {
        let Some(user) = held.tink_user.as_ref().filter(|_| !at_tink) else { continue };
        // The store no longer holds this user's id.
        let said = format!(
            "Tink still holds the data of its user {} (connection {}): delete the user there too if it is to go.",
            shown(called(user)),
            shown(id)
        );
        text.push_str(&table::wrap(&said, 0));
    }
    if env.place().file().is_none() && !doomed.is_empty() {
        let said = "PostgreSQL keeps copies that are not reached from here: erased rows until VACUUM has passed over their tables, and what is in archives of the log, on standbys that lag behind and in backups until those are deleted.";
        text.push_str(&table::wrap(said, 0));
    }
    if env.settings.source.view.is_some() {
        let rows = viewed(env)?.rows;
        let off = rows.iter().filter(|row| !row.enabled).map(|row| row.connection_id);
        let off: HashSet<ConnectionId> = off.collect();
        let is_listed = |id: &&str| off.contains(&ConnectionId::from(*id));
        let listed: Vec<&str> = doomed.iter().map(|doomed| doomed.id.as_str()).filter(is_listed).collect();
        if !listed.is_empty() {
            let said = format!(
                "The application's view still lists {} as disabled, so the ids (nothing else) come back with the next pass: take the row out of the view.",
                naming(listed.into_iter())
            );
            text.push_str(&table::wrap(&said, 0));
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fixture::{self, Fixture};

    #[test]
    fn what_a_server_keeps_is_told_where_something_was_erased() {
        let mut env = Fixture::new().env();
        let doomed = [Doomed { id: "c".to_owned(), held: HeldData::default() }];
        let mut said = |place: Option<Place>, doomed: &[Doomed]| {
            env.settings.store.url = place.unwrap_or_else(|| env.settings.store.url.clone());
            done(&env, doomed, &[], true).unwrap()
        };
        assert!(!said(None, &doomed).contains("VACUUM"));
        assert!(said(Some(fixture::server()), &doomed).contains("VACUUM"));
        assert!(!said(None, &[]).contains("VACUUM"));
    }
}
