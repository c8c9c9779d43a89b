//! The program: it says where it is, then that it is ready, and serves.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::client::{Client, READ};

#[test]
fn the_program_prints_its_url_and_serves_a_world_of_the_asked_size() {
    let mut program = Command::new(env!("CARGO_BIN_EXE_tink-sandbox"))
        .args(["--users", "3", "--seed", "7", "--latency", "1ms", "--rates", "everything"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(program.stdout.take().unwrap())
        .lines()
        .take(2)
        .map(Result::unwrap)
        .collect::<Vec<_>>();
    assert_eq!(lines[1], "ready");
    let mut client = Client::at(lines[0].strip_prefix("http://").unwrap().parse().unwrap());
    assert_eq!(client.code("user-2", READ).status, 200);
    assert_eq!(client.code("user-3", READ).status, 404);
    program.kill().unwrap();
    program.wait().unwrap();
}
