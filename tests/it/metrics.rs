//! The metrics file of a run: written as a whole after each real pass, never by a rehearsal.

use crate::harness::{World, plain};

fn with_metrics(world: World) -> World {
    let file = format!("\"{}\"", world.path("tink_sync.prom").display());
    world.set("report.metrics_file", &file)
}

#[test]
fn a_pass_writes_its_metrics_and_a_rehearsal_does_not() {
    let world = with_metrics(World::new(plain(3)));
    world.run(&["--dry-run"]).expect(0);
    assert!(!world.path("tink_sync.prom").exists());
    world.run(&[]).expect(0);
    let text = std::fs::read_to_string(world.path("tink_sync.prom")).unwrap();
    for line in [
        "tink_sync_last_run_exit_code 0",
        "tink_sync_connection_outcomes{outcome=\"synced\"} 3",
        "tink_sync_connections{state=\"ok\"} 3",
        "tink_sync_request_errors 0",
        "tink_sync_token_failures 0",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("c-0") && !text.contains("u-0"), "no id in a label:\n{text}");
}

#[test]
fn metrics_that_cannot_be_written_fail_no_pass() {
    let world = World::new(plain(1)).set("report.metrics_file", "\"/nonexistent/tink_sync.prom\"");
    let ran = world.run(&[]).expect(0);
    assert!(ran.stderr.contains("report.metrics_file"), "{}", ran.stderr);
}
