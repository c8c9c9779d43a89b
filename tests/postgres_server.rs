//! A PostgreSQL server of a test's or a bench's own: made in a temporary directory from the installed programs, and ended with
//! the process that asked for it, whatever becomes of that. Knows nothing of what it holds; holds no test.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use postgres::{Client, Config, NoTls};
use tink_sync::config;

/// Where the programs of the server are, if not where Debian keeps those of the newest.
const PROGRAMS: &str = "TINK_SYNC_TEST_POSTGRES";
const MISSING: &str = "PostgreSQL's programs are missing: install the Debian package postgresql, or set \
     TINK_SYNC_TEST_POSTGRES to the directory that has initdb and postgres";
const ADMIN: &str = "admin";

/// Makes a server, runs it while somebody holds the other end of its standard input, and leaves nothing behind: what its
/// processes share is a file in its directory, too. Signals
/// of a terminal are not for it. The server would end too if this were killed.
const SUPERVISOR: &str = r#"
set -eu
trap '' INT TERM HUP
bin=$1 dir=$2 port=$3 as=
shift 3
if [ "$(id -u)" = 0 ]; then
    chown nobody "$dir"
    as="--reuid=nobody --regid=$(id -g nobody) --clear-groups"
fi
cd "$dir"
trap 'cd /; rm -rf "$dir"' EXIT
give_up() { cat "$dir/log" >&2; exit 1; }
setpriv --pdeathsig QUIT $as "$bin/initdb" --no-sync --auth=trust --username=admin --encoding=UTF8 --locale=C \
    -D "$dir/data" </dev/null >"$dir/log" 2>&1 || give_up
setpriv --pdeathsig QUIT $as "$bin/postgres" -D "$dir/data" -p "$port" -c listen_addresses=127.0.0.1 \
    -c unix_socket_directories="$dir" -c dynamic_shared_memory_type=mmap "$@" </dev/null >>"$dir/log" 2>&1 &
server=$!
read -r _ || true
kill -QUIT "$server" 2>/dev/null || give_up
wait "$server" || true
"#;

/// A running server.
pub struct Server {
    /// The directory of its programs.
    pub programs: PathBuf,
    pub port: u16,
    /// Holds the pipe, whose closing ends the server.
    _supervisor: Child,
}

impl Server {
    /// Starts one in a new directory below `parent`, with settings as `name=value`; returns it with a superuser's session.
    pub fn start(parent: &Path, settings: &[&str]) -> Result<(Self, Client), String> {
        let (programs, port) = (programs()?, free_port());
        // Removed by the supervisor, who outlives this process.
        let dir = tempfile::Builder::new().prefix("tink-sync-postgres-").tempdir_in(parent).unwrap().keep();
        let mut supervisor = Command::new("sh");
        supervisor.args(["-c", SUPERVISOR, "supervisor"]).arg(&programs).arg(&dir).arg(port.to_string());
        supervisor.args(settings.iter().flat_map(|setting| ["-c", setting]));
        std::os::unix::process::CommandExt::process_group(&mut supervisor, 0);
        let mut supervisor = supervisor.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let end = Instant::now() + Duration::from_mins(1);
        loop {
            match session(port, ADMIN, "postgres") {
                Ok(admin) => return Ok((Self { programs, port, _supervisor: supervisor }, admin)),
                Err(_) if supervisor.try_wait().unwrap().is_none() && Instant::now() < end => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(error) => {
                    let log = std::fs::read_to_string(dir.join("log")).unwrap_or_default();
                    return Err(format!("PostgreSQL does not start ({error}): {log}"));
                }
            }
        }
    }
}

/// A session with the server at this port.
pub fn session(port: u16, role: &str, database: &str) -> Result<Client, postgres::Error> {
    let mut config = Config::new();
    config.host("127.0.0.1").port(port).user(role).dbname(database);
    // Statements about the store name its tables as they are; what is made before there is one is the application's.
    config.options("-c search_path=tink_sync,public").connect_timeout(Duration::from_secs(10)).connect(NoTls)
}

/// The programs of the server that is asked for, or of the newest of Debian's.
fn programs() -> Result<PathBuf, String> {
    let is_whole = |bin: &Path| bin.join("initdb").exists() && bin.join("postgres").exists();
    if let Some(bin) = config::process_env(PROGRAMS).map(PathBuf::from) {
        return if is_whole(&bin) { Ok(bin) } else { Err(format!("{}: {MISSING}", bin.display())) };
    }
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let version = |entry: &std::fs::DirEntry| entry.file_name().to_str()?.parse::<u32>().ok();
    let found = versions.filter_map(|entry| Some((version(&entry)?, entry.path().join("bin"))));
    let newest = found.filter(|(_, bin)| is_whole(bin)).max();
    newest.map(|(_, bin)| bin).ok_or_else(|| MISSING.to_owned())
}

/// A port that no program is given by chance.
fn free_port() -> u16 {
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    std::iter::repeat_with(|| fastrand::u16(20_000..32_000)).find(is_free).unwrap()
}
