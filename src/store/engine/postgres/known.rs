//! The statements that a session has used: translated once, and prepared on the server. Sends nothing.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use tokio_postgres::Statement;

use super::translate::{Translated, translate};
use super::value::Parameter;
use crate::store::engine::{Fail, Params};

/// A cached statement.
pub(super) struct KnownStatement {
    pub text: Translated,
    /// Whether it is prepared, or that was requested.
    pub asked: AtomicBool,
    pub prepared: OnceLock<Statement>,
}

/// All cached statements, by their texts.
#[derive(Default)]
pub(super) struct KnownStatements(RefCell<HashMap<String, Arc<KnownStatement>>>);

impl KnownStatements {
    /// Makes each statement be prepared again.
    pub(super) fn forget(&self) {
        self.0.borrow_mut().clear();
    }

    fn get(&self, sql: &str, text: impl FnOnce() -> Translated) -> Arc<KnownStatement> {
        if let Some(known) = self.0.borrow().get(sql) {
            return Arc::clone(known);
        }
        let (asked, prepared) = (AtomicBool::new(false), OnceLock::new());
        let known = Arc::new(KnownStatement { text: text(), asked, prepared });
        self.0.borrow_mut().insert(sql.to_owned(), Arc::clone(&known));
        known
    }

    /// A statement in PostgreSQL's own syntax, with this number of parameters.
    pub(super) fn as_it_is(&self, sql: &str, arity: usize) -> Arc<KnownStatement> {
        self.get(sql, || Translated { sql: sql.to_owned(), names: Vec::new(), arity })
    }

    /// A statement of the store, with its parameters as they are sent.
    ///
    /// # Errors
    /// [`Fail::Bug`] if these are not its parameters.
    pub(super) fn bound(
        &self,
        sql: &str,
        params: Params<'_, '_>,
    ) -> Result<(Arc<KnownStatement>, Vec<Parameter>), Fail> {
        let known = self.get(sql, || translate(sql));
        let wrong = || Fail::parameters(sql);
        let parameters = match params {
            Params::Positional(values) if values.len() == known.text.arity && known.text.names.is_empty() => {
                values.iter().map(Parameter::of).collect::<Result<_, _>>()?
            }
            Params::Positional(_) => return Err(wrong()),
            Params::Named(values) => {
                let named = |name: &String| {
                    let found = values.iter().find(|(known, _)| known == name);
                    found.map_or_else(|| Err(wrong()), |(_, value)| Parameter::of(value))
                };
                known.text.names.iter().map(named).collect::<Result<_, _>>()?
            }
        };
        Ok((known, parameters))
    }
}
