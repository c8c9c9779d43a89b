//! `tink-sync generate`: man pages and shell completions for packages, generated from the command line itself,
//! the table of exit codes and the example configuration. The same program always produces the same files.

mod page;
mod settings;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory as _};
use clap_complete::Shell;

use super::{Cli, Failure};
use crate::exit::Exit;

const NAME: &str = "tink-sync";

/// Arguments of `generate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to write
    #[command(subcommand)]
    what: Generated,
}

#[derive(Debug, clap::Subcommand)]
enum Generated {
    /// tink-sync(1), a page for each command, and tink-sync.toml(5)
    Man {
        /// An existing directory
        directory: PathBuf,
    },
    /// For bash, zsh and fish
    Completions {
        /// An existing directory
        directory: PathBuf,
    },
}

/// # Errors
/// [`Failure::Io`] as the file system reports it.
pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    match &args.what {
        Generated::Man { directory } => man(directory)?,
        Generated::Completions { directory } => completions(directory)?,
    }
    Ok(Exit::Success)
}

fn man(directory: &Path) -> io::Result<()> {
    let mut whole = visible(&Cli::command());
    whole.build();
    write_pages(directory, &whole, &[])?;
    let text = settings::page(include_str!("../../tink-sync.toml.example"));
    fs::write(directory.join("tink-sync.toml.5"), text)
}

/// Writes the page of a command and those of its subcommands.
fn write_pages(directory: &Path, command: &Command, above: &[&Command]) -> io::Result<()> {
    let mut path: Vec<&Command> = above.to_vec();
    path.push(command);
    let names: Vec<&str> = path.iter().map(|command| command.get_name()).collect();
    let name = names.join("-");
    let parent = names.split_last().map(|(_, above)| above.join("-")).filter(|above| !above.is_empty());
    let page = page::of_command(&name, command, parent.as_deref());
    fs::write(directory.join(format!("{name}.1")), page)?;
    command
        .get_subcommands()
        .filter(|below| below.get_name() != "help")
        .try_for_each(|below| write_pages(directory, below, &path))
}

fn completions(directory: &Path) -> io::Result<()> {
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut visible(&Cli::command()), NAME, directory)?;
    }
    Ok(())
}

/// The command line without hidden commands, so that no completion offers them.
fn visible(whole: &Command) -> Command {
    let mut shown = Command::new(NAME)
        .version(env!("CARGO_PKG_VERSION"))
        .args(whole.get_arguments().cloned())
        .subcommands(whole.get_subcommands().filter(|command| !command.is_hide_set()).cloned());
    if let Some(about) = whole.get_about() {
        shown = shown.about(about.clone());
    }
    if let Some(after) = whole.get_after_help() {
        shown = shown.after_help(after.clone());
    }
    shown
}
