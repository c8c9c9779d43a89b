//! Two servers of PostgreSQL's, a primary and its standby, and what is done to them. Knows nothing of what they hold
//! but how to shorten a lease.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use postgres::{Client, Config, NoTls};

use crate::lab::{Lab, must, with_us};

const REMEDY: &str = "needs PostgreSQL's server: `apt-get install postgresql`, or name the directory with initdb in \
                      TINK_SYNC_TEST_POSTGRES";
/// The role that owns the store.
pub const ROLE: &str = "app";
/// Where a plain process listens; the second server one port higher.
const PORT: u16 = 54_320;

/// A server; it runs or not.
struct Server {
    address: IpAddr,
    port: u16,
    data: PathBuf,
    log: PathBuf,
    postmaster: Option<Child>,
}

/// Both.
pub struct Cluster {
    binaries: PathBuf,
    servers: Mutex<Vec<Server>>,
    /// Their addresses.
    places: Vec<(IpAddr, u16)>,
    primary: AtomicUsize,
    /// Commits wait for the standby.
    synchronous: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The user that the servers run as: they refuse root.
fn owner() -> &'static str {
    let known = |name: &str| nix::unistd::User::from_name(name).unwrap().is_some();
    if known("postgres") { "postgres" } else { "nobody" }
}

/// A program of PostgreSQL's.
fn program(binaries: &Path, name: &str) -> Command {
    let mut command = with_us("setpriv");
    if nix::unistd::geteuid().is_root() {
        command.args(["--reuid", owner(), "--regid", &group(), "--clear-groups", "--"]);
    } else {
        command.arg("--");
    }
    command.arg(binaries.join(name)).env_clear().env("LC_ALL", "C.UTF-8").current_dir("/");
    command
}

fn group() -> String {
    nix::unistd::User::from_name(owner()).unwrap().unwrap().gid.to_string()
}

