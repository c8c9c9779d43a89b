//! `tink-sync export`: writes the transactions for spreadsheets, programs and plain-text accounting. Reads
//! one snapshot of the store, changes nothing, and holds one row at a time.

mod beancount;
mod csv;
mod jsonl;
mod ledger;
mod names;
mod output;

use std::io::{self, Write};
use std::path::PathBuf;

use jiff::civil::Date;

use super::{Environment, Failure, table};
use crate::exit::Exit;
use crate::store::Selection;
use crate::store::export::{Export, ExportAccount, ExportRow, Filter};
use names::JournalAccounts;
use output::OutputTarget;

/// Arguments of `export`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tink-sync export > all.csv                all but pending rows, with a header\n  tink-sync export --format jsonl --removed  removed rows too, for a program\n  tink-sync export --format beancount --connection c-17 > bank.beancount\n  tink-sync export --format ledger --since 2026-01-01 | hledger -f - balance\n\nRows come by date (booked, else value, else transaction date), then connection,\naccount and id: a later export differs only by what has changed. Amounts are\nexact. CSV and JSON lines hold texts as they are; the journals cut one of more\nthan 1500 bytes. A spreadsheet may take one that begins with = + - @ for a\nformula: --safe-text puts a ' before it."
)]
pub struct Args {
    /// Form of the output
    #[arg(long, value_enum, default_value_t = ExportFormat::Csv)]
    pub format: ExportFormat,
    /// Only these connections
    #[arg(long, value_name = "ID", num_args = 1..)]
    pub connection: Vec<String>,
    /// Only the connections of these users
    #[arg(long, value_name = "ID", num_args = 1..)]
    pub user: Vec<String>,
    /// From this day on (YYYY-MM-DD)
    #[arg(long, value_name = "DATE", value_parser = day)]
    pub since: Option<Date>,
    /// Up to and with this day
    #[arg(long, value_name = "DATE", value_parser = day)]
    pub until: Option<Date>,
    /// Pending rows as well
    #[arg(long)]
    pub pending: bool,
    /// Removed rows as well, with why and by what they were replaced (csv, jsonl)
    #[arg(long)]
    pub removed: bool,
    /// Put a ' before texts that a spreadsheet takes for formulas (csv)
    #[arg(long)]
    pub safe_text: bool,
    /// Account of what was spent (ledger, beancount)
    #[arg(long, value_name = "ACCOUNT", default_value = names::EXPENSES)]
    pub expenses: String,
    /// Account of what came in (ledger, beancount)
    #[arg(long, value_name = "ACCOUNT", default_value = names::INCOME)]
    pub income: String,
    /// Write to this file, complete or not at all, for this user only, instead of standard output
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// The form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ExportFormat {
    /// Comma-separated values (RFC 4180) with a header.
    Csv,
    /// One JSON object per line.
    Jsonl,
    /// A journal for ledger and hledger.
    Ledger,
    /// A journal for beancount.
    Beancount,
}

/// One form of output. It buffers no rows: the output is complete up to the last row written.
trait Form {
    fn begin(&mut self, out: &mut dyn Write, head: &ExportHead<'_>) -> io::Result<()>;

    fn row(&mut self, out: &mut dyn Write, row: &ExportRow<'_>) -> io::Result<()>;
}

/// The columns and accounts, known before the first row.
struct ExportHead<'a> {
    columns: &'a [String],
    accounts: &'a [ExportAccount],
}

/// # Errors
/// [`Failure`] if the store cannot be read, the output cannot be written, or the request is invalid.
pub(super) fn run(env: &Environment, args: &Args) -> Result<Exit, Failure> {
    let mut form = args.form()?;
    let reader = env.reader()?;
    let export = Export::new(&reader, args.filter())?;
    let unknown = export.unknown()?;
    if !unknown.is_empty() {
        let unknown = unknown.join(", ");
        let text = format!("unknown connection or user: {unknown}; `tink-sync connections list` shows all");
        return Err(Failure::Usage(text));
    }
    let file = args.output.as_deref().filter(|file| file.as_os_str() != "-");
    let mut target = OutputTarget::open(file, &env.protected())?;
    match write(&export, form.as_mut(), &mut target, args.format) {
        // The reader of the pipe has closed it: not an error.
        Err(Failure::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(Exit::Success),
        Err(Failure::Io(error)) => return Err(target.explain(&error)),
        Err(failure) => return Err(failure),
        Ok(rows) => {
            target.finish()?;
            if let Some(file) = file {
                let rows = table::count(usize::try_from(rows).unwrap_or(usize::MAX), "transaction");
                table::print(&format!("{rows} in {}\n", file.display()))?;
            }
        }
    }
    Ok(Exit::Success)
}

fn write(
    export: &Export<'_>,
    form: &mut dyn Form,
    out: &mut dyn Write,
    format: ExportFormat,
) -> Result<u64, Failure> {
    let accounts = if format.is_journal() { export.accounts()? } else { Vec::new() };
    form.begin(out, &ExportHead { columns: export.columns(), accounts: &accounts })?;
    let rows = export.each(|row| Ok::<_, Failure>(form.row(out, row)?))?;
    out.flush()?;
    Ok(rows)
}

impl ExportFormat {
    fn is_journal(self) -> bool {
        matches!(self, Self::Ledger | Self::Beancount)
    }
}

impl Args {
    fn filter(&self) -> Filter {
        Filter {
            selection: Selection {
                connections: self.connection.iter().cloned().map(Into::into).collect(),
                users: self.user.iter().cloned().map(Into::into).collect(),
            },
            since: self.since,
            until: self.until,
            pending: self.pending,
            removed: self.removed,
        }
    }

    fn form(&self) -> Result<Box<dyn Form>, Failure> {
        let usage = |text: &str| Err(Failure::Usage(text.to_owned()));
        if let (Some(since), Some(until)) = (self.since, self.until)
            && until < since
        {
            return usage(&format!("--until {until} is before --since {since}"));
        }
        if self.removed && self.format.is_journal() {
            return usage(
                "--removed goes with csv and jsonl: in a journal a removed row would count as money",
            );
        }
        if self.safe_text && self.format != ExportFormat::Csv {
            return usage("--safe-text goes with --format csv: no other form is read by spreadsheets");
        }
        let counters =
            || JournalAccounts::new(&self.expenses, &self.income, self.format).map_err(Failure::Usage);
        Ok(match self.format {
            ExportFormat::Csv => Box::new(csv::Csv::new(self.safe_text)),
            ExportFormat::Jsonl => Box::new(jsonl::Jsonl),
            ExportFormat::Ledger => Box::new(ledger::Ledger::new(counters()?)),
            ExportFormat::Beancount => Box::new(beancount::Beancount::new(counters()?)),
        })
    }
}

fn day(text: &str) -> Result<Date, String> {
    text.parse().map_err(|_| {
        let is_date = text.len() == 10
            && text.bytes().enumerate().all(|(place, byte)| match place {
                4 | 7 => byte == b'-',
                _ => byte.is_ascii_digit(),
            });
        if is_date { "there is no such day" } else { "a date is written as YYYY-MM-DD" }.to_owned()
    })
}
