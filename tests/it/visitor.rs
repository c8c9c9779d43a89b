//! A person at a browser, played by a plain HTTP client: opens the link that a command prints, chooses on the page
//! of the fake Tink Link, and follows the redirect. Holds no test.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

use tink_sandbox::Config;
use tokio::runtime::{Builder, Runtime};

use crate::harness::{Ran, World, quoted, small, was_killed};

/// A stand-alone world in which nobody is connected yet, and whose Tink Link is the fake one.
pub fn alone() -> World {
    with_link(World::with_users(today(), Vec::new())).unset("source.view").unset("source.database")
}

/// No generated user, and the real day: what a visit leads to is dated today.
pub fn today() -> Config {
    Config { day: 4, ..small(0) }
}

/// A world whose Tink Link is the fake one.
pub fn with_link(world: World) -> World {
    let url = world.sandbox.url();
    world.set("tink.link_url", &quoted(&url))
}

/// A redirect URI that Tink knows, on a port that nobody else has. Below those that systems give out by themselves.
pub fn redirect_uri(world: &World) -> String {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 12_000 + u16::try_from(std::process::id() % 180).unwrap() * 100;
    loop {
        let port = first + NEXT.fetch_add(1, Relaxed) % 100;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            let uri = format!("http://localhost:{port}/callback");
            world.sandbox.register_redirect(&uri);
            return uri;
        }
    }
}

/// A `connect` or `renew` that waits for its visitor; it is killed if the test ends before it does.
pub struct Waiting {
    child: Option<Child>,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    said: String,
    pub uri: String,
}

impl Waiting {
    /// Starts the command with a redirect URI of its own.
    pub fn start(world: &World, args: &[&str]) -> Self {
        let uri = redirect_uri(world);
        let mut all = args.to_vec();
        all.extend(["--redirect-uri", &uri]);
        let mut waiting = Self::of(world.command(&all));
        waiting.uri = uri;
        waiting
    }

    /// Starts any command.
    pub fn of(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self {
            child: Some(child),
            input,
            output: BufReader::new(output),
            said: String::new(),
            uri: String::new(),
        }
    }

    /// The link that it prints.
    pub fn link(&mut self) -> String {
        loop {
            let mut line = String::new();
            let read = self.output.read_line(&mut line).unwrap();
            self.said.push_str(&line);
            if let Some(link) = line.strip_prefix("  http") {
                return format!("http{}", link.trim());
            }
            if read == 0 {
                let ran = self.finish();
                panic!("no link: {ran:?}");
            }
        }
    }

    /// Pastes a line.
    pub fn paste(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }

    /// Sends it a signal such as `INT`.
    pub fn signal(&self, signal: &str) {
        let kill = format!("kill -{signal} {}", self.child.as_ref().unwrap().id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Waits for its end.
    pub fn end(mut self) -> Ran {
        self.finish()
    }

    /// Waits for its death.
    pub fn die(mut self) {
        assert!(was_killed(self.child.take().unwrap().wait().unwrap()));
    }

    fn finish(&mut self) -> Ran {
        let mut stdout = std::mem::take(&mut self.said);
        self.output.read_to_string(&mut stdout).unwrap();
        let mut output = self.child.take().unwrap().wait_with_output().unwrap();
        output.stdout = stdout.into_bytes();
        Ran::of(output)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

/// A page as a browser has it.
#[derive(Debug)]
pub struct Page {
    pub status: u16,
    pub location: Option<String>,
    pub body: String,
}

/// A browser without a screen.
pub struct Browser {
    http: reqwest::Client,
    runtime: Runtime,
}

impl Browser {
    pub fn new() -> Self {
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { http, runtime: Builder::new_current_thread().enable_all().build().unwrap() }
    }

    fn ask(&self, request: reqwest::RequestBuilder) -> Page {
        self.runtime.block_on(async {
            let answer = request.send().await.unwrap();
            let location = answer.headers().get("location").map(|place| place.to_str().unwrap().to_owned());
            Page { status: answer.status().as_u16(), location, body: answer.text().await.unwrap() }
        })
    }

    /// Opens an address.
    pub fn open(&self, address: &str) -> Page {
        self.ask(self.http.get(address))
    }

    /// Asks whether an address is there.
    pub fn head(&self, address: &str) -> Page {
        self.ask(self.http.head(address))
    }

    /// Opens a link of Tink's and chooses; where that leads to.
    pub fn choose(&self, link: &str, choice: &str) -> String {
        let page = self.open(link);
        assert_eq!(page.status, 200, "{}", page.body);
        let visit = page.body.split("name=\"visit\" value=\"").nth(1);
        let visit = visit.unwrap_or_else(|| panic!("no form: {}", page.body)).split('"').next().unwrap();
        let server = link.split("/1.0/").next().unwrap();
        let form = [("visit", visit), ("choice", choice)];
        self.ask(self.http.post(format!("{server}/1.0/choose")).form(&form)).location.unwrap()
    }

    /// Opens a link of Tink's, chooses, and lands on the page at the end.
    pub fn visit(&self, link: &str, choice: &str) -> Page {
        self.open(&self.choose(link, choice))
    }
}

/// The landing address with the link's state and nothing else: what somebody may type, or a Tink that names no bank.
pub fn only_state(uri: &str, link: &str) -> String {
    let state = link.split("state=").nth(1).unwrap().split('&').next().unwrap();
    format!("{uri}?state={state}")
}

/// A whole visit.
pub fn visit(world: &World, args: &[&str], choice: &str) -> (Page, Ran) {
    let mut waiting = Waiting::start(world, args);
    let page = Browser::new().visit(&waiting.link(), choice);
    (page, waiting.end())
}
