//! A PostgreSQL server for unit tests: a real one, in a temporary directory, with certificates. One is shared by the
//! tests of a process. Must leave neither a server nor a file behind, however the process ends.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{env, fs};

use nix::unistd::{Gid, Uid, User, chown, geteuid};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};

use crate::config::process_env;
use crate::domain::server::Target;
use crate::store::Place;

/// The superuser of the server; it needs no password.
const OWNER: &str = "owner";
/// The directory of the server's programs, unless the variable names another.
const BINARIES: &str = "/usr/lib/postgresql";
const BINARIES_VARIABLE: &str = "TINK_SYNC_TEST_POSTGRES";
const REMEDY: &str = "this test needs PostgreSQL's server: `apt-get install postgresql`, or name the directory with \
                      initdb in TINK_SYNC_TEST_POSTGRES";

/// Set if this program runs only to hold a server.
const HOLDER: &str = "TINK_SYNC_TEST_HOLDER";

/// Starts the server, and stops it when the other end of standard input is closed.
const KEEPER: &str = r#"
bin=$1 dir=$2
stop() { "$bin/pg_ctl" -D "$dir/data" -m immediate stop; rm -rf "$dir"; }
trap '' PIPE HUP INT
trap 'exit 1' TERM
trap 'stop >/dev/null 2>&1' EXIT
# Sorts as no program expects it, where the version can.
sorted=
if "$bin/initdb" --help | grep -q locale-provider; then sorted='--locale-provider=icu --icu-locale=en'; fi
"$bin/initdb" -D "$dir/data" -U "$3" -A trust -E UTF8 --locale=C.UTF-8 $sorted --no-sync >"$dir/log" 2>&1 &&
    echo "include '$dir/server.conf'" >>"$dir/data/postgresql.conf" &&
    "$bin/pg_ctl" -D "$dir/data" -w -t 60 -l "$dir/log" start >/dev/null 2>&1 ||
    { tail -n 30 "$dir/log"; exit 1; }
echo ready
read -r _
"#;

/// How each role is admitted.
const ACCESS: &str = "\
local   all scram       scram-sha-256
local   all all         trust
host    all scram       127.0.0.1/32 scram-sha-256
host    all md5         127.0.0.1/32 md5
host    all clear       127.0.0.1/32 password
host    all stranger    127.0.0.1/32 reject
hostssl   all certified 127.0.0.1/32 cert
hostssl   all encrypted 127.0.0.1/32 trust
host      all encrypted 127.0.0.1/32 reject
hostnossl all plain     127.0.0.1/32 trust
host      all plain     127.0.0.1/32 reject
host    all all         127.0.0.1/32 trust
";

/// A running server. It stops when this is dropped, and at the latest when the process ends.
#[derive(Debug)]
pub(crate) struct Server {
    directory: PathBuf,
    port: u16,
    databases: AtomicU64,
    keeper: Child,
}

impl Server {
    /// The server that the tests of this process share.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Server> = OnceLock::new();
        SHARED.get_or_init(|| Self::start("", Certificate::Valid))
    }

    /// A separate server, with these lines added to its configuration.
    pub(crate) fn start(settings: &str, certificate: Certificate) -> Self {
        // Another process can take the port before the server does.
        let attempts = (0..5).map(|_| Self::try_start(settings, certificate));
        let mut failed = Vec::new();
        for attempt in attempts {
            match attempt {
                Ok(server) => return server,
                Err(log) => failed.push(log),
            }
        }
        panic!("PostgreSQL does not start: {}", failed.join("\n"));
    }

    fn try_start(settings: &str, certificate: Certificate) -> Result<Self, String> {
        let binaries = binaries();
        let directory = tempfile::Builder::new().prefix("tink-sync-postgres-").tempdir().unwrap().keep();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let place = directory.display();
        let common = format!(
            "port = {port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '{place}'\n\
             hba_file = '{place}/access.conf'\nmax_connections = 200\nshared_buffers = 16MB\n\
             password_encryption = 'scram-sha-256'\nfsync = off\nsynchronous_commit = off\nfull_page_writes = off\n\
             TimeZone = 'Pacific/Chatham'\nDateStyle = 'SQL, DMY'\n\
             ssl = on\nssl_cert_file = '{place}/server.crt'\nssl_key_file = '{place}/server.key'\n\
             ssl_ca_file = '{place}/ca.crt'\n"
        );
        fs::write(directory.join("server.conf"), common + settings).unwrap();
        fs::write(directory.join("access.conf"), ACCESS).unwrap();
        certificate.write(&directory);

        // A test waits until every process has closed this.
        let errors = if process_env(HOLDER).is_some() { Stdio::inherit() } else { Stdio::null() };
        let mut command = Command::new("/bin/sh");
        command.args(["-c", KEEPER, "keeper"]).arg(&binaries).arg(&directory).arg(OWNER);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C").current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors).process_group(0);
        if geteuid().is_root() {
            let user = unprivileged();
            own(&directory, user.uid, user.gid);
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        let mut keeper = command.spawn().unwrap();
        let mut said = BufReader::new(keeper.stdout.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        if line == "ready\n" {
            return Ok(Self { directory, port, databases: AtomicU64::new(0), keeper });
        }
        said.read_to_string(&mut line).unwrap();
        keeper.wait().unwrap();
        Err(line)
    }

    /// Creates an empty database; returns its address.
    pub(crate) fn fresh_database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.execute("postgres", &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    /// A place for a store, in an empty database.
    pub(crate) fn fresh_place(&self) -> Place {
        Place::Postgres(Target::parse(&self.fresh_database(), &|_| None).unwrap().into())
    }

    /// The address of a database: as its superuser, without TLS.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://{OWNER}@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    /// Runs statements as the superuser; returns the rows of the last one, columns separated by `|`.
    pub(crate) fn execute(&self, database: &str, sql: &str) -> String {
        // Some installations have only the server's programs.
        let psql = Some(binaries().join("psql")).filter(|own| own.exists());
        let output = Command::new(psql.unwrap_or_else(|| "psql".into()))
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .arg("-h")
            .arg(&self.directory)
            .args(["-p", &self.port.to_string(), "-U", OWNER, "-d", database, "-XAtq"])
            .args(["-v", "ON_ERROR_STOP=1", "-c", sql])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{sql}: {said}");
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// The port at 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The directory with the Unix socket and the certificates: `ca.crt` is the authority's, `other.crt` another
    /// authority's, `client.crt` and `client.key` are those of the role `certified`.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        drop(self.keeper.wait());
    }
}

/// The certificate that a server presents. It is always for the name `localhost`, and not for 127.0.0.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Certificate {
    Valid,
    Expired,
}

impl Certificate {
    fn write(self, directory: &Path) {
        let (authority, pem) = authority("an authority");
        fs::write(directory.join("ca.crt"), pem).unwrap();
        fs::write(directory.join("other.crt"), self::authority("another authority").1).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        if self == Self::Expired {
            params.not_after = date_time_ymd(2020, 1, 1);
        }
        let certificate = params.signed_by(&key, &authority).unwrap();
        fs::write(directory.join("server.crt"), certificate.pem()).unwrap();
        write_private(&directory.join("server.key"), &key.serialize_pem());
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "certified");
        fs::write(directory.join("client.crt"), params.signed_by(&key, &authority).unwrap().pem()).unwrap();
        write_private(&directory.join("client.key"), &key.serialize_pem());
    }
}

