//! The same passes on a store of SQLite's and on one of PostgreSQL's, side by side: `cargo bench --bench pass -- engines [S] [M]`.
//! Needs PostgreSQL's programs.
//!
//! How to read the tables. The server is one of the bench's own, with the durability that it is installed with, on this very
//! machine: its CPU (`server`) is taken from the same cores, as is the fake Tink's. `at 1.4 ms` has a line between the
//! program and the server that holds back what either says for 0.7 ms. `trips` are the times that the program waited for the
//! server, for each connection. The numbers in brackets are multiples of the line `sqlite`. `bulk` is what inserting as many rows
//! takes over four sessions, 1,000 rows a statement by unnest, into a table of 29 columns with four indexes (every row of the
//! store's is in five), and nothing else: no fetching, no comparing, no numbers for readers.
//!
//! Then a first pass of one host and of two at once on one store, with a fake Tink that answers after 80 ms.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use postgres::Client;

use crate::bank::Bank;
use crate::measure::{self, Measured};
use crate::postgres_server::{Server, session};
use crate::{CONCURRENCY, SIZES, Size, passes};

/// From the program to the server and back.
const DISTANCE: Duration = Duration::from_micros(1_400);
/// How long the fake Tink takes where hosts are compared.
const LATENCY: Duration = Duration::from_millis(80);
const OWNER: &str = "keeper";
const HEADING: &str =
    "size and pass    store                     wall              cpu         server  trips   peak";

/// Prints both tables.
pub fn tables(names: &[String]) {
    let wanted =
        |size: &Size| names.iter().any(|name| name == size.name) || names.is_empty() && size.name == "M";
    let sizes: Vec<Size> = SIZES.into_iter().filter(wanted).collect();
    assert!(!sizes.is_empty(), "unknown size; there are S, M, L and XL");
    for size in &sizes {
        engines(*size);
    }
    for size in sizes {
        hosts(size);
    }
}

/// A server of the bench's own.
struct Cluster {
    server: Server,
    admin: Client,
    /// The process that all others of the server's are children of.
    process: u32,
}

impl Cluster {
    fn start(dir: &Path) -> Self {
        let settings = ["shared_buffers=256MB", "max_wal_size=4GB", "max_connections=100"];
        let (server, mut admin) = Server::start(dir, &settings).unwrap();
        admin.batch_execute(&format!("CREATE ROLE {OWNER} LOGIN")).unwrap();
        let process =
            admin.query_one("SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)", &[]).unwrap();
        let process = process.get::<_, String>(0).parse().unwrap();
        let version: String = admin.query_one("SHOW server_version", &[]).unwrap().get(0);
        println!("\nPostgreSQL {version} of {}", server.programs.display());
        Self { server, admin, process }
    }

    /// An empty database; its address, with the port that leads to the server.
    fn database(&mut self, name: &str, port: u16) -> String {
        // What was written before is not a cost of what is measured next.
        self.admin.batch_execute("CHECKPOINT").unwrap();
        self.admin.batch_execute(&format!("CREATE DATABASE {name} OWNER {OWNER}")).unwrap();
        format!("postgres://{OWNER}@127.0.0.1:{port}/{name}?sslmode=disable")
    }

    /// The CPU that all of its processes have taken so far, in seconds.
    fn cpu(&self) -> f64 {
        measure::cpu_of_family(self.process)
    }
}

/// The passes of one size on each store.
fn engines(size: Size) {
    let dir = measure::directory();
    let mut cluster = Cluster::start(dir.path());
    println!("{HEADING}");
    let far = line(cluster.server.port);
    let near = cluster.server.port;
    let stores = [
        ("sqlite", None),
        ("postgresql", Some(cluster.database("near", near))),
        ("  at 1.4 ms", Some(cluster.database("far", far))),
    ];
    let bank = Bank::start(size, Duration::ZERO);
    let places = stores.map(|(name, url)| {
        let place = dir.path().join(name.trim());
        std::fs::create_dir(&place).unwrap();
        let url = url.unwrap_or_else(|| format!("sqlite:{}/store.db", place.display()));
        bank.configure_store(&place, CONCURRENCY, &url);
        (name, place)
    });
    for (pass, day, _) in passes() {
        bank.set_day(day);
        let mut least: Option<Measured> = None;
        for (name, place) in &places {
            let before = cluster.cpu();
            let ours = measure::pass_on_server(&bank, place);
            let server = cluster.cpu() - before;
            let title = format!("{:<3} {pass}", size.name);
            println!("{}", line_of(&title, name, size, &ours, server, least.as_ref()));
            least = least.or(Some(ours));
        }
        if day == 0 && pass == "first" {
            let rows = least.as_ref().map_or(0, |least| least.rows);
            let (before, began) = (cluster.cpu(), Instant::now());
            bulk(&mut cluster, rows);
            let (wall, server) = (began.elapsed().as_secs_f64(), cluster.cpu() - before);
            println!(
                "{:<16} {:<21} {wall:>8.2} {:>23.1} {:>6}",
                format!("{:<3} {pass}", size.name),
                "bulk",
                server,
                ""
            );
        }
    }
}

fn line_of(
    title: &str,
    name: &str,
    size: Size,
    ours: &Measured,
    server: f64,
    least: Option<&Measured>,
) -> String {
    let times = |ours: f64, theirs: fn(&Measured) -> f64| match least {
        Some(least) => format!("{ours:>8.2} ({:>4.2})", ours / theirs(least)),
        None => format!("{ours:>8.2}       "),
    };
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let trips = ours.round_trips as f64 / f64::from(size.connections);
    format!(
        "{title:<16} {name:<21} {} {} {server:>6.1} {trips:>6.1} {:>6}",
        times(ours.wall, |least| least.wall),
        times(ours.cpu, |least| least.cpu),
        ours.peak,
    )
}

