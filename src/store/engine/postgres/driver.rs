//! The runtime that does a session's I/O, and how a session is opened. Sends no statement of the store.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::thread;

use tokio::runtime::{self, Handle, Runtime};
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use super::connect::{self, Target};
use crate::domain::cause::Cause;
use crate::store::engine::Fail;

/// The runtime that does a session's I/O.
pub(super) struct Background(Option<Runtime>);

impl Background {
    pub(super) fn start() -> Result<Self, Fail> {
        let built = runtime::Builder::new_current_thread().enable_all().build();
        built.map(|runtime| Self(Some(runtime))).map_err(|e| Fail::Unusable {
            detail: "cannot begin to wait for a server".to_owned(),
            source: Some(Cause::of(e)),
        })
    }

    /// Runs `work` on this thread, or on one of its own inside another runtime, where blocking is not possible.
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
        // Does not wait: that is not allowed inside another runtime.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// A session that was opened.
pub(super) struct Dialled {
    pub client: Arc<Client>,
    /// Whether it is direct, without a pooler in between.
    pub direct: bool,
    /// The task that owns the socket.
    pub driver: JoinHandle<()>,
}

/// Opens a session.
///
/// # Errors
/// [`Fail::Connect`].
pub(super) fn dial(runtime: &Background, target: &Target, options: Option<&str>) -> Result<Dialled, Fail> {
    let dialled = runtime.drive(async {
        let connected = connect::connect(target, options).await?;
        let driver = tokio::spawn(connected.driver);
        let direct = if options.is_some() && connected.took_options {
            is_direct(&connected.client).await
        } else {
            false
        };
        Ok(Dialled { client: Arc::new(connected.client), direct, driver })
    })?;
    dialled.map_err(|error: connect::ConnectError| Fail::Connect(Box::new(error)))
}

/// Whether the server's session has the options that ours was opened with; behind a pooler it has not.
async fn is_direct(client: &Client) -> bool {
    let asked = client.query_typed("SELECT current_setting('tink_sync.direct', true)", &[]).await;
    asked
        .ok()
        .and_then(|rows| rows.first()?.try_get::<_, Option<String>>(0).ok()?)
        .is_some_and(|on| on == "on")
}
