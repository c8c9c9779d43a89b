//! A server that goes away in mid-pass and comes back.

use std::io::{BufRead as _, BufReader, copy};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use tink_sandbox::{Action, Endpoint, Fault, Times};

use crate::harness::{World, quoted, small, until};
use crate::stored::Engine;

/// The way to a server, which can be cut.
struct Way {
    port: u16,
    /// The sessions, or none while it is cut.
    sessions: Arc<Mutex<Option<Vec<TcpStream>>>>,
}

impl Way {
    fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let sessions = Arc::new(Mutex::new(Some(Vec::new())));
        let open = Arc::clone(&sessions);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // Dropped while the way is cut.
                let mut open = open.lock().unwrap();
                let Some(open) = open.as_mut() else { continue };
                let server = TcpStream::connect(("127.0.0.1", server)).unwrap();
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    thread::spawn(move || {
                        // Either end may be cut.
                        let _ = copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Both);
                    });
                }
                open.extend([client, server]);
            }
        });
        Self { port, sessions }
    }

    fn cut(&self) {
        for session in self.sessions.lock().unwrap().take().into_iter().flatten() {
            // It may have ended.
            let _ = session.shutdown(Shutdown::Both);
        }
    }

    fn open(&self) {
        *self.sessions.lock().unwrap() = Some(Vec::new());
    }
}

#[test]
#[ignore = "needs a PostgreSQL server; tests/run runs it"]
fn postgresql_an_outage_is_logged_once_when_it_begins_and_once_when_it_ends() {
    let world = World::on(
        Engine::Postgres,
        Engine::Sqlite,
        small(12),
        (0..12).map(|n| format!("user-{n}")).collect(),
    );
    world.run(&[]).expect(0);
    let url = world.place.url();
    let (before, port) = url.split_once("127.0.0.1:").unwrap();
    let (port, behind) = port.split_once('/').unwrap();
    let way = Way::to(port.parse().unwrap());
    let world = world
        .set("store.url", &quoted(&format!("{before}127.0.0.1:{}/{behind}", way.port)))
        .set("tink.request_timeout", &quoted("2s"));
    world.sandbox.reset_counters();
    // Many sessions are in use when it begins.
    world.sandbox.fault(Fault::new(Action::Hang).at(Endpoint::Consents).times(Times::N(8)));
    let mut running = world.start(&["--outage-patience", "5m"]);
    let mut lines = BufReader::new(running.stderr()).lines().map(Result::unwrap);
    until(|| world.sandbox.requests_to(Endpoint::Consents) >= 8);
    way.cut();
    let (waits, answers) = ("cannot go on yet", "PostgreSQL answers again");
    assert!(lines.any(|line| line.contains(waits)), "it says that it waits");
    way.open();
    let rest: Vec<String> = lines.collect();
    let told = |words: &str| rest.iter().filter(|line| line.contains(words)).count();
    assert_eq!((told(waits), told(answers)), (0, 1), "{rest:?}");
    let code = running.end().code;
    assert!([0, 10].contains(&code), "{code} {rest:?}");
    world.run(&[]).expect(0);
    world.assert_all_exact();
}
