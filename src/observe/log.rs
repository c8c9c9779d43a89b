//! Where log records go: to journald natively when systemd reads our standard error, else to standard error
//! as plain lines. Standard output belongs to the report.

use std::ffi::OsString;
use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber};
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry};

use super::outlet::Outlet;
use super::terminal::{self, Colour};
use super::{notify, progress};

/// Target of records that journald gets as `notice`, a level that tracing does not have.
pub(crate) const NOTICE: &str = "tink_sync::notice";

static NATIVE: AtomicBool = AtomicBool::new(false);

/// During a pass: the outlet to standard error, so that no record waits for its reader.
static OUTLET: Mutex<Option<Outlet>> = Mutex::new(None);

/// The report waits at most this long for the lines before it; after that, nobody is reading them.
const PATIENCE: Duration = Duration::from_millis(200);

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// Only errors.
    Quiet,
    /// Errors and warnings; everything that happened goes to the journal.
    Normal,
    /// Requests, retries and skipped connections too.
    Verbose,
}

impl Level {
    /// The level of the two command-line flags.
    pub(crate) fn of(verbose: bool, quiet: bool) -> Self {
        match (verbose, quiet) {
            (true, _) => Self::Verbose,
            (_, true) => Self::Quiet,
            _ => Self::Normal,
        }
    }

    fn on_stderr(self) -> tracing::Level {
        match self {
            Self::Quiet => tracing::Level::ERROR,
            Self::Normal => tracing::Level::WARN,
            Self::Verbose => tracing::Level::DEBUG,
        }
    }

    fn in_journal(self) -> tracing::Level {
        match self {
            Self::Verbose => tracing::Level::DEBUG,
            Self::Quiet | Self::Normal => tracing::Level::INFO,
        }
    }
}

/// Whether records go to journald natively.
pub(crate) fn is_journal() -> bool {
    NATIVE.load(Ordering::Relaxed)
}

/// Starts logging; later calls in the same process change nothing. Panics are logged the same way.
pub(crate) fn start(level: Level, color: bool, variable: fn(&str) -> Option<OsString>) {
    std::panic::set_hook(Box::new(|panic| tracing::error!("a bug: {panic}")));
    let ours = |metadata: &Metadata<'_>| metadata.target().starts_with("tink_sync");
    if stderr_is_journal(variable)
        && let (Ok(plain), Ok(notice)) = (journald(Priority::Informational), journald(Priority::Notice))
    {
        let max = level.in_journal();
        let is_notice = |metadata: &Metadata<'_>| metadata.target() == NOTICE;
        let plain = plain.with_filter(filter_fn(move |m| ours(m) && !is_notice(m) && *m.level() <= max));
        let notice = notice.with_filter(filter_fn(is_notice));
        if Registry::default().with(plain).with(notice).try_init().is_ok() {
            NATIVE.store(true, Ordering::Relaxed);
        }
        return;
    }
    let max = level.on_stderr();
    let lines = tracing_subscriber::fmt::layer()
        .event_format(PlainLines { color })
        .with_writer(StandardError::now)
        .with_filter(filter_fn(move |m| ours(m) && *m.level() <= max));
    // A second start (in tests) keeps the first.
    let _ = Registry::default().with(lines).try_init();
}

fn journald(info: Priority) -> io::Result<tracing_journald::Layer> {
    let priorities = PriorityMappings { info, debug: Priority::Debug, ..PriorityMappings::new() };
    let layer = tracing_journald::layer()?.with_field_prefix(None);
    Ok(layer.with_syslog_identifier("tink-sync".to_owned()).with_priority_mappings(priorities))
}

/// systemd names the device and inode of the stream it passed; if they differ, another stream has replaced
/// it.
fn stderr_is_journal(variable: fn(&str) -> Option<OsString>) -> bool {
    let Some(stream) = variable("JOURNAL_STREAM") else { return false };
    let metadata = terminal::error_file().map(std::fs::File::from).and_then(|file| file.metadata());
    metadata.is_ok_and(|m| stream.to_str() == Some(&format!("{}:{}", m.dev(), m.ino())))
}

/// Logs why the program ends. A record that a process sends natively right before its end can lose the name
/// of its unit, so under systemd this one goes to standard error, marked as an error.
pub(crate) fn fatal(message: &str) {
    notify::status(message);
    if is_journal() {
        // Each line would become a record of its own.
        terminal::print_error(&format!("<3>{}\n", terminal::clean(message)));
    } else {
        tracing::error!("{message}");
    }
}

/// From now on no record waits for a reader of standard error, until [`undetach`].
///
/// # Errors
/// If no thread can be started.
pub(crate) fn detach() -> io::Result<Outlet> {
    let outlet = Outlet::to(BesideProgress)?;
    *OUTLET.lock().unwrap_or_else(PoisonError::into_inner) = Some(outlet.clone());
    Ok(outlet)
}

/// From now on the thread that makes a record writes it directly again.
pub(crate) fn undetach() {
    *OUTLET.lock().unwrap_or_else(PoisonError::into_inner) = None;
}

/// Waits briefly for the records made so far, so that what follows on standard output comes after them.
pub(crate) fn wait_until_written() {
    if let Some(outlet) = outlet() {
        outlet.wait_until_written(PATIENCE);
    }
}

fn outlet() -> Option<Outlet> {
    OUTLET.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// One plain line per record.
struct PlainLines {
    color: bool,
}

impl<S, N> FormatEvent<S, N> for PlainLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let (word, colour) = match *event.metadata().level() {
            tracing::Level::ERROR => ("error", Colour::Red),
            tracing::Level::WARN => ("warning", Colour::Yellow),
            tracing::Level::INFO => ("info", Colour::Green),
            _ => ("debug", Colour::Faint),
        };
        let mut fields = RecordFields { message: String::new(), others: String::new() };
        event.record(&mut fields);
        if self.color {
            write!(writer, "{} {}", terminal::painted(&format!("{word}:"), colour), fields.message)?;
        } else {
            write!(writer, "{word}: {}", fields.message)?;
        }
        if word == "debug" {
            writer.write_str(&fields.others)?;
        }
        writeln!(writer)
    }
}

struct RecordFields {
    message: String,
    others: String,
}

impl Visit for RecordFields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            "message_id" => Ok(()),
            name => write!(self.others, " {name}={value:?}"),
        };
    }
}

/// Where a new record is written.
enum StandardError {
    Detached(Outlet),
    Direct(BesideProgress),
}

impl StandardError {
    fn now() -> Self {
        outlet().map_or(Self::Direct(BesideProgress), Self::Detached)
    }
}

impl Write for StandardError {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Each record is written as a whole.
        let shown = terminal::shown(&String::from_utf8_lossy(bytes));
        match self {
            Self::Detached(outlet) => outlet.write_all(shown.as_bytes()),
            Self::Direct(direct) => direct.write_all(shown.as_bytes()),
        }
        .map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Detached(outlet) => outlet.flush(),
            Self::Direct(direct) => direct.flush(),
        }
    }
}

/// Standard error, with the progress bar out of the way while a line is written.
struct BesideProgress;

impl Write for BesideProgress {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        progress::suspended(|| terminal::write_error(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
