//! What a person may accept of the refused rows: that a user was linked again, or that the application has
//! renumbered its users. Pure: the stored connections and the view's rows in, the changed owners out.

use super::{HeldConnection, Judged, RefusalKind, SingleView, Verdict, judge};
use crate::domain::connection::{SourceRow, TinkUser};
use crate::domain::ids::shown;
use crate::domain::view::ViewRows;

/// What is to be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acceptance<'a> {
    /// The connection's user was linked again and has another Tink user.
    TinkUser(&'a str),
    /// Only the users of these connections were renumbered; their Tink users are the same. An empty list
    /// means all connections refused for that.
    User(&'a [String]),
}

/// A stored connection whose owner changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    pub place: usize,
    pub connection_id: String,
    /// Its user from now on.
    pub user_id: String,
    /// Its user at Tink from now on; `None` if unchanged.
    pub tink_user: Option<TinkUser>,
}

/// Determines what changes.
///
/// # Errors
/// Why it cannot be accepted, as a sentence for people; then nothing is.
pub fn accept(
    held: &[HeldConnection],
    rows: &ViewRows,
    what: Acceptance<'_>,
) -> Result<Vec<Accepted>, String> {
    let single = SingleView::of(rows.clone()).all();
    let judged = judge(held, &single);
    let accepted = match what {
        Acceptance::TinkUser(id) => vec![linked_anew(find(&judged, id)?)?],
        Acceptance::User([]) => judged.iter().filter_map(renumbered).collect(),
        Acceptance::User(ids) => ids
            .iter()
            .map(|id| {
                let one = find(&judged, id)?;
                renumbered(one).ok_or_else(|| not_only_the_user(one))
            })
            .collect::<Result<_, String>>()?,
    };
    // A connection that already has the Tink user had it first.
    let (last, mut after): (Vec<_>, Vec<_>) = held
        .iter()
        .enumerate()
        .map(|(place, held)| (accepted.iter().find(|one| one.place == place), held.clone()))
        .partition(|(one, _)| one.is_some());
    after.extend(last);
    let after: Vec<HeldConnection> = after
        .into_iter()
        .map(|(one, mut held)| {
            if let Some(one) = one {
                held.user_id.clone_from(&one.user_id);
                let user = one.tink_user.clone();
                let former = user.and_then(|user| held.tink_user.replace(user));
                held.former.extend(former);
            }
            held
        })
        .collect();
    // The acceptance must not open another owner's data to anyone.
    let ids = |judged: &[Judged<'_>]| -> Vec<(String, String)> {
        let refused = judged.iter().filter_map(|one| match &one.verdict {
            Verdict::Refused(refusal) => {
                Some((one.row.connection_id.as_str().to_owned(), refusal.text.clone()))
            }
            Verdict::Own { .. } | Verdict::Moved(_) => None,
        });
        refused.collect()
    };
    let before = ids(&judged);
    let is_new = |(id, _): &&(String, String)| {
        accepted.iter().any(|one| one.connection_id == *id) || !before.iter().any(|(known, _)| known == id)
    };
    // Accepted rows count as enabled here: a disabled one may be enabled again, or keep its state while the
    // view leaves that open.
    let is_accepted =
        |row: &SourceRow| accepted.iter().any(|one| one.connection_id == row.connection_id.as_str());
    let claimed = |row: SourceRow| SourceRow { enabled: row.enabled || is_accepted(&row), ..row };
    let claimed = SingleView::of(rows.iter().map(claimed).collect()).all();
    match ids(&judge(&after, &claimed)).iter().find(is_new) {
        Some((id, text)) => Err(format!("connection {}: {text}", shown(id))),
        None => Ok(accepted),
    }
}

fn find<'a>(judged: &'a [Judged<'a>], id: &str) -> Result<&'a Judged<'a>, String> {
    let found = judged.iter().find(|one| one.row.connection_id.as_str() == id);
    found.ok_or_else(|| format!("connection {} has no row in the source view", shown(id)))
}

fn linked_anew(one: &Judged<'_>) -> Result<Accepted, String> {
    let id = one.row.connection_id.as_str();
    let problem =
        || one.problem().map_or_else(|| nothing(one), |text| format!("connection {}: {text}", shown(id)));
    let is_it = match &one.verdict {
        Verdict::Moved(_) => true,
        Verdict::Refused(refusal) => refusal.kind == RefusalKind::OtherTinkUser,
        Verdict::Own { .. } => false,
    };
    let (true, None, Some(place), Some(user)) = (is_it, &one.row.problem, one.held, &one.row.tink_user)
    else {
        return Err(problem());
    };
    Ok(Accepted {
        place,
        connection_id: id.to_owned(),
        user_id: one.row.user_id.as_str().to_owned(),
        tink_user: Some(user.clone()),
    })
}

/// The stored connection that continues under the user of the row: its own, or one that is no longer enabled
/// and has its Tink user.
fn renumbered(one: &Judged<'_>) -> Option<Accepted> {
    let Verdict::Refused(refusal) = &one.verdict else { return None };
    let place = match refusal.kind {
        RefusalKind::OtherUser { same_tink_user: true } => one.held,
        RefusalKind::Shared { enabled: false, same_user: false } => refusal.other,
        _ => None,
    };
    Some(Accepted {
        place: place.filter(|_| one.row.problem.is_none())?,
        connection_id: one.row.connection_id.as_str().to_owned(),
        user_id: one.row.user_id.as_str().to_owned(),
        tink_user: None,
    })
}

fn not_only_the_user(one: &Judged<'_>) -> String {
    let id = shown(one.row.connection_id.as_str());
    match &one.verdict {
        Verdict::Own { .. } | Verdict::Moved(_) if one.row.problem.is_none() => nothing(one),
        Verdict::Refused(refusal) if refusal.kind == RefusalKind::OtherTinkUser => {
            format!(
                "connection {id} has the same user as before, and another Tink user: leave --same-tink-user out"
            )
        }
        _ => format!("connection {id}: {}", one.problem().unwrap_or_default()),
    }
}

fn nothing(one: &Judged<'_>) -> String {
    let id = shown(one.row.connection_id.as_str());
    format!(
        "connection {id} has the user and the Tink user that the source view gives: there is nothing to accept"
    )
}
