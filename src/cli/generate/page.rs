//! The man page of a command, from its command line; for the whole program also what the command line does
//! not contain. Repeats no list that the code has.

use clap::{Arg, Command};
use clap_mangen::Man;
use roff::{Inline, Roff, bold, italic, roman};

use crate::config;
use crate::exit::Exit;

const ENVIRONMENT: [(&str, &str); 11] = [
    (
        config::PATH_VARIABLE,
        "Path of the configuration file, unless --config is given. This and the other TINK_ variables count as unset if empty.",
    ),
    (config::CLIENT_ID_VARIABLE, "The client id; goes before tink.client_id."),
    (
        config::CLIENT_SECRET_VARIABLE,
        "The client secret, if it is found nowhere else; accepted with a warning.",
    ),
    (config::ENABLED_VARIABLE, "false switches passes off, whatever the configuration says."),
    (config::USER_VARIABLE, "The user that commands of root become, instead of tink-sync; root stays root."),
    (
        config::HOOK_USER_VARIABLE,
        "The user that root becomes for the commands of hooks, instead of tink-sync-hook.",
    ),
    (config::CREDENTIALS_VARIABLE, "Directory with the credentials of the unit; set by systemd."),
    (
        config::PASSWORD_VARIABLE,
        "The password for PostgreSQL, before any password file. Other programs of the same user can see it.",
    ),
    (
        "PGHOST, PGPASSFILE, PGSSLROOTCERT and the like",
        "What libpq takes from the environment, for what store.url and source.database leave out.",
    ),
    ("JOURNAL_STREAM", "Set by systemd: records then go to the journal with their fields."),
    ("NO_COLOR", "If set and not empty, nothing is coloured."),
];

const FILES: [(&str, &str); 9] = [
    (config::DEFAULT_PATH, "The configuration; see tink-sync.toml(5)."),
    (
        "/var/lib/tink-sync/tink-sync.db",
        "The store, an SQLite file unless store.url says otherwise; the views whose names end in _v1 are for reading, by members of the group tink-sync-read, with SQLite 3.37 or later.",
    ),
    (
        "/usr/share/doc/tink-sync/reading.md",
        "For readers of the views: how to follow changes by change_seq, what a number promises and what not, exact sums.",
    ),
    (
        "/etc/credstore.encrypted/tink-sync.client-secret",
        "The client secret, made by systemd-creds encrypt --name=tink-sync.client-secret.",
    ),
    ("/etc/credstore/tink-sync.client-secret", "The client secret in plain text, readable by root only."),
    (
        "tink-sync.service, tink-sync.timer, tink-sync@.service",
        "A pass, when passes are due, and the sync of one connection: systemctl start tink-sync@ID.",
    ),
    (
        "/etc/tink-sync/hooks/KIND",
        "A program that is told of events of this kind, as JSON on standard input; the README names the kinds.",
    ),
    (
        "tink-sync-hook@.path, tink-sync-hook@.service",
        "What runs it: systemctl enable --now tink-sync-hook@KIND.path.",
    ),
    ("tink-sync-failure@.service", "What happens when a pass failed; change it with systemctl edit."),
];

const JOURNAL: [(&str, &str); 6] = [
    ("journalctl -u tink-sync -p warning", "What needs a person, and nothing else."),
    ("journalctl -u tink-sync TINK_CONNECTION_ID=c-17", "What happened to one connection."),
    ("journalctl -x -u tink-sync -n 20", "The last records, each explained."),
    ("journalctl -u tink-sync -o json TINK_OUTCOME=failed", "Failures with all their fields, for programs."),
    (
        "journalctl _SYSTEMD_INVOCATION_ID=$(systemctl show -P InvocationID tink-sync.service)",
        "Everything about the last pass.",
    ),
    ("journalctl -u 'tink-sync-failure@*'", "The alerts of failed passes."),
];

const USUAL_STATUS: &str = "0 if it was done, 2 for wrong usage, 74 or 75 if a database cannot be used, 78 if the configuration is wrong; tink-sync(1) has the whole table.";

/// The title line, without a date, so that the same program always produces the same page.
pub(super) fn title(name: &str, section: u8) -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!(".TH \"{name}\" \"{section}\" \"\" \"tink-sync {version}\" \"tink-sync\"\n")
}

/// The page of `command`, named `name`, below the page `above`; `None` if it is the program itself.
pub(super) fn of_command(name: &str, command: &Command, above: Option<&str>) -> String {
    let man = Man::new(command.clone());
    let mut page = Vec::new();
    // Writing to memory cannot fail.
    let _ = man.render_name_section(&mut page);
    let _ = man.render_options_section(&mut page);
    let rendered = String::from_utf8_lossy(&page);
    let (named, options) = rendered.split_at(rendered.find(".SH OPTIONS").unwrap_or(rendered.len()));
    let head = [title(&name.to_uppercase(), 1), named.to_owned(), synopsis(name, command).to_roff()];
    ascii(&(head.concat() + options + &sections(name, command, above).to_roff()))
}

/// Writes other characters in a form that every roff reads, whatever encoding it expects.
pub(super) fn ascii(text: &str) -> String {
    let letter = |c: char| if c.is_ascii() { c.to_string() } else { format!("\\[u{:04X}]", u32::from(c)) };
    text.chars().map(letter).collect()
}

