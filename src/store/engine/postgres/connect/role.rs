//! The role of a server, to choose the right one of several.

use std::pin::pin;

use futures_util::future::{Either, select};
use tokio_postgres::{Client, SimpleQueryMessage};

use super::Driver;
use super::error::{ConnectProblem, Kind};
use crate::domain::server::SessionKind;

/// Whether a server is a standby, and whether it accepts changes.
const ROLE: &str =
    "SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('transaction_read_only')";

/// The role that a server reports.
pub(super) struct Role {
    pub(super) follows: bool,
    pub(super) read_only: bool,
}

impl Role {
    /// Queries the role.
    pub(super) async fn of(client: &Client, driver: &mut Driver) -> Result<Self, ConnectProblem> {
        let query = pin!(client.simple_query(ROLE));
        let messages = match select(query, driver).await {
            Either::Left((answer, _)) => answer.map_err(ConnectProblem::from)?,
            Either::Right(((), _)) => return Err(ConnectProblem::closed()),
        };
        let row = messages.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some((row.try_get(0).ok()??, row.try_get(1).ok()??)),
            _ => None,
        });
        let (follows, read_only) = row.ok_or_else(|| {
            ConnectProblem::new(Kind::Refused, "does not say what it is, as PostgreSQL would")
        })?;
        Ok(Self { follows: follows == "t", read_only: read_only == "on" })
    }

    /// Whether the server suits this kind of session.
    pub(super) fn suits(&self, session: SessionKind) -> Result<(), ConnectProblem> {
        let problem = match session {
            SessionKind::ReadWrite | SessionKind::Primary if self.follows => {
                "is a standby, and its primary is wanted"
            }
            SessionKind::ReadWrite if self.read_only => {
                "takes no changes (default_transaction_read_only is on there)"
            }
            SessionKind::ReadOnly if !self.read_only => "takes changes, and one that takes none is wanted",
            SessionKind::Standby if !self.follows => "is a primary, and a standby is wanted",
            _ => return Ok(()),
        };
        Err(ConnectProblem::new(Kind::Role, format!("{problem} (target_session_attrs)")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standby_is_no_primary() {
        for (follows, read_only, suitable) in [
            (true, true, vec![SessionKind::ReadOnly, SessionKind::Standby]),
            (false, true, vec![SessionKind::ReadOnly, SessionKind::Primary]),
            (false, false, vec![SessionKind::ReadWrite, SessionKind::Primary]),
        ] {
            let role = Role { follows, read_only };
            for session in
                [SessionKind::ReadWrite, SessionKind::ReadOnly, SessionKind::Primary, SessionKind::Standby]
            {
                assert_eq!(role.suits(session).is_ok(), suitable.contains(&session), "{follows} {session:?}");
            }
        }
    }
}
