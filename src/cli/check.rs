//! `tink-sync check`: everything an operator would otherwise learn at 3 am, one line per check with the
//! remedy. Changes nothing, and creates no files except those that SQLite keeps beside a store.

mod hooks;
mod log;
mod reading;
mod settings;
mod source;
mod space;
mod store;
mod timer;
mod tink;
mod unit;

use serde::{Serialize, Serializer};

use super::schedule::Schedule;
use super::table::{self, Tone};
use super::timer::state::Timer;
use super::{Environment, Failure};
use crate::config::ConfigError;
use crate::exit::Exit;
use crate::observe::report::Format;

/// Columns before a text: the grade and two blanks.
const INDENT: usize = 6;

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  sudo tink-sync check              as the service sees it\n  tink-sync check --offline         without asking Tink\n  sudo tink-sync --quiet check      only what needs a person\n  tink-sync check --format json | jq '.findings[] | select(.grade != \"ok\")'\n\nExit status: 0 when nothing says FAIL, else that of the first FAIL: 78 for\nconfiguration, secrets, view or clock, 74 or 75 for a database, 69 if Tink is\nout of reach, 77 if Tink refuses."
)]
pub struct Args {
    /// Do not contact Tink
    #[arg(long)]
    pub offline: bool,
    /// Form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

/// How one check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grade {
    Ok,
    /// Not checked; the text gives the reason.
    Skip,
    Warn,
    /// The exit code names the area.
    Fail(Exit),
}

impl Serialize for Grade {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Self::Ok => "ok",
            Self::Skip => "skip",
            Self::Warn => "warn",
            Self::Fail(_) => "fail",
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    grade: Grade,
    #[serde(rename = "check")]
    what: &'static str,
    text: String,
    remedy: Option<String>,
}

impl Finding {
    fn ok(what: &'static str, text: impl Into<String>) -> Self {
        Self { grade: Grade::Ok, what, text: text.into(), remedy: None }
    }

    fn skip(what: &'static str, text: impl Into<String>) -> Self {
        Self { grade: Grade::Skip, ..Self::ok(what, text) }
    }

    fn warn(what: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { grade: Grade::Warn, remedy: Some(remedy.into()), ..Self::ok(what, text) }
    }

    fn fail(exit: Exit, what: &'static str, text: impl Into<String>) -> Self {
        Self { grade: Grade::Fail(exit), ..Self::ok(what, text) }
    }

    fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }

    /// The finding, wrapped, then its remedy on a line of its own, unwrapped so that it can be copied.
    fn show(&self, color: bool) -> String {
        let (word, tone) = match self.grade {
            Grade::Ok => ("ok  ", Tone::Good),
            Grade::Skip => ("skip", Tone::Faint),
            Grade::Warn => ("warn", Tone::Warning),
            Grade::Fail(_) => ("FAIL", Tone::Bad),
        };
        let word = table::paint(word, tone, color);
        let text = table::wrap(&format!("{}: {}", self.what, self.text), INDENT);
        let remedy = self.remedy.as_deref().map(|remedy| format!("{:INDENT$}{}\n", "", table::clean(remedy)));
        format!("{word}  {}{}", text.trim_start(), remedy.unwrap_or_default())
    }
}

#[derive(Serialize)]
struct CheckJson<'a> {
    schema: u8,
    exit_code: u8,
    findings: &'a [Finding],
}

/// Prints the text of the findings.
type Write<'a> = dyn FnMut(&str) -> Result<(), Failure> + 'a;

/// The findings so far. In the human format each is printed as soon as it is known, since Tink may be slow.
struct Checks<'a> {
    color: bool,
    quiet: bool,
    format: Format,
    findings: Vec<Finding>,
    write: &'a mut Write<'a>,
}

impl<'a> Checks<'a> {
    fn new(color: bool, quiet: bool, format: Format, write: &'a mut Write<'a>) -> Self {
        Self { color, quiet, format, findings: Vec::new(), write }
    }