/// The synopsis, without the options that every command takes, and the description.
fn synopsis(name: &str, command: &Command) -> Roff {
    let mut page = Roff::new();
    page.control("SH", ["SYNOPSIS"]);
    let mut call = vec![bold(command.get_bin_name().unwrap_or(name).to_owned())];
    let own = command.get_arguments().filter(|argument| {
        !argument.is_hide_set()
            && !argument.is_global_set()
            && !["help", "version"].contains(&argument.get_id().as_str())
    });
    let (placed, named): (Vec<&Arg>, Vec<&Arg>) = own.partition(|argument| argument.is_positional());
    for argument in named.into_iter().chain(placed) {
        call.push(roman(" "));
        call.extend(called(argument));
    }
    if command.has_subcommands() {
        call.extend([roman(" "), italic("COMMAND")]);
    }
    page.text(call);
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    page.control("SH", ["DESCRIPTION"]).text([roman(format!("{about}."))]);
    page
}

/// `[--format FORMAT]`; without brackets if required.
fn called(argument: &Arg) -> Vec<Inline> {
    let mut parts = Vec::new();
    if let Some(long) = argument.get_long() {
        parts.push(bold(format!("--{long}")));
    }
    if argument.get_action().takes_values() {
        let value = argument.get_value_names().and_then(|names| names.first()).map(ToString::to_string);
        let many = argument.get_num_args().is_some_and(|range| range.max_values() > 1);
        parts.extend((!parts.is_empty()).then(|| roman(" ")));
        parts.push(italic(value.unwrap_or_else(|| argument.get_id().as_str().to_uppercase())));
        parts.extend(many.then(|| roman("...")));
    }
    if !argument.is_required_set() {
        parts.insert(0, roman("["));
        parts.push(roman("]"));
    }
    parts
}

fn sections(name: &str, command: &Command, above: Option<&str>) -> Roff {
    let (mut more, whole) = (Roff::new(), above.is_none());
    let below: Vec<&Command> = command.get_subcommands().filter(|below| below.get_name() != "help").collect();
    if !below.is_empty() {
        let rows = below.iter().map(|below| {
            let about = below.get_about().map(ToString::to_string).unwrap_or_default();
            (below.get_name().to_owned(), format!("{about}. See {name}-{}(1).", below.get_name()))
        });
        list(&mut more, "COMMANDS", rows);
    }
    after(&mut more, command, whole);
    if whole {
        let codes = Exit::ALL.into_iter().map(|exit| {
            let success = if exit.is_unit_success() { " (a success for systemd)" } else { "" };
            (exit.code().to_string(), format!("{}{success}.", capital(exit.meaning())))
        });
        list(&mut more, "EXIT STATUS", codes);
        for (title, rows) in [("ENVIRONMENT", &ENVIRONMENT[..]), ("FILES", &FILES), ("JOURNAL", &JOURNAL)] {
            list(&mut more, title, rows.iter().map(|(term, text)| ((*term).to_owned(), (*text).to_owned())));
        }
    }
    more.control("SH", ["SEE ALSO"]);
    let pages = match above {
        None => {
            "tink-sync.toml(5), systemctl(1), journalctl(1), systemd-creds(1), systemd.timer(5)".to_owned()
        }
        Some("tink-sync") => "tink-sync(1), tink-sync.toml(5)".to_owned(),
        Some(above) => format!("{above}(1), tink-sync(1), tink-sync.toml(5)"),
    };
    more.text([roman(pages)]);
    more
}

/// A section of terms with their meanings.
fn list(page: &mut Roff, title: &str, rows: impl Iterator<Item = (String, String)>) {
    page.control("SH", [title]);
    for (term, text) in rows {
        page.control("TP", []).text([bold(term)]).text([roman(text)]);
    }
}

/// The paragraphs after the help text: examples verbatim, anything else as text.
fn after(page: &mut Roff, command: &Command, whole: bool) {
    let mut text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    if !whole && !text.contains("Exit status:") {
        text.push_str("\n\nExit status:");
        text.push_str(USUAL_STATUS);
    }
    for paragraph in text.split("\n\n") {
        if let Some(examples) = paragraph.strip_prefix("Examples:\n") {
            page.control("SH", ["EXAMPLES"]).control("nf", []);
            for line in examples.lines() {
                page.text([roman(line)]);
            }
            page.control("fi", []);
        } else if let Some(status) = paragraph.strip_prefix("Exit status:") {
            // The whole program has the complete table.
            if !whole {
                page.control("SH", ["EXIT STATUS"]).text([roman(joined(status))]);
            }
        } else if !paragraph.trim().is_empty() {
            page.control("SH", ["NOTES"]);
            notes(page, paragraph);
        }
    }
}

/// Text in which indented lines are verbatim.
fn notes(page: &mut Roff, paragraph: &str) {
    let mut words: Vec<&str> = Vec::new();
    for line in paragraph.lines() {
        if line.starts_with("  ") {
            if !words.is_empty() {
                page.text([roman(joined(&words.join(" ")))]);
                words.clear();
            }
            page.control("nf", []).text([roman(line)]).control("fi", []);
        } else {
            words.push(line);
        }
    }
    if !words.is_empty() {
        page.text([roman(joined(&words.join(" ")))]);
    }
}

fn joined(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
