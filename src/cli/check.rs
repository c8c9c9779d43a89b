//! `tink-sync check`: everything an operator would otherwise learn at 3 am, one line per check with the
//! remedy. Changes nothing, and creates no file.

mod hooks;
mod local;
mod timer;
mod tink;

use super::table::{self, Tone};
use super::{Environment, Failure};
use crate::exit::Exit;

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  sudo tink-sync check              as the service sees it\n  tink-sync check --offline         without asking Tink\n  sudo tink-sync --quiet check      only what needs a person\n\nExit status: 0 when nothing says FAIL, else that of the first FAIL: 78 for\nconfiguration, secrets, view or clock, 74 or 75 for a database, 69 if Tink is\nout of reach, 77 if Tink refuses."
)]
pub struct Args {
    /// Leave Tink out
    #[arg(long)]
    pub offline: bool,
}

/// How one check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grade {
    Ok,
    /// Not checked, for a reason that is said.
    Skip,
    Warn,
    /// The exit code says which area.
    Fail(Exit),
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    grade: Grade,
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

    /// The finding on one line, wrapped, its remedy indented below.
    fn show(&self, color: bool) -> String {
        let (word, tone) = match self.grade {
            Grade::Ok => ("ok  ", Tone::Good),
            Grade::Skip => ("skip", Tone::Faint),
            Grade::Warn => ("warn", Tone::Warning),
            Grade::Fail(_) => ("FAIL", Tone::Bad),
        };
        let word = table::paint(word, tone, color);
        let remedy = self.remedy.as_deref().map(|remedy| format!("      {}\n", table::clean(remedy)));
        format!("{word}  {}: {}\n{}", self.what, table::clean(&self.text), remedy.unwrap_or_default())
    }
}

/// Where the text of the findings goes.
type Tell<'a> = dyn FnMut(&str) -> Result<(), Failure> + 'a;

/// The findings so far; each is told as soon as it is there, since Tink may take its time.
struct Checks<'a> {
    color: bool,
    quiet: bool,
    findings: Vec<Finding>,
    tell: &'a mut Tell<'a>,
}

impl Checks<'_> {
    fn add(&mut self, findings: impl IntoIterator<Item = Finding>) -> Result<(), Failure> {
        for finding in findings {
            let notable = matches!(finding.grade, Grade::Warn | Grade::Fail(_));
            if notable || !self.quiet {
                (self.tell)(&finding.show(self.color))?;
            }
            self.findings.push(finding);
        }
        Ok(())
    }

    fn exit(&self) -> Exit {
        let failed = self.findings.iter().find_map(|finding| match finding.grade {
            Grade::Fail(exit) => Some(exit),
            _ => None,
        });
        failed.unwrap_or(Exit::Success)
    }

    /// `9 ok, 1 warning`, and what to do next.
    fn closing(&self) -> String {
        let number = |is: fn(Grade) -> bool| self.findings.iter().filter(|finding| is(finding.grade)).count();
        let warnings = number(|grade| grade == Grade::Warn);
        let failures = number(|grade| matches!(grade, Grade::Fail(_)));
        match (failures, warnings) {
            (0, 0) => "All is well.\n".to_owned(),
            (0, _) => format!("Nothing fails; {}.\n", table::count(warnings, "warning")),
            (_, 0) => format!("{} to mend.\n", table::count(failures, "failure")),
            (_, _) => format!(
                "{} to mend, {}.\n",
                table::count(failures, "failure"),
                table::count(warnings, "warning")
            ),
        }
    }
}

/// Checks the set-up.
///
/// # Errors
/// [`Failure`] only if the findings cannot be shown.
pub fn run(env: &Environment, args: &Args) -> Result<Exit, Failure> {
    check(env, args.offline, &mut table::print)
}

fn check<'a>(env: &Environment, offline: bool, tell: &'a mut Tell<'a>) -> Result<Exit, Failure> {
    let mut checks = Checks { color: env.color, quiet: env.quiet, findings: Vec::new(), tell };
    checks.add(local::configuration(env))?;
    checks.add(local::secrets(env, offline))?;
    checks.add([local::store(env)])?;
    let (findings, user) = local::source(env);
    checks.add(findings)?;
    if offline {
        checks.add([Finding::skip("Tink", "left out (--offline)")])?;
    } else {
        checks.add(tink::findings(env, user)?)?;
    }
    checks.add(timer::findings(&env.settings))?;
    checks.add(hooks::findings(&env.settings.hooks))?;
    if !env.quiet {
        let closing = checks.closing();
        (checks.tell)(&closing)?;
    }
    Ok(checks.exit())
}

#[cfg(test)]
mod tests;
