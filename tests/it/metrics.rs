//! The metrics file of a run: written as a whole after each real pass, never by a rehearsal.

use crate::harness::{World, plain};
use crate::stored::only_on_sqlite;

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
fn the_file_and_status_agree_and_a_run_on_demand_is_no_pass() {
    let world = with_metrics(World::new(plain(2)));
    // Without what changes by itself: the ages, and the log, which a reader may keep open.
    let lines = |text: &str| -> Vec<String> {
        let changing = |line: &&str| line.contains("_age_seconds") || line.contains("_store_log_");
        text.lines().filter(|line| !changing(line)).map(str::to_owned).collect()
    };
    let metrics = || {
        let file = lines(&std::fs::read_to_string(world.path("tink_sync.prom")).unwrap());
        assert_eq!(lines(&world.cli(&["status", "--format", "prometheus"]).expect(0).stdout), file);
        file
    };
    let of_pass = |lines: Vec<String>| -> Vec<String> {
        let of_pass = ["_last_", "_outcomes", "_transactions", "_requests", "_retries", "_quarantined"];
        lines.into_iter().filter(|line| of_pass.iter().any(|name| line.contains(name))).collect()
    };
    // GIVEN nothing but runs on demand THEN no pass is told of
    world.run(&["--connection", "c-0"]).expect(0);
    world.run(&["--connection", "nobody"]).expect(2);
    assert_eq!(of_pass(metrics()), [""; 0]);
    let last_pass = || {
        world
            .cli(&["check", "--offline"])
            .stdout
            .lines()
            .find(|line| line.contains("last pass"))
            .unwrap()
            .to_owned()
    };
    assert!(last_pass().contains("none yet"), "{}", last_pass());
    // WHEN a pass was made and more runs on demand, an import and a rehearsal follow
    world.run(&[]).expect(0);
    let pass = of_pass(metrics());
    assert!(pass.contains(&"tink_sync_connection_outcomes{outcome=\"unchanged\"} 1".to_owned()), "{pass:?}");
    world.run(&["--connection", "c-1"]).expect(0);
    assert_eq!(of_pass(metrics()), pass);
    world.run(&["--user", "nobody"]).expect(2);
    world.run(&["--dry-run"]).expect(0);
    std::fs::write(world.path("rows.jsonl"), "").unwrap();
    world.cli(&["import", &world.path("rows.jsonl").display().to_string()]).expect(0);
    // THEN the numbers are still those of the pass
    assert_eq!(of_pass(metrics()), pass);
    // AND a pass that failed is told of in the file as well
    world.app("DROP VIEW tink_sync_source_v1; CREATE VIEW tink_sync_source_v1 AS SELECT 1 AS connection_id");
    world.run(&[]).expect(78);
    assert!(metrics().contains(&"tink_sync_last_run_exit_code 78".to_owned()));
    assert!(last_pass().contains("ended with 78"), "{}", last_pass());
}

#[test]
fn metrics_that_cannot_be_written_fail_no_pass() {
    let world = World::new(plain(1)).set("report.metrics_file", "\"/nonexistent/tink_sync.prom\"");
    let ran = world.run(&[]).expect(0);
    assert!(ran.stderr.contains("report.metrics_file"), "{}", ran.stderr);
}

#[test]
fn a_reader_that_stays_is_named_with_what_it_costs() {
    only_on_sqlite!("the length of its log");
    let world = with_metrics(World::new(plain(1)));
    world.run(&[]).expect(0);
    let value = |world: &World| {
        let text = std::fs::read_to_string(world.path("tink_sync.prom")).unwrap();
        let bytes = text
            .lines()
            .find_map(|line| line.strip_prefix("tink_sync_store_log_bytes ")?.parse::<u64>().ok());
        (bytes.unwrap(), text.lines().any(|line| line.starts_with("tink_sync_store_log_reader{")))
    };
    assert_eq!(value(&world), (0, false), "a pass leaves none of it");
    // GIVEN a program that began to read and does not end, while others write
    let reader = world.reading();
    world.tamper("CREATE TABLE junk (x); INSERT INTO junk VALUES (randomblob(3000000))");
    world.run(&[]).expect(0);
    // THEN metrics and check say how much there is and whose it is
    let me = format!("{}", std::process::id());
    let text = std::fs::read_to_string(world.path("tink_sync.prom")).unwrap();
    assert!(value(&world).0 > 3_000_000, "{text}");
    assert!(text.contains(&format!("tink_sync_store_log_reader{{pid=\"{me}\",command=\"")), "{text}");
    let said = world.cli(&["check", "--offline", "--format", "json"]).stdout;
    assert!(said.contains(&format!("cannot be emptied while process {me} (")), "{said}");
    // AND nothing is left of it once that has ended
    drop(reader);
    world.run(&[]).expect(0);
    assert_eq!(value(&world), (0, false));
}
