//! A run of the binary: what it left, one in the background, and waiting for what it does. Holds no test.

use std::collections::BTreeMap;
use std::process::{Child, Command, ExitStatus, Output};
use std::time::{Duration, Instant};

use serde_json::Value;

/// What a run of the binary left.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub lines: Vec<Value>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn of(output: Output) -> Self {
        let stdout = String::from_utf8(output.stdout).unwrap();
        let lines = stdout.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let stderr = String::from_utf8(output.stderr).unwrap();
        Self { code: output.status.code().expect("the binary was not killed"), lines, stdout, stderr }
    }

    /// The summary line.
    pub fn summary(&self) -> &Value {
        let last =
            self.lines.last().unwrap_or_else(|| panic!("no report; exit {}: {}", self.code, self.stderr));
        assert_eq!(last["type"], "summary");
        last
    }

    /// A number of the summary.
    pub fn total(&self, field: &str) -> u64 {
        self.summary()[field].as_u64().unwrap_or_else(|| panic!("no {field} in {}", self.summary()))
    }

    /// A number of the summary's skips.
    pub fn skipped(&self, reason: &str) -> u64 {
        self.summary()["skipped"][reason]
            .as_u64()
            .unwrap_or_else(|| panic!("no {reason} in {}", self.summary()))
    }

    /// The lines of the connections, by id.
    pub fn connections(&self) -> BTreeMap<String, Value> {
        let lines = self.lines.iter().filter(|line| line["type"] == "connection");
        lines.map(|line| (line["connection_id"].as_str().unwrap().to_owned(), line.clone())).collect()
    }

    /// Outcome and reason of one connection.
    pub fn ended(&self, connection: &str) -> (String, Option<String>) {
        let connections = self.connections();
        let line =
            connections.get(connection).unwrap_or_else(|| panic!("{connection} is not in {}", self.stdout));
        (line["outcome"].as_str().unwrap().to_owned(), line["reason"].as_str().map(str::to_owned))
    }

    /// Fails unless the exit code is this one.
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }
}

/// A run in the background; it is killed if the test ends before it does.
pub struct Running(pub Option<Child>);

impl Running {
    /// Waits for its end.
    pub fn end(mut self) -> Ran {
        Ran::of(self.0.take().unwrap().wait_with_output().unwrap())
    }

    /// Ends it with a signal such as `TERM`, which it must obey soon.
    pub fn stop(mut self, signal: &str) -> Ran {
        let child = self.0.as_mut().unwrap();
        let kill = format!("kill -{signal} {}", child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        until(|| child.try_wait().unwrap().is_some());
        self.end()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.0.as_ref().unwrap().id()
    }

    /// Ends it as a power cut would.
    pub fn kill(self) {
        drop(self);
    }

    /// Ends it as a power cut would as soon as something is so; says whether it was still running.
    pub fn kill_when(mut self, mut is_so: impl FnMut() -> bool) -> bool {
        let mut child = self.0.take().unwrap();
        while child.try_wait().unwrap().is_none() && !is_so() {
            std::thread::sleep(Duration::from_micros(100));
        }
        child.kill().unwrap();
        was_killed(child.wait().unwrap())
    }

    /// Its standard error, to be read while it runs.
    pub fn stderr(&mut self) -> std::process::ChildStderr {
        self.0.as_mut().unwrap().stderr.take().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

/// Whether a process ended as in a power cut.
pub fn was_killed(status: ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt as _;
    status.signal() == Some(9)
}

/// Waits until something is so; fails if that takes a minute.
pub fn until(mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_mins(1);
    while !is_so() {
        assert!(Instant::now() < end, "waited for nothing");
        std::thread::sleep(Duration::from_millis(1));
    }
}
