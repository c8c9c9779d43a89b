//! The example `demo`: the whole tool in one minute, against the sandbox. Starts a fake Tink, makes a
//! store with 25 connections and runs the real command line on it, step by step. The files stay for
//! looking around. Nothing leaves this machine.

use std::error::Error;
use std::path::Path;
use std::process::{Command, ExitCode};

use jiff::ToSpan as _;
use rusqlite::{Connection, OpenFlags};
use tink_sandbox::{Action, Config, Endpoint, Fault, Rates, Sandbox, Times};

/// Set in the environment of the processes this one starts: they are the command line itself.
const AS_COMMAND: &str = "TINK_SYNC_DEMO_COMMAND";

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    if tink_sync::config::process_env(AS_COMMAND).is_some() {
        return tink_sync::cli::main().process_exit_code();
    }
    match show() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("the demo failed: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn show() -> Result<()> {
    let rates = Rates { undated: 0, ..Rates::lively() };
    let world = Config::default();
    // Days later than usual, or its data would be so old that every connection says so.
    let day0 = world.day0.saturating_add(2.days());
    let sandbox = Sandbox::try_start(Config { users: 25, rates, day0, ..world })?;
    let dir = std::env::temp_dir().join(format!("tink-sync-demo-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    prepare(&dir, &sandbox)?;
    title("The set-up: 25 connections; three users do not pay, one bank is broken,\n   one user must act");
    sandbox.fault(
        Fault::new(Action::status(500)).user("user-3").at(Endpoint::Transactions).times(Times::Forever),
    );
    sandbox.plan("user-7", |plan| plan.consent(0).status = Some("SESSION_EXPIRED".to_owned()));
    for (text, args) in [
        ("A rehearsal: nothing is written", &["run", "--dry-run"][..]),
        ("The first pass", &["run"]),
        ("A second pass: nothing is new", &["run"]),
    ] {
        step(&dir, text, args)?;
    }
    sandbox.set_day(1);
    step(&dir, "A day later: pendings were booked, rows corrected, new ones came", &["run"])?;
    step(&dir, "How fresh is everything?", &["status"])?;
    step(&dir, "Why did c-3 get no data?", &["why", "c-3"])?;
    rows(&dir)?;
    look_around(&dir);
    Ok(())
}

/// What can be tried now, to be copied as it stands.
fn look_around(dir: &Path) {
    title("Look around");
    let (store, configuration) = (dir.join("store.db"), dir.join("tink-sync.toml"));
    say(&format!("  the store          {}", store.display()));
    say(&format!("  the configuration  {}", configuration.display()));
    // Root's commands become the service user, where there is one, and the files are root's.
    let is_root = std::fs::metadata(dir).is_ok_and(|made| std::os::unix::fs::MetadataExt::uid(&made) == 0);
    let by = if is_root { "TINK_SYNC_USER=root " } else { "" };
    say("\nThese work from here:");
    for command in ["status", "why c-3", "export --removed"] {
        say(&format!("  {by}cargo run -q -- \\\n    --config {} {command}", configuration.display()));
    }
    say(&format!("  sqlite3 -readonly {} \\\n    'SELECT * FROM transactions_v1 LIMIT 5'", store.display()));
    say("\nThe fake Tink has ended with this demo: what asks Tink (run, connect, renew)");
    say("fails now.");
}

/// The application's database with its one view, the secret and the configuration.
fn prepare(dir: &Path, sandbox: &Sandbox) -> Result<()> {
    let app = Connection::open(dir.join("app.db"))?;
    app.execute_batch(
        "CREATE TABLE users (id INTEGER PRIMARY KEY, plan TEXT);
         CREATE TABLE bank_links (id TEXT, user_id INTEGER, disconnected_at TEXT, tink_name TEXT);
         CREATE VIEW tink_sync_source_v1 AS
            SELECT l.id AS connection_id, l.user_id, l.disconnected_at IS NULL AS enabled,
                   u.plan = 'premium' AS entitled, l.tink_name AS external_user_id
            FROM bank_links l JOIN users u ON u.id = l.user_id;",
    )?;
    for n in 0..25 {
        let plan = if [5, 11, 17].contains(&n) { "free" } else { "premium" };
        app.execute("INSERT INTO users VALUES (?1, ?2)", (n, plan))?;
        app.execute(
            "INSERT INTO bank_links VALUES (?1, ?2, NULL, ?3)",
            (format!("c-{n}"), n, format!("user-{n}")),
        )?;
    }
    let secret = dir.join("client-secret");
    std::fs::write(&secret, "sandbox-secret\n")?;
    private(&secret)?;
    let text = format!(
        "[tink]\nclient_id = \"sandbox-client\"\nclient_secret_file = \"{secret}\"\napi_url = \"{url}\"\n\
         requests_per_second = 1000\n\n[store]\nurl = \"sqlite:{dir}/store.db\"\n\n\
         [source]\nview = \"tink_sync_source_v1\"\ndatabase = \"{dir}/app.db\"\n\n\
         [sync]\nmin_interval = \"0s\"\n\n[retry]\nbase = \"50ms\"\n",
        secret = secret.display(),
        url = sandbox.url(),
        dir = dir.display(),
    );
    Ok(std::fs::write(dir.join("tink-sync.toml"), text)?)
}

fn private(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    Ok(std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?)
}

/// Runs one command of the real command line, in a process of its own.
fn step(dir: &Path, text: &str, args: &[&str]) -> Result<()> {
    title(text);
    say(&format!("$ tink-sync {}", args.join(" ")));
    let status = Command::new(std::env::current_exe()?)
        .env(AS_COMMAND, "1")
        // The files of the demonstration belong to the user who started it.
        .env("TINK_SYNC_USER", "root")
        .arg("--config")
        .arg(dir.join("tink-sync.toml"))
        .args(args)
        .status()?;
    say(&format!("(exit status {})", status.code().unwrap_or(-1)));
    Ok(())
}

/// A few rows by SQL, as an application would read them.
fn rows(dir: &Path) -> Result<()> {
    title("The rows, by SQL");
    let sql = "SELECT connection_id, booked_date, amount, currency, status, coalesce(removed_reason, ''), substr(description_original, 1, 25)
               FROM transactions_v1 WHERE booked_date IS NOT NULL ORDER BY change_seq DESC LIMIT 8";
    say(
        "$ sqlite3 -readonly store.db \\\n    \"SELECT … FROM transactions_v1 ORDER BY change_seq DESC LIMIT 8\"",
    );
    let store = Connection::open_with_flags(dir.join("store.db"), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut statement = store.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let text = |column| row.get::<_, Option<String>>(column).map(Option::unwrap_or_default);
        say(&format!(
            "{:<5} {}  {:>12} {}  {:<7} {:<8} {}",
            text(0)?,
            text(1)?,
            text(2)?,
            text(3)?,
            text(4)?,
            text(5)?,
            text(6)?
        ));
    }
    Ok(())
}

fn title(text: &str) {
    say(&format!("\n== {text}"));
}

#[expect(clippy::print_stdout, reason = "an example talks to the person who runs it")]
fn say(text: &str) {
    println!("{text}");
}
