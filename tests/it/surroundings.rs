//! What surrounds the program: proxies, authorities, signals, readers of its output, terminals. A mistake there is
//! named, nothing takes another way than the one that was meant, and nobody is told that all is well who was told
//! nothing.

use std::fs::{self, OpenOptions};
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;

use tink_sandbox::{Action, Endpoint, Fault, Times};

use crate::harness::{Ran, World, quoted, small, until};

/// Something that listens, and does the same with everybody who calls.
fn listening(act: impl Fn(TcpStream) + Send + Clone + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let act = act.clone();
            thread::spawn(move || act(stream));
        }
    });
    address
}

/// A proxy that wants a login.
fn locked_proxy() -> SocketAddr {
    listening(|mut stream| {
        let mut request = [0; 4096];
        while stream.read(&mut request).is_ok_and(|length| length > 0) {
            let refusal = "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n";
            if stream.write_all(refusal.as_bytes()).is_err() {
                return;
            }
        }
    })
}

/// A SOCKS 5 proxy that takes everybody to one place.
fn socks(to: SocketAddr) -> SocketAddr {
    listening(move |mut stream| {
        let mut head = [0; 2];
        stream.read_exact(&mut head).unwrap();
        stream.read_exact(&mut vec![0; usize::from(head[1])]).unwrap();
        stream.write_all(&[5, 0]).unwrap();
        let mut request = [0; 4];
        stream.read_exact(&mut request).unwrap();
        let mut length = [4];
        if request[3] == 3 {
            stream.read_exact(&mut length).unwrap();
        }
        stream.read_exact(&mut vec![0; usize::from(length[0]) + 2]).unwrap();
        stream.write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 0]).unwrap();
        let mut there = TcpStream::connect(to).unwrap();
        let (mut back, mut forth) = (there.try_clone().unwrap(), stream.try_clone().unwrap());
        thread::spawn(move || {
            let _ = std::io::copy(&mut back, &mut stream);
            let _ = stream.shutdown(Shutdown::Write);
        });
        let _ = std::io::copy(&mut forth, &mut there);
        let _ = there.shutdown(Shutdown::Write);
    })
}

fn with(mut command: Command, variables: &[(&str, &str)]) -> Ran {
    Ran::of(command.envs(variables.iter().copied()).output().unwrap())
}

#[test]
fn a_mistyped_proxy_ends_the_run_before_anything_is_sent() {
    let world = World::new(small(1));
    for (variable, value) in [
        ("HTTPS_PROXY", "htp://ann:hunter2@proxy:3128"),
        ("https_proxy", "http:/proxy:3128"),
        ("HTTP_PROXY", "http://proxy:99999"),
        ("http_proxy", " http://proxy:3128"),
        ("ALL_PROXY", "socks://proxy:1080"),
        ("all_proxy", "proxy:port"),
    ] {
        let ran = with(world.pass(&[]), &[(variable, value)]).expect(78);
        assert!(ran.stderr.contains(&format!("environment variable {variable}: ")), "{}", ran.stderr);
        assert!(!ran.stderr.contains("hunter2") && !ran.stderr.contains("proxy:3128"), "{}", ran.stderr);
        let checked = with(world.command(&["check"]), &[(variable, value)]).expect(78);
        assert!(
            checked.stdout.contains(variable) && !checked.stdout.contains("hunter2"),
            "{}",
            checked.stdout
        );
        with(world.command(&["status"]), &[(variable, value)]).expect(74);
    }
    assert!(world.sandbox.requests().is_empty(), "{:?}", world.sandbox.requests());
    assert!(!world.has_store());
}

#[test]
fn a_pass_goes_through_a_socks_proxy_and_around_it_where_that_is_said() {
    let world = World::new(small(2));
    let proxy = socks(world.sandbox.address());
    // Only the proxy knows where this name leads.
    let world = world.set("tink.api_url", &quoted("http://localhost:1"));
    for scheme in ["socks5h", "socks5"] {
        let address = format!("{scheme}://{proxy}");
        with(world.pass(&[]), &[("ALL_PROXY", &address)]).expect(0);
        let checked = with(world.command(&["check"]), &[("ALL_PROXY", &address)]);
        assert!(checked.stdout.contains("ALL_PROXY"), "{}", checked.stdout);
    }
    world.assert_all_exact();
    let address = format!("http://{}", locked_proxy());
    let url = world.sandbox.url();
    let world = world.set("tink.api_url", &quoted(&url));
    with(world.pass(&[]), &[("HTTP_PROXY", &address), ("NO_PROXY", "127.0.0.1")]).expect(0);
}