    fn add(&mut self, findings: impl IntoIterator<Item = Finding>) -> Result<(), Failure> {
        for finding in findings {
            let notable = matches!(finding.grade, Grade::Warn | Grade::Fail(_));
            if self.format == Format::Human && (notable || !self.quiet) {
                (self.write)(&finding.show(self.color))?;
            }
            self.findings.push(finding);
        }
        Ok(())
    }

    /// Prints the JSON document or the closing line; returns the exit code of the program.
    fn close(self) -> Result<Exit, Failure> {
        let exit = self.exit();
        if self.format == Format::Json {
            let all = CheckJson { schema: 1, exit_code: exit.code(), findings: &self.findings };
            (self.write)(&format!("{}\n", table::json(&all)))?;
        } else if !self.quiet {
            let closing = self.closing();
            (self.write)(&closing)?;
        }
        Ok(exit)
    }

    fn exit(&self) -> Exit {
        let failed = self.findings.iter().find_map(|finding| match finding.grade {
            Grade::Fail(exit) => Some(exit),
            _ => None,
        });
        failed.unwrap_or(Exit::Success)
    }

    /// A closing line such as `Nothing fails; 1 warning.`
    fn closing(&self) -> String {
        let number = |is: fn(Grade) -> bool| self.findings.iter().filter(|finding| is(finding.grade)).count();
        let warnings = number(|grade| grade == Grade::Warn);
        let failures = number(|grade| matches!(grade, Grade::Fail(_)));
        match (failures, warnings) {
            (0, 0) => "All is well.\n".to_owned(),
            (0, _) => format!("Nothing fails; {}.\n", table::count(warnings, "warning")),
            (_, 0) => format!("{} to fix.\n", table::count(failures, "failure")),
            (_, _) => format!(
                "{} to fix, {}.\n",
                table::count(failures, "failure"),
                table::count(warnings, "warning")
            ),
        }
    }
}

pub(super) fn run(env: &Environment, args: &Args) -> Result<Exit, Failure> {
    check(env, args, &mut table::print)
}

/// Reports that the configuration cannot be read: nothing else can be checked then.
pub(super) fn without_configuration(
    error: &ConfigError,
    args: &Args,
    color: bool,
    quiet: bool,
) -> Result<Exit, Failure> {
    let mut write = table::print;
    let mut checks = Checks::new(color, quiet, args.format, &mut write);
    checks.add(error.each().iter().map(settings::refused))?;
    checks.close()
}

fn check<'a>(env: &Environment, args: &Args, write: &'a mut Write<'a>) -> Result<Exit, Failure> {
    let mut checks = Checks::new(env.color, env.quiet, args.format, write);
    checks.add(settings::configuration(env))?;
    checks.add(settings::writable(env))?;
    checks.add(settings::network(env))?;
    let store = store::findings(env);
    // A store that fails is not opened again: SQLite might leave files beside it.
    let sound = !store.iter().any(|finding| matches!(finding.grade, Grade::Fail(_)));
    // Before the store is opened for what follows: the log is asked for other readers.
    let log = log::look(env.place()).filter(|_| sound);
    let reader = if sound { env.reader_if_there().ok().flatten() } else { None };
    checks.add(settings::secrets(env, args.offline, reader.as_ref()))?;
    checks.add(store)?;
    checks.add(log.map(|log| log::finding(&log, reader.as_ref())))?;
    checks.add(store::metrics(env))?;
    checks.add(reader.as_ref().and_then(|reader| store::app(env, reader)))?;
    let (findings, user) = source::findings(env, sound, reader.as_ref());
    checks.add(findings)?;
    let timer = Timer::ask();
    let schedule = reader.as_ref().and_then(|reader| Schedule::with(env, reader, timer.clone().ok()).ok());
    let last = reader.and_then(|reader| reader.last_pass().ok()).flatten();
    if args.offline {
        checks.add([Finding::skip("Tink", "left out (--offline)")])?;
    } else {
        checks.add(tink::findings(env, user)?)?;
    }
    checks.add(timer::findings(timer, schedule.as_ref(), last.as_ref(), env))?;
    checks.add(unit::findings(&env.settings))?;
    checks.add(hooks::findings(&env.settings.hooks))?;
    checks.close()
}

#[cfg(test)]
mod tests;
