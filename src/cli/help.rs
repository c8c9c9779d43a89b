//! Tests of all help texts: every command shows an example of its use, and this program accepts every example.

use clap::{Command, CommandFactory as _, Parser as _};

use super::Cli;
use super::table::WIDTH;

const RULE: &str =
    "every visible command ends its help with `Examples:` (after_help), one per line, indented by two";

/// Every visible command and the words that call it.
fn visible(command: &Command, path: &str) -> Vec<(String, Command)> {
    let below = command.get_subcommands().filter(|below| !below.is_hide_set());
    let mut all = vec![(path.to_owned(), command.clone())];
    all.extend(below.flat_map(|below| visible(below, &format!("{path} {}", below.get_name()))));
    all
}

fn commands() -> Vec<(String, Command)> {
    visible(&Cli::command(), "tink-sync")
}

fn after_help(command: &Command) -> String {
    command.get_after_help().map(ToString::to_string).unwrap_or_default()
}

fn examples(command: &Command) -> Vec<String> {
    let text = after_help(command);
    let paragraph = text.split("\n\n").find_map(|paragraph| paragraph.strip_prefix("Examples:\n"));
    paragraph.unwrap_or_default().lines().map(str::to_owned).collect()
}

/// The words of the program in an example, without the shell around them and its input.
fn words(example: &str) -> Option<Vec<String>> {
    let (_, call) = example.split_once("tink-sync ")?;
    let end = [" | ", " < ", " > ", "  ", "'"].iter().filter_map(|end| call.find(end)).min();
    let call = call.get(..end.unwrap_or(call.len()))?;
    Some(["tink-sync"].into_iter().chain(call.split_whitespace()).map(str::to_owned).collect())
}

#[test]
fn every_command_shows_an_example() {
    for (path, command) in commands() {
        let examples = examples(&command);
        let of_it = examples.iter().any(|line| line.starts_with("  ") && line.contains(&path));
        assert!(of_it, "`{path}` shows no example of itself: {RULE}");
    }
}

#[test]
fn every_example_is_a_command_that_is_taken() {
    for (path, command) in commands() {
        for example in examples(&command) {
            let Some(words) = words(&example) else { continue };
            if let Err(error) = Cli::try_parse_from(&words) {
                panic!("`{path}` shows `{}`, which is refused: {error}", example.trim());
            }
        }
    }
}

#[test]
fn examples_fit_a_terminal() {
    for (path, command) in commands() {
        for line in examples(&command) {
            assert!(line.chars().count() <= WIDTH, "`{path}`: more than {WIDTH} columns: {line}");
        }
    }
}

#[test]
fn every_command_and_option_is_described() {
    for (path, command) in commands() {
        assert!(command.get_about().is_some(), "`{path}` does not say what it does");
        for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
            assert!(argument.get_help().is_some(), "`{path}` does not describe {}", argument.get_id());
        }
    }
}