fn quietly(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The directory with the server's programs, of the newest version there is.
#[expect(clippy::disallowed_methods, reason = "the environment of the test, not the program's")]
fn binaries() -> PathBuf {
    if let Some(named) = std::env::var_os("TINK_SYNC_TEST_POSTGRES") {
        return PathBuf::from(named);
    }
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let installed = versions.filter_map(|entry| {
        let version: u32 = entry.file_name().to_str()?.parse().ok()?;
        let found = entry.path().join("bin");
        found.join("initdb").exists().then_some((version, found))
    });
    installed.max().map_or_else(|| panic!("the test of many hosts {REMEDY}"), |(_, newest)| newest)
}

impl Cluster {
    /// Makes and starts both.
    pub fn start(directory: &Path, lab: &Lab, synchronous: bool) -> Self {
        let binaries = binaries();
        let servers: Vec<Server> = (1..=2)
            .map(|number: u8| Server {
                address: lab.server(number),
                port: PORT + if lab.has_links() { 0 } else { u16::from(number) },
                data: directory.join(format!("server-{number}")),
                log: directory.join(format!("server-{number}.log")),
                postmaster: None,
            })
            .collect();
        let places = servers.iter().map(|server| (server.address, server.port)).collect();
        must("chown", &[owner(), directory.to_str().unwrap()]);
        let (servers, primary) = (Mutex::new(servers), AtomicUsize::new(0));
        let cluster = Self { binaries, servers, places, primary, synchronous };
        cluster.init();
        cluster.run(0);
        let mut db = cluster.connect("postgres").expect("a server that has started");
        db.batch_execute(&format!("CREATE ROLE {ROLE} LOGIN")).unwrap();
        db.batch_execute(&format!("CREATE DATABASE bank OWNER {ROLE}")).unwrap();
        cluster.add_standby();
        cluster
    }

    fn init(&self) {
        let servers = lock(&self.servers);
        let data = &servers[0].data;
        quietly(
            program(&self.binaries, "initdb")
                .arg("-D")
                .arg(data)
                .args(["-U", "postgres", "-A", "trust", "-E", "UTF8"])
                .args(["--locale=C.UTF-8", "--no-sync"]),
        );
        let settings = "fsync = off\nwal_level = replica\nmax_connections = 300\nshared_buffers = '64MB'\n\
             wal_keep_size = '256MB'\nmax_wal_size = '512MB'\nwal_receiver_status_interval = 1\nwal_receiver_timeout = 5s\n\
             wal_sender_timeout = 5s\nunix_socket_directories = ''\nlog_line_prefix = '%m [%p] %q%h '\n";
        let path = data.join("postgresql.conf");
        fs::write(&path, format!("{}{settings}", fs::read_to_string(&path).unwrap())).unwrap();
        let access = "host all all 10.77.0.0/16 trust\nhost replication all 10.77.0.0/16 trust\n";
        let path = data.join("pg_hba.conf");
        fs::write(&path, format!("{}{access}", fs::read_to_string(&path).unwrap())).unwrap();
    }

    /// Starts a server and waits until it serves.
    fn run(&self, number: usize) {
        let mut servers = lock(&self.servers);
        let server = &mut servers[number];
        let log = fs::File::options().create(true).append(true).open(&server.log).unwrap();
        let child = program(&self.binaries, "postgres")
            .arg("-D")
            .arg(&server.data)
            .args(["-c", &format!("listen_addresses={}", server.address), "-p", &server.port.to_string()])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        server.postmaster = Some(child);
        drop(servers);
        self.until("a server serves", || self.connect_to(number, "postgres").is_some());
    }

    /// Waits for a minute at most.
    fn until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let end = Instant::now() + Duration::from_mins(1);
        while !is_so() {
            assert!(Instant::now() < end, "waited for a minute until {what}: see {:?}", self.places);
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The addresses of both, with this database, as a URL of the store.
    pub fn url(&self) -> String {
        let places: Vec<String> =
            self.places.iter().map(|(address, port)| format!("{address}:{port}")).collect();
        format!("postgres://{ROLE}@{}/bank?target_session_attrs=read-write&sslmode=disable", places.join(","))
    }

    fn connect_to(&self, number: usize, database: &str) -> Option<Client> {
        let (address, port) = self.places[number];
        let mut config = Config::new();
        config.host(&address.to_string()).port(port).user("postgres").dbname(database);
        config.connect_timeout(Duration::from_secs(5)).connect(NoTls).ok()
    }

    /// A superuser's session with the primary; `None` if it is away.
    pub fn connect(&self, database: &str) -> Option<Client> {
        self.connect_to(self.primary.load(Relaxed), database)
    }

    /// Lets leases live for so long. Whatever else the store does by time stays as it is.
    pub fn shorten_leases(&self, life: Duration) {
        let set = format!(
            "ALTER TABLE tink_sync.ts_runs ALTER alive_until SET DEFAULT clock_timestamp() + interval '{} seconds'",
            life.as_secs()
        );
        self.connect("bank").unwrap().batch_execute(&set).unwrap();
    }

    /// Makes the other server a standby of the primary.
    pub fn add_standby(&self) {
        let primary = self.primary.load(Relaxed);
        let standby = 1 - primary;
        let (address, port) = self.places[primary];
        let servers = lock(&self.servers);
        let data = servers[standby].data.clone();
        drop(servers);
        let _ = fs::remove_dir_all(&data);
        quietly(
            program(&self.binaries, "pg_basebackup")
                .args(["-d", &format!("host={address} port={port} user=postgres application_name=standby")])
                .arg("-D")
                .arg(&data)
                .args(["-R", "-X", "stream", "--checkpoint=fast", "--no-sync"]),
        );
        self.run(standby);
        let mut db = self.connect("postgres").expect("the primary");
        self.until("the standby streams", || {
            let streaming = "SELECT 1 FROM pg_stat_replication WHERE application_name = 'standby' AND state = 'streaming'";
            !db.query(streaming, &[]).unwrap().is_empty()
        });
        if !self.synchronous {
            return;
        }
        synchronous(&mut db, "standby");
        self.until("the standby is synchronous", || {
            !db.query("SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'", &[]).unwrap().is_empty()
        });
    }

    /// Stops the primary without a goodbye, and starts it again.
    pub fn restart(&self) {
        let primary = self.primary.load(Relaxed);
        let postmaster = lock(&self.servers)[primary].postmaster.take();
        let mut postmaster = postmaster.expect("the primary runs");
        // An immediate shutdown.
        signal(postmaster.id(), nix::sys::signal::Signal::SIGQUIT);
        postmaster.wait().unwrap();
        self.run(primary);
    }

    /// Waits until the standby has all that anybody can see, as one who manages a failover does.
    fn wait_for_standby(&self) {
        let mut db = self.connect("postgres").expect("the primary");
        let reached: String = db.query_one("SELECT pg_current_wal_lsn()::text", &[]).unwrap().get(0);
        let has = format!(
            "SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync' AND flush_lsn >= '{reached}'::pg_lsn"
        );
        self.until("the standby has it all", || !db.query(&has, &[]).unwrap().is_empty());
    }

    /// Kills the primary, promotes the standby, and makes a new standby of the dead one.
    pub fn fail_over(&self) {
        if self.synchronous {
            self.wait_for_standby();
        }
        let primary = self.primary.load(Relaxed);
        let mut postmaster = lock(&self.servers)[primary].postmaster.take().expect("the primary runs");
        kill_all(postmaster.id());
        postmaster.wait().unwrap();
        let promoted = 1 - primary;
        let mut db = self.connect_to(promoted, "postgres").expect("the standby");
        let done: bool = db.query_one("SELECT pg_promote(true, 30)", &[]).unwrap().get(0);
        assert!(done, "the standby is not promoted");
        self.primary.store(promoted, Relaxed);
        synchronous(&mut db, "");
        drop(db);
        self.add_standby();
    }

    /// Ends some sessions of the hosts; returns how many.
    pub fn terminate(&self, sessions: u32) -> usize {
        let Some(mut db) = self.connect("postgres") else { return 0 };
        let end = format!(
            "SELECT pg_terminate_backend(pid) FROM (SELECT pid FROM pg_stat_activity WHERE usename = '{ROLE}'
             ORDER BY random() LIMIT {sessions}) s"
        );
        db.query(&end, &[]).map_or(0, |ended| ended.len())
    }
}

/// Names the standby that a commit waits for.
fn synchronous(db: &mut Client, standby: &str) {
    db.batch_execute(&format!("ALTER SYSTEM SET synchronous_standby_names = '{standby}'")).unwrap();
    db.batch_execute("SELECT pg_reload_conf()").unwrap();
}

fn signal(process: u32, signal: nix::sys::signal::Signal) {
    let id = nix::unistd::Pid::from_raw(i32::try_from(process).unwrap());
    // One that has just ended needs none.
    let _ = nix::sys::signal::kill(id, signal);
}

/// Kills a server as a machine that is gone: the children do not outlive the parent by a moment.
fn kill_all(postmaster: u32) {
    use nix::sys::signal::Signal::{SIGKILL, SIGSTOP};
    signal(postmaster, SIGSTOP);
    let children = fs::read_to_string(format!("/proc/{postmaster}/task/{postmaster}/children")).unwrap();
    for child in children.split_whitespace() {
        signal(child.parse().unwrap(), SIGSTOP);
    }
    for child in children.split_whitespace() {
        signal(child.parse().unwrap(), SIGKILL);
    }
    signal(postmaster, SIGKILL);
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for server in lock(&self.servers).iter_mut() {
            if let Some(mut postmaster) = server.postmaster.take() {
                signal(postmaster.id(), nix::sys::signal::Signal::SIGQUIT);
                let _ = postmaster.wait();
            }
        }
    }
}