#[test]
fn a_proxy_that_wants_a_login_is_named() {
    let world = World::new(small(1));
    let address = format!("http://{}", locked_proxy());
    let ran = with(world.pass(&[]), &[("HTTP_PROXY", &address)]).expect(69);
    assert!(ran.stderr.contains("the proxy wants a login (407)"), "{}", ran.stderr);
    let world = world.set("tink.api_url", &quoted("https://api.tink.invalid"));
    for command in [world.pass(&[]), world.command(&["check"])] {
        let ran = with(command, &[("HTTPS_PROXY", &address)]).expect(69);
        assert!((ran.stderr + &ran.stdout).contains("(407)"));
    }
}

#[test]
fn authorities_that_cannot_be_used_are_named() {
    let world = World::new(small(1));
    let path = |name: &str| world.path(name).display().to_string();
    fs::write(world.path("empty.pem"), "").unwrap();
    fs::write(world.path("broken.pem"), "-----BEGIN CERTIFICATE-----\nnot one\n-----END CERTIFICATE-----\n")
        .unwrap();
    fs::create_dir(world.path("nothing")).unwrap();
    for (variable, value) in [
        ("SSL_CERT_FILE", path("missing.pem")),
        ("SSL_CERT_FILE", path("empty.pem")),
        ("SSL_CERT_FILE", path("broken.pem")),
        ("SSL_CERT_FILE", String::new()),
        ("SSL_CERT_DIR", path("missing")),
        ("SSL_CERT_DIR", path("nothing")),
    ] {
        for command in [world.pass(&[]), world.command(&["check"])] {
            let ran = with(command, &[(variable, &value)]).expect(78);
            assert!((ran.stderr + &ran.stdout).contains(variable), "{variable}={value}");
        }
    }
    assert!(world.sandbox.requests().is_empty());
}

#[test]
fn a_hangup_ends_a_pass_like_sigterm_unless_it_is_ignored() {
    let world = World::new(small(3));
    world.sandbox.fault(Fault::new(Action::Hang).at(Endpoint::Accounts).times(Times::Forever));
    // Whatever these tests were started with.
    let plain = &["env", "--default-signal=HUP"][..];
    // Under nohup the terminal may go.
    let ignoring = &["sh", "-c", "trap '' HUP; exec \"$0\" \"$@\""];
    for (asked, through, signals) in [(3, plain, &["HUP"][..]), (6, ignoring, &["HUP", "TERM"])] {
        let pass = world.pass(&[]);
        let mut command = Command::new(through[0]);
        command.args(&through[1..]).arg(pass.get_program()).args(pass.get_args());
        command.env_clear().env("TINK_SYNC_USER", "root").stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        until(|| world.sandbox.requests_to(Endpoint::Accounts) >= asked);
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:\t")).unwrap();
        let ignores_hangup = u64::from_str_radix(ignored, 16).unwrap() & 1 == 1;
        assert_eq!(ignores_hangup, signals.len() > 1, "{status}");
        for signal in signals {
            let kill = Command::new("sh").args(["-c", &format!("kill -{signal} {}", child.id())]).status();
            assert!(kill.unwrap().success());
        }
        let ran = Ran::of(child.wait_with_output().unwrap()).expect(143);
        assert_eq!((ran.total("interrupted"), ran.total("failed")), (3, 0), "{}", ran.stdout);
    }
    world.assert_at_rest();
}

#[test]
fn a_report_that_nobody_got_is_no_success() {
    let world = World::new(small(1));
    let full = || Stdio::from(OpenOptions::new().write(true).open("/dev/full").unwrap());
    let told = |mut command: Command| {
        let ran = Ran::of(command.stdout(full()).output().unwrap());
        assert!(ran.stderr.contains("standard output cannot be written: No space left"), "{}", ran.stderr);
        ran.code
    };
    let rehearsal = Ran::of(world.pass(&["--dry-run"]).stdout(full()).output().unwrap()).expect(74);
    assert!(
        rehearsal.stderr.contains("the report is lost") && !rehearsal.stderr.contains("stored"),
        "{}",
        rehearsal.stderr
    );
    assert_eq!(told(world.pass(&[])), 74);
    // The pass itself was well, and so it is kept.
    assert_eq!(world.number("SELECT exit_code FROM runs_v1"), 0);
    world.assert_all_exact();
    for args in [
        &["run"][..],
        &["status"],
        &["status", "--format", "json"],
        &["status", "--format", "prometheus"],
        &["why", "c-0"],
        &["check", "--offline"],
        &["connections", "list"],
        &["quarantine", "list"],
        &["audit"],
        &["export", "--format", "csv"],
        &["export", "--format", "jsonl"],
        &["prune"],
        &["--help"],
        &["run", "--help"],
        &["--version"],
    ] {
        assert_eq!(told(world.command(args)), 74, "{args:?}");
    }
    // What is worse stays the exit code.
    world.sandbox.fault(Fault::new(Action::status(400)).at(Endpoint::Accounts).times(Times::Forever));
    assert_eq!(told(world.pass(&[])), 10);
    let off = world.set("enabled", "false");
    assert_eq!(told(off.command(&["run"])), 74);
    assert_eq!(told(off.pass(&[])), 74);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let world = World::new(small(2));
    for args in
        [&["run", "--format", "json"][..], &["run"], &["status"], &["--help"], &["export", "--format", "csv"]]
    {
        let mut child = world.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        Ran::of(child.wait_with_output().unwrap()).expect(0);
    }
}