fn authority(name: &str) -> (Issuer<'static, KeyPair>, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    let pem = params.self_signed(&key).unwrap().pem();
    (Issuer::new(params, key), pem)
}

/// Writes a file that only its owner can read.
pub(crate) fn write_private(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// The directory of the server's programs, in their newest installed version.
fn binaries() -> PathBuf {
    if let Some(named) = process_env(BINARIES_VARIABLE) {
        let named = PathBuf::from(named);
        assert!(named.join("initdb").exists(), "there is no initdb in {}; {REMEDY}", named.display());
        return named;
    }
    let versions = fs::read_dir(BINARIES).into_iter().flatten().flatten();
    let installed = versions.filter_map(|entry| {
        let version: u32 = entry.file_name().to_str()?.parse().ok()?;
        let found = entry.path().join("bin");
        found.join("initdb").exists().then_some((version, found))
    });
    if let Some((_, newest)) = installed.max() {
        return newest;
    }
    let path = process_env("PATH").unwrap_or_default();
    let found = env::split_paths(&path).find(|directory| directory.join("initdb").exists());
    found.unwrap_or_else(|| panic!("{REMEDY}"))
}

/// The server refuses to run as root.
fn unprivileged() -> User {
    let found = ["postgres", "nobody"].into_iter().find_map(|name| User::from_name(name).unwrap());
    found.unwrap_or_else(|| panic!("PostgreSQL cannot run as root, and there is no user postgres or nobody"))
}

fn own(directory: &Path, user: Uid, group: Gid) {
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    for path in files.chain([directory.to_owned()]) {
        chown(&path, Some(user), Some(group)).unwrap();
    }
}

#[test]
fn the_server_serves_and_goes_with_its_holder() {
    let server = Server::start("", Certificate::Valid);
    let url = server.fresh_database();
    assert!(url.starts_with("postgres://owner@127.0.0.1:"), "{url}");
    assert_eq!(server.execute("test_0", "SELECT current_user, 'a' < 'B'"), "owner|t", "not sorted as bytes");
    let (directory, port) = (server.directory().to_owned(), server.port());
    drop(server);
    assert!(!directory.exists());
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
}

/// This program runs a second time as the holder, and is killed. The keeper holds its standard error until all is gone.
#[test]
fn the_server_goes_with_a_holder_that_is_killed() {
    if process_env(HOLDER).is_some() {
        let server = Server::start("", Certificate::Valid);
        println!("held: {}", server.directory().display());
        std::io::stdin().read_to_string(&mut String::new()).unwrap();
        unreachable!("it is killed before");
    }
    let name = format!(
        "{}::the_server_goes_with_a_holder_that_is_killed",
        module_path!().split_once("::").unwrap().1
    );
    let mut holder = Command::new(env::current_exe().unwrap())
        .args(["--exact", "--nocapture", &name])
        .env(HOLDER, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(holder.stdout.take().unwrap());
    let held = said
        .lines()
        .find_map(|line| line.unwrap().split_once("held: ").map(|(_, place)| PathBuf::from(place)));
    let held = held.unwrap();
    assert!(held.join("data/postmaster.pid").exists());
    holder.kill().unwrap();
    holder.wait().unwrap();
    holder.stderr.take().unwrap().read_to_end(&mut Vec::new()).unwrap();
    assert!(!held.exists());
}
