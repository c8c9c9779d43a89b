//! Configurations, secrets and environments that are wrong or do not go together.

use std::fs;

use super::{Told, assert_all, assert_told, chmod, fails, made, warns, write};
use crate::harness::{Ran, quoted, small};

#[test]
fn a_configuration_that_cannot_be_used() {
    assert_all(&[
        (
            "an unknown key",
            |world| world.set("sync.overlp", "\"14d\""),
            fails(78, "configuration", "sync.overlp", "did you mean `sync.overlap`?"),
        ),
        (
            "a secret in the configuration",
            |world| world.set("tink.client_secret", "\"abc\""),
            fails(78, "configuration", "tink.client_secret", "`tink.client_secret_file`"),
        ),
        (
            "no TOML",
            |world| {
                let text = fs::read_to_string(world.path("tink-sync.toml")).unwrap();
                write(&world, "tink-sync.toml", &format!("{text}enabled = tru\n"));
                world
            },
            fails(78, "configuration", "not valid TOML", "man tink-sync.toml"),
        ),
        (
            "no file",
            |world| {
                fs::remove_file(world.path("tink-sync.toml")).unwrap();
                world
            },
            fails(78, "configuration", "no configuration file here", "copy tink-sync.toml.example"),
        ),
        (
            "a plain address",
            |world| world.set("tink.api_url", "\"http://api.tink.com\""),
            fails(78, "configuration", "tink.api_url: expected https", "man tink-sync.toml"),
        ),
        (
            "a store elsewhere",
            |world| world.set("store.url", "\"mysql://db/bank\""),
            fails(78, "configuration", "store.url: expected `sqlite:`", "man tink-sync.toml"),
        ),
        (
            "passes switched off",
            |world| world.set("enabled", "false"),
            warns("configuration", "passes are switched off", "remove enabled = false from "),
        ),
    ]);
}

#[test]
fn what_others_may_change() {
    assert_all(&[
        (
            "a configuration that all may change",
            |world| {
                chmod(&world.path("tink-sync.toml"), 0o646);
                world
            },
            warns("permissions", "every user of this machine may change", "chmod go-w"),
        ),
        (
            "a directory in which all may replace the secret",
            |world| {
                let open = world.path("open");
                fs::create_dir(&open).unwrap();
                fs::rename(world.path("secret"), open.join("secret")).unwrap();
                chmod(&open, 0o777);
                world.set("tink.client_secret_file", &quoted(&open.join("secret").display().to_string()))
            },
            warns("permissions", "open (mode 0777)", "chmod go-w"),
        ),
        (
            "a directory in which all may replace the configuration",
            |world| {
                chmod(world.dir.path(), 0o777);
                world
            },
            warns("permissions", "every user of this machine may change", "chmod go-w"),
        ),
    ]);
}

#[test]
fn settings_that_do_not_go_together() {
    assert_all(&[
        (
            "whoever is due is taken for recent",
            |world| world.set("sync.min_interval", "\"6h\""),
            warns("cadence", "sync.min_interval (6h)", "set sync.min_interval below 6h"),
        ),
        (
            "a quota for less than the passes of a day",
            |world| world.set("quota.syncs_per_day", "25"),
            warns("cadence", "the quota leaves 5 to passes", "tink-sync timer --every"),
        ),
        (
            "a pass longer than the distance of two",
            |world| world.set("sync.deadline", "\"7h\""),
            warns("cadence", "sync.deadline (7h)", "set sync.deadline to 6h or less"),
        ),
        (
            "the whole quota reserved",
            |world| world.set("quota.reserved_for_manual", "100"),
            warns("configuration", "quota.reserved_for_manual", "below quota.syncs_per_day"),
        ),
        (
            "raw data kept longer than their history",
            |world| world.set("sync.keep_raw", "\"90d\"").set("report.history", "\"30d\""),
            warns("configuration", "sync.keep_raw (90d)", "set it to 30d or less"),
        ),
        (
            "nobody is warned of a consent",
            |world| world.set("consent.warn", "[]"),
            warns("configuration", "consent.warn", "list days"),
        ),
    ]);
}

#[test]
fn secrets_that_are_missing_open_or_pasted_wrongly() {
    assert_all(&[
        (
            "no client id",
            |world| world.unset("tink.client_id"),
            fails(78, "client id", "not set", "tink.client_id or TINK_CLIENT_ID"),
        ),
        (
            "no secret",
            |world| world.unset("tink.client_secret_file"),
            fails(78, "client secret", "not found", "systemd-creds encrypt --name=tink-sync.client-secret"),
        ),
        (
            "no secret file",
            |world| {
                fs::remove_file(world.path("secret")).unwrap();
                world
            },
            fails(78, "client secret", "does not exist", "tink.client_secret_file"),
        ),
        (
            "two lines",
            |world| {
                write(&world, "secret", "sandbox-secret\n\n");
                world
            },
            fails(78, "client secret", "alone on a single line", "tink.client_secret_file"),
        ),
        (
            "open to others",
            |world| {
                chmod(&world.path("secret"), 0o644);
                world
            },
            fails(78, "permissions", "open to other users (mode 0644)", "chmod 600 "),
        ),
        (
            "a key that is none",
            |world| {
                write(&world, "key", "c2hvcnQ=\n");
                let file = quoted(&world.path("key").display().to_string());
                world.set("store.token_key_file", &file)
            },
            fails(78, "token key", "store.token_key_file", "head -c 32 /dev/urandom | base64"),
        ),
    ]);
    // Tink refuses these too, and the reason stands above.
    for (text, odd) in [
        ("sandbox-secret \n", "begins or ends with a blank"),
        ("\"sandbox-secret\"\n", "stands in quotes"),
        ("sandbox-client\n", "is the client id"),
    ] {
        let world = made(small(1));
        write(&world, "secret", text);
        let told = Told { code: 77, ..warns("client secret", odd, "alone, on one line") };
        assert_told(odd, &world, told, |args| Some(world.cli(args)));
    }
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let usual = "/etc/tink-sync/tink-sync.toml";
    if fs::exists(usual).unwrap() {
        return println!("skipped: this machine has a configuration");
    }
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tink-sync"));
    command.env_clear().env("TINK_SYNC_USER", "root").env("TINK_SYNC_CONFIG", "");
    let ran = Ran::of(command.arg("status").output().unwrap()).expect(78);
    assert!(ran.stderr.contains(usual), "{}", ran.stderr);
}

#[test]
fn what_the_environment_says() {
    for (name, value, told) in [
        (
            "TINK_CLIENT_SECRET",
            "other",
            warns("configuration", "two client secrets", "unset TINK_CLIENT_SECRET"),
        ),
        (
            "TINK_SYNC_ENABLED",
            "false",
            warns("configuration", "passes are switched off", "remove TINK_SYNC_ENABLED"),
        ),
        ("TINK_SYNC_ENABLED", "perhaps", fails(78, "configuration", "TINK_SYNC_ENABLED", "correct it")),
    ] {
        let world = made(small(1));
        let run = |args: &[&str]| Some(Ran::of(world.command(args).env(name, value).output().unwrap()));
        assert_told(name, &world, told, run);
    }
}
