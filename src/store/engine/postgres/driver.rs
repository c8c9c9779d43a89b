//! What moves the messages of a session, and how one is begun. Sends no statement of the store.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::thread;

use tokio::runtime::{self, Handle, Runtime};
use tokio_postgres::Client;

use super::connect::{self, Target};
use crate::domain::cause::Cause;
use crate::store::engine::Fail;

/// What moves the messages of a session.
pub(super) struct Background(Option<Runtime>);

impl Background {
    pub(super) fn start() -> Result<Self, Fail> {
        let built = runtime::Builder::new_current_thread().enable_all().build();
        built.map(|runtime| Self(Some(runtime))).map_err(|e| Fail::Unusable {
            detail: "cannot begin to wait for a server".to_owned(),
            source: Cause::of(e),
        })
    }

    /// Runs something on this thread; from inside of another runtime, where that is not possible, on one of its own.
    pub(super) fn drive<T: Send>(&self, work: impl Future<Output = T> + Send) -> Result<T, Fail> {
        let runtime = self.0.as_ref().ok_or(Fail::NoAnswer)?;
        if Handle::try_current().is_err() {
            return Ok(runtime.block_on(work));
        }
        let work = pin!(work);
        thread::scope(|scope| {
            let driven = scope.spawn(|| runtime.block_on(work));
            Ok(driven.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // Waits for nothing, which would not be allowed inside of another runtime.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Opens a session; says whether no pooler lies between.
///
/// # Errors
/// [`Fail::Connect`].
pub(super) fn dial(
    runtime: &Background,
    target: &Target,
    options: Option<&str>,
) -> Result<(Arc<Client>, bool), Fail> {
    let dialled = runtime.drive(async {
        let connected = connect::connect(target, options).await?;
        tokio::spawn(connected.driver);
        let direct = if options.is_some() && connected.took_options {
            is_direct(&connected.client).await
        } else {
            false
        };
        Ok((Arc::new(connected.client), direct))
    })?;
    dialled.map_err(|error: connect::ConnectError| Fail::Connect(Box::new(error)))
}

/// Whether the server's own session has what ours was begun with; behind a pooler it has not.
async fn is_direct(client: &Client) -> bool {
    let asked = client.query_typed("SELECT current_setting('tink_sync.direct', true)", &[]).await;
    asked
        .ok()
        .and_then(|rows| rows.first()?.try_get::<_, Option<String>>(0).ok()?)
        .is_some_and(|on| on == "on")
}
