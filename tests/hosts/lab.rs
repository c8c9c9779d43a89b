//! Where it happens: namespaces of this test's own, for processes and the network, in which each host has a network namespace
//! with a link to a bridge. All of it goes with the last process in it. Knows nothing of what runs there.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};

/// Says to this program that it is inside.
pub const INSIDE: &str = "--inside";

/// Where the fake Tink is: the program takes plain HTTP from loopback addresses only, and so this one is on the network here.
const TINK: Ipv4Addr = Ipv4Addr::new(127, 77, 0, 3);
/// Allows that.
const LOCAL: &str = "echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet";

/// Runs a command and fails unless it succeeds.
pub fn must(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {}: {said}", args.join(" "));
    String::from_utf8(output.stdout).unwrap()
}

/// A command that ends with this process.
pub fn with_us(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// Runs this program again inside, and waits for it; all ends with it, also when this one is interrupted.
pub fn enter(args: &[String]) -> ExitCode {
    let directory = tempfile::Builder::new().prefix("tink-sync-hosts-").tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let isolate = ["--net", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let mut possible = Command::new("unshare");
    possible.args(isolate).args(["ip", "link", "add", "name", "hub", "type", "bridge"]);
    let isolated = possible.output().is_ok_and(|output| output.status.success());
    let me = std::env::current_exe().unwrap();
    let mut inside = if isolated {
        let mut inside = with_us("unshare");
        inside.args(isolate).arg(me);
        inside
    } else {
        println!("NO NETWORK NAMESPACES (this needs root): hosts are plain processes, and no link is cut");
        with_us(me.to_str().unwrap())
    };
    inside.args(args).arg(INSIDE).arg(directory.path()).arg(if isolated { "isolated" } else { "plain" });
    // Of a group of its own: the keyboard's signals are for us to pass on.
    let mut inside = inside.process_group(0).stdin(Stdio::null()).spawn().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let done = runtime.block_on(async {
        let (mut int, mut term) =
            (signal(SignalKind::interrupt()).unwrap(), signal(SignalKind::terminate()).unwrap());
        loop {
            tokio::select! {
                _ = int.recv() => return None,
                _ = term.recv() => return None,
                () = tokio::time::sleep(Duration::from_millis(200)) => {}
            }
            if let Some(status) = inside.try_wait().unwrap() {
                return Some(status.success());
            }
        }
    });
    let _ = inside.kill();
    let _ = inside.wait();
    if done == Some(false) {
        let kept = directory.keep();
        println!("logs: {}", kept.display());
    }
    if done == Some(true) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The network.
pub struct Lab {
    isolated: bool,
    /// Keeps the namespace of each host.
    holders: Vec<Child>,
}

impl Lab {
    /// Makes the bridge and a namespace for each host.
    pub fn make(hosts: usize, isolated: bool) -> Self {
        let mut lab = Self { isolated, holders: Vec::new() };
        if isolated {
            must("ip", &["link", "set", "lo", "up"]);
            must("ip", &["link", "add", "name", "hub", "type", "bridge"]);
            for last in 1..=2 {
                must("ip", &["addr", "add", &format!("10.77.0.{last}/16"), "dev", "hub"]);
            }
            must("ip", &["link", "set", "hub", "up"]);
            must("sh", &["-c", LOCAL]);
        }
        for host in 0..if isolated { hosts } else { 0 } {
            lab.add(host);
        }
        lab
    }

    fn add(&mut self, host: usize) {
        let holder = with_us("unshare").args(["--net", "sleep", "infinity"]).spawn().unwrap();
        let id = holder.id().to_string();
        self.holders.push(holder);
        let of = |id: &str| std::fs::read_link(format!("/proc/{id}/ns/net")).unwrap();
        let end = Instant::now() + Duration::from_secs(10);
        while of(&id) == of("self") {
            assert!(Instant::now() < end, "no namespace");
            std::thread::sleep(Duration::from_millis(5));
        }
        let link = format!("host-{host}");
        must("ip", &["link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", &id]);
        must("ip", &["link", "set", &link, "master", "hub", "up"]);
        let inside = |args: &[&str]| must("nsenter", &[&["--net", "--target", &id, "--"], args].concat());
        inside(&["ip", "addr", "add", &format!("{}/16", self.address(host)), "dev", "eth0"]);
        inside(&["ip", "link", "set", "eth0", "up"]);
        inside(&["ip", "link", "set", "lo", "up"]);
        inside(&["sh", "-c", LOCAL]);
        inside(&["ip", "addr", "del", "127.0.0.1/8", "dev", "lo"]);
        inside(&["ip", "addr", "add", "127.0.0.1/32", "dev", "lo"]);
        inside(&[
            "ip",
            "route",
            "add",
            &TINK.to_string(),
            "dev",
            "eth0",
            "src",
            &self.address(host).to_string(),
        ]);
        // What a process has given up must not be sent minutes later, when a link is mended.
        inside(&["sh", "-c", "echo 1 >/proc/sys/net/ipv4/tcp_orphan_retries"]);
    }

    /// Whether links can be cut.
    pub const fn has_links(&self) -> bool {
        self.isolated
    }

    /// The address of a host.
    pub fn address(&self, host: usize) -> IpAddr {
        let last = u8::try_from(host + 1).unwrap();
        IpAddr::V4(if self.isolated { Ipv4Addr::new(10, 77, 1, last) } else { Ipv4Addr::LOCALHOST })
    }

    /// The address of the fake Tink.
    pub const fn tink(&self) -> IpAddr {
        IpAddr::V4(if self.isolated { TINK } else { Ipv4Addr::LOCALHOST })
    }

    /// The address of the first server, or the second.
    pub fn server(&self, number: u8) -> IpAddr {
        IpAddr::V4(if self.isolated { Ipv4Addr::new(10, 77, 0, number) } else { Ipv4Addr::LOCALHOST })
    }

    /// A program on a host.
    pub fn on(&self, host: usize, program: &str) -> Command {
        let Some(holder) = self.holders.get(host) else { return with_us(program) };
        let mut command = with_us("nsenter");
        command.args(["--net", "--target", &holder.id().to_string(), "--", program]);
        command
    }

    /// Cuts the link of a host, or mends it.
    pub fn link(host: usize, up: bool) {
        must("ip", &["link", "set", &format!("host-{host}"), if up { "up" } else { "down" }]);
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for holder in &mut self.holders {
            let _ = holder.kill();
            let _ = holder.wait();
        }
        let _ = std::io::stdout().flush();
    }
}
