//! The fake Tink of a bench, in a process of its own so that its CPU is its own, and the configuration of a pass over
//! all of its users.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use jiff::ToSpan as _;
use jiff::civil::Date;
use rusqlite::{Connection, params};
use tink_sandbox::{Config, Rates, Sandbox};
use tink_sync::clock::{Clock as _, SystemClock};

use crate::{Size, measure};

/// Rows that an account gets in a day.
const ROWS_PER_DAY: u32 = 2;

/// A day at the bank; on day 1 it is today.
pub fn date(day: i64) -> String {
    day0().checked_add(day.days()).unwrap().to_string()
}

fn day0() -> Date {
    SystemClock.today().yesterday().unwrap()
}

/// A running fake Tink.
pub struct Bank {
    pub url: String,
    child: Child,
    connections: u32,
}

impl Bank {
    /// Starts one, which answers each request after so long.
    pub fn start(size: Size, latency: Duration) -> Self {
        let numbers = [size.connections, size.accounts, size.rows].map(|number| number.to_string());
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("serve")
            .args(numbers)
            .arg(latency.as_millis().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        Self { url: url.trim().to_owned(), child, connections: size.connections }
    }

    /// Goes on to a day.
    pub fn set_day(&self, day: u32) {
        let body = format!("{{\"day\":{day}}}");
        let mut stream = TcpStream::connect(self.url.strip_prefix("http://").unwrap()).unwrap();
        let request = format!(
            "POST /_sandbox/day HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 2"), "{answer}");
    }

    /// The CPU it has taken so far, in seconds.
    pub fn cpu(&self) -> f64 {
        measure::cpu(&self.child.id().to_string(), 2)
    }

    /// Writes the application's database and the configuration of tink-sync.
    pub fn configure(&self, dir: &Path, concurrency: usize) {
        self.configure_store(dir, concurrency, &format!("sqlite:{}/store.db", dir.display()));
    }

    /// The same with a store at this address.
    pub fn configure_store(&self, dir: &Path, concurrency: usize, store: &str) {
        let mut app = Connection::open(dir.join("app.db")).unwrap();
        app.execute_batch("CREATE TABLE links (id TEXT, tink TEXT)").unwrap();
        let tx = app.transaction().unwrap();
        for n in 0..self.connections {
            tx.execute("INSERT INTO links VALUES (?1, ?2)", params![format!("c-{n}"), format!("user-{n}")])
                .unwrap();
        }
        tx.execute_batch(
            "CREATE VIEW tink_sync_source_v1 AS
             SELECT id AS connection_id, id AS user_id, 1 AS enabled, 1 AS entitled, tink AS external_user_id FROM links",
        )
        .unwrap();
        tx.commit().unwrap();
        std::fs::write(dir.join("secret"), "sandbox-secret").unwrap();
        let text = format!(
            "[tink]\nclient_id = \"sandbox-client\"\nclient_secret_file = \"{dir}/secret\"\napi_url = \"{url}\"\n\
             requests_per_second = 10000\nconcurrency = {concurrency}\n[store]\nurl = \"{store}\"\n\
             [source]\nview = \"tink_sync_source_v1\"\ndatabase = \"{dir}/app.db\"\n[sync]\nmin_interval = \"0s\"\n",
            dir = dir.display(),
            url = self.url,
        );
        std::fs::write(dir.join("tink-sync.toml"), text).unwrap();
    }
}

impl Drop for Bank {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// The other side of [`Bank::start`]: serves until it is killed or its starter is gone.
pub fn serve(args: &[String]) {
    let numbers: Vec<u32> = args.iter().map(|arg| arg.parse().unwrap()).collect();
    let [users, accounts, rows, latency] = numbers[..] else { panic!("serve USERS ACCOUNTS ROWS LATENCY") };
    let sandbox = Sandbox::start(Config {
        users,
        rates: Rates::none(),
        rows_per_day: f64::from(ROWS_PER_DAY),
        pending_per_day: 0.3,
        history_days: rows / ROWS_PER_DAY,
        max_accounts: accounts,
        day0: day0(),
        latency: Duration::from_millis(latency.into()),
        ..Config::default()
    });
    for n in 0..users {
        let accounts = usize::try_from(accounts).unwrap();
        sandbox.plan(&format!("user-{n}"), |plan| plan.accounts = accounts);
    }
    println!("{}", sandbox.url());
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}