/// A first pass by one host, and by two at once.
fn hosts(size: Size) {
    let dir = measure::directory();
    let mut cluster = Cluster::start(dir.path());
    println!("at 80 ms         hosts     wall  times as fast  server  requests");
    let bank = Bank::start(size, LATENCY);
    let mut one_host = None;
    for hosts in [1, 2] {
        let url = cluster.database(&format!("hosts_{hosts}"), cluster.server.port);
        let places: Vec<_> = (0..hosts)
            .map(|host| {
                let place = dir.path().join(format!("{hosts}-{host}"));
                std::fs::create_dir(&place).unwrap();
                bank.configure_store(&place, CONCURRENCY, &url);
                place
            })
            .collect();
        let (before, began) = (cluster.cpu(), Instant::now());
        let passes: Vec<Measured> = std::thread::scope(|scope| {
            let running: Vec<_> =
                places.iter().map(|place| scope.spawn(|| measure::pass_on_server(&bank, place))).collect();
            running.into_iter().map(|host| host.join().unwrap()).collect()
        });
        let (wall, server) = (began.elapsed().as_secs_f64(), cluster.cpu() - before);
        let requests: u64 = passes.iter().map(|pass| pass.requests).sum();
        let faster = one_host.map_or_else(String::new, |one: f64| format!("{:.2}", one / wall));
        one_host = one_host.or(Some(wall));
        println!(
            "{:<16} {hosts:<5} {wall:>8.2}  {faster:>13}  {server:>6.1}  {requests:>8}",
            format!("{:<3} first", size.name)
        );
    }
}

const COLUMNS: usize = 26;

/// Inserts rows into a table like the store's, and nothing else.
fn bulk(cluster: &mut Cluster, rows: u64) {
    const SESSIONS: u64 = 4;
    const ROWS: u64 = 1_000;
    let url = cluster.database("bulk", cluster.server.port);
    let name = url.rsplit_once('/').unwrap().1.split('?').next().unwrap().to_owned();
    let mut db = session(cluster.server.port, OWNER, &name).unwrap();
    let columns: Vec<String> = (0..COLUMNS).map(|n| format!("c{n} text COLLATE \"C\"")).collect();
    db.batch_execute(&format!(
        "CREATE TABLE rows (key bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, account bigint, seq bigint, {});
         CREATE UNIQUE INDEX ON rows (account, c0); CREATE INDEX ON rows (seq); CREATE INDEX ON rows (account, c1)",
        columns.join(", ")
    ))
    .unwrap();
    std::thread::scope(|scope| {
        for lane in 0..SESSIONS {
            let (port, name) = (cluster.server.port, &name);
            scope.spawn(move || {
                let mut db = session(port, OWNER, name).unwrap();
                let named: Vec<String> = (0..COLUMNS).map(|n| format!("c{n}")).collect();
                let arrays: Vec<String> = (0..COLUMNS).map(|n| format!("${}::text[]", n + 3)).collect();
                let insert = db
                    .prepare(&format!(
                        "INSERT INTO rows (account, seq, {0}) SELECT $1::bigint, $2::bigint + r.place, {1}
                         FROM unnest({2}) WITH ORDINALITY AS r ({0}, place)",
                        named.join(", "),
                        named.iter().map(|name| format!("r.{name}")).collect::<Vec<_>>().join(", "),
                        arrays.join(", ")
                    ))
                    .unwrap();
                for part in (0..rows / ROWS).filter(|part| part % SESSIONS == lane) {
                    insert_part(&mut db, &insert, part, ROWS);
                }
            });
        }
    });
}

fn insert_part(db: &mut Client, insert: &postgres::Statement, part: u64, rows: u64) {
    let part = i64::try_from(part).unwrap();
    // About as long as those of the fake Tink.
    let column = |n: usize| -> Vec<Option<String>> {
        (0..rows)
            .map(|row| match n {
                0 => Some(format!("{part:08}-{row:08}-00000000-00000000")),
                1..4 => Some(format!("2026-{:02}-{:02}", row % 12 + 1, row % 28 + 1)),
                4..16 => Some(format!("some text {row}")),
                _ => None,
            })
            .collect()
    };
    let columns: Vec<Vec<Option<String>>> = (0..COLUMNS).map(column).collect();
    let first = part * i64::try_from(rows).unwrap();
    let mut parameters: Vec<&(dyn postgres::types::ToSql + Sync)> = vec![&part, &first];
    parameters.extend(columns.iter().map(|column| column as &(dyn postgres::types::ToSql + Sync)));
    db.execute(insert, &parameters).unwrap();
}

/// A line to the server on which what is said takes half of [`DISTANCE`] each way; returns the port of its near end. It is there
/// as long as the process.
fn line(server: u16) -> u16 {
    let near = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = near.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for client in near.incoming() {
            let (client, server) = (client.unwrap(), TcpStream::connect(("127.0.0.1", server)).unwrap());
            for socket in [&client, &server] {
                socket.set_nodelay(true).unwrap();
            }
            carry(client.try_clone().unwrap(), server.try_clone().unwrap());
            carry(server, client);
        }
    });
    port
}

fn carry(mut from: TcpStream, mut to: TcpStream) {
    let (said, heard) = mpsc::channel::<(Instant, Vec<u8>)>();
    std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(size @ 1..) = from.read(&mut buffer) {
            let due = Instant::now() + DISTANCE / 2;
            if said.send((due, buffer[..size].to_vec())).is_err() {
                return;
            }
        }
    });
    std::thread::spawn(move || {
        while let Ok((due, bytes)) = heard.recv() {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                return;
            }
        }
        // The other side has ended it already.
        let _ = to.shutdown(Shutdown::Write);
    });
}