#[test]
fn no_command_lets_a_terminal_be_commanded() {
    let world = World::new(small(3));
    world
        .sandbox
        .fault(Fault::new(Action::status(400)).user("user-1").at(Endpoint::Accounts).times(Times::Forever));
    world.run(&[]).expect(10);
    // An older release may have taken in anything.
    let evil = "x\u{1b}]0;title\u{7}\u{9b}2J\u{202e}\r\ny";
    world.spoil_texts(evil);
    let id = world.text("SELECT connection_id FROM connections_v1 WHERE connection_id LIKE 'c-1%'").unwrap();
    let typed = "\u{1b}]0;t\u{7}\u{202e}";
    for args in [
        &["status", "--all"][..],
        &["status", "--format", "json"],
        &["status", "--max-age", "1s"],
        &["status", "--connection", &id],
        &["why", &id],
        &["why", &id, "--format", "json"],
        &["why", typed],
        &["run", "--connection", typed],
        &["run", typed],
        &[typed],
        &["run", "--outage-patience", typed],
        &["connections", "list"],
        &["connections", "list", "--format", "json"],
        &["connections", "enable", typed],
        &["connections", "forget", &id, "--dry-run"],
        &["users", "list"],
        &["audit"],
        &["audit", "--format", "json"],
        &["audit", "--user", typed],
        &["quarantine", "list"],
        &["check", "--offline"],
        &["check", "--offline", "--format", "json"],
        &["run"],
        &["run", "--format", "json", "--verbose"],
        &["--config", typed, "status"],
    ] {
        for color in ["never", "always"] {
            let ran = world.cli(&[&["--color", color], args].concat());
            let mut text = ran.stdout + &ran.stderr;
            if color == "always" {
                for ours in ["0", "2", "31", "32", "33"] {
                    text = text.replace(&format!("\u{1b}[{ours}m"), "");
                }
            }
            let active = |c: &char| (c.is_control() && !matches!(c, '\n' | '\t')) || *c == '\u{202e}';
            assert_eq!(text.chars().find(active), None, "{args:?}, colour {color}: {text:?}");
        }
    }
}

#[test]
fn a_configuration_in_a_named_pipe_is_refused_and_one_that_a_shell_pipes_is_read() {
    let world = World::new(small(1));
    let pipe = world.path("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let mut command = Command::new(world.command(&[]).get_program());
    let ran =
        Ran::of(command.arg("--config").arg(&pipe).args(["check", "--offline"]).output().unwrap()).expect(78);
    let told = format!("{}{}", ran.stdout, ran.stderr);
    assert!(told.contains("named pipe"), "{told}");
    let mut command = Command::new("bash");
    command.args(["-c", "\"$1\" --config <(cat \"$2\") status --format json", "-"]);
    command.arg(world.command(&[]).get_program()).arg(world.path("tink-sync.toml"));
    world.run(&[]).expect(0);
    Ran::of(command.output().unwrap()).expect(0);
}

#[test]
fn a_password_file_that_is_missing_is_a_mistake_of_the_configuration() {
    let world = World::new(small(1))
        .set("store.url", &quoted("postgres://nobody@127.0.0.1:1/nothing"))
        .set("store.pgpass_file", &quoted("/no/such/file"));
    for args in [&["run"][..], &["run", "--dry-run"], &["status"], &["check", "--offline"]] {
        let ran = world.cli(args).expect(78);
        let told = format!("{}{}", ran.stdout, ran.stderr);
        assert!(told.contains("/no/such/file"), "{told}");
    }
}
