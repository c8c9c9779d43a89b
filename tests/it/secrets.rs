//! No secret is ever shown: every command and every failure with marked secrets, and a look through all that
//! was said, through the store, and through what other processes can see. The journal itself is searched by
//! the tests on a booted systemd.

use std::ffi::OsStr;
use std::fs;

use serde_json::json;
use tink_sandbox::{Action, Config, Endpoint, Fault, Script, Times};

use crate::harness::{Ran, World, plain, private, quoted, small, until};
use crate::scripted::{SAM, at, booked};

const SECRET: &str = "mark5ecret-7f3a9c0d11e2";
const IBAN: &str = "DE89370400440532013000";
const NAME: &str = "Marked Holder-Name";
const TEXT: &str = "marked text of a payment";
/// As it is stored, and as it comes.
const AMOUNTS: [&str; 2] = ["12345678.91", "1234567891"];
/// What is told about nobody's data anywhere: neither in reports nor in records.
const MARKS: [&str; 6] = [SECRET, IBAN, NAME, TEXT, AMOUNTS[0], AMOUNTS[1]];

/// A user of marked data, in a world with a marked secret.
fn marked() -> World {
    let config = Config { client_secret: SECRET.to_owned(), ..plain(0) };
    let world = World::with_users(config, vec![SAM.to_owned()]);
    world.sandbox.script(SAM, refreshed(1));
    world
}

/// What the bank shows after its n-th refresh.
fn refreshed(n: u32) -> Script {
    let mut script: Script = at(n, [booked("t-1", -3, AMOUNTS[1], TEXT), booked("t-2", -2, "-250", TEXT)]);
    script.accounts[0]["name"] = NAME.into();
    script.accounts[0]["identifiers"] = json!({"iban": {"iban": IBAN}});
    script
}

/// A run of letters and digits as long as a user token of the fake Tink.
fn looks_like_a_token(text: &str) -> bool {
    text.split(|c: char| !c.is_ascii_hexdigit()).any(|run| run.len() >= 64)
}

fn assert_nothing_shown(what: &str, ran: &Ran) {
    for text in [&ran.stdout, &ran.stderr] {
        for mark in MARKS {
            assert!(!text.contains(mark), "{what} shows {mark}: {ran:?}");
        }
        assert!(!looks_like_a_token(text), "{what} shows a token: {ran:?}");
    }
}

/// No file that the program made holds the secret, or anything like a token of the fake Tink.
fn assert_nothing_kept(world: &World) {
    let is_kept = |name: &String| name.starts_with(world.place.name()) || name == "tink-sync.prom";
    for (name, bytes) in world.contents().into_iter().filter(|(name, _)| is_kept(name)) {
        assert!(!bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes()), "{name}");
        let run = bytes.split(|byte| !byte.is_ascii_hexdigit()).map(<[u8]>::len).max();
        assert!(run < Some(72), "{name} holds a token");
    }
    for view in ["audit_v1", "runs_v1", "run_connections_v1", "connections_v1", "consents_v1"] {
        let store = world.store();
        let mut rows = store.prepare(&format!("SELECT * FROM {view}")).unwrap();
        let columns = rows.column_count();
        let mut rows = rows.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            for column in 0..columns {
                let value = format!("{:?}", row.get_ref(column).unwrap());
                let text = row.get::<_, String>(column).unwrap_or(value);
                assert!(!MARKS.iter().any(|mark| text.contains(mark)), "{view}: {text}");
            }
        }
    }
}

#[test]
fn no_command_shows_or_keeps_a_secret() {
    let metrics = |world: &World| quoted(&world.path("tink-sync.prom").display().to_string());
    let world = marked();
    let world = {
        let file = metrics(&world);
        world.set("report.metrics_file", &file)
    };
    let commands: [&[&str]; 21] = [
        &["run", "--dry-run"],
        &["run", "--verbose", "--format", "json"],
        &["run", "--connection", "c-0", "--actor", "ann", "--ip", "192.0.2.7"],
        &["run", "--quiet"],
        &["check"],
        &["check", "--verbose"],
        &["check", "--offline"],
        &["status"],
        &["status", "--verbose"],
        &["status", "--format", "json"],
        &["status", "--format", "prometheus"],
        &["status", "--connection", "c-0"],
        &["why", "c-0"],
        &["why", "c-0", "--format", "json"],
        &["connections", "list"],
        &["connections", "disable", "c-0"],
        &["connections", "add", "c-9", "--user", "u-9", "--external-user-id", "x"],
        &["users", "list"],
        &["users", "set", "u-0", "--entitled", "no"],
        &["timer"],
        &["report-failure", "--unit", "tink-sync.service", "--text"],
    ];
    for command in commands {
        assert_nothing_shown(&command.join(" "), &world.cli(command));
    }
    assert_eq!(
        world.text("SELECT count(*) || '' FROM transactions_v1").unwrap(),
        "2",
        "there was something to show"
    );
    assert_nothing_kept(&world);
}

#[test]
fn wherever_the_secret_comes_from_it_is_not_shown() {
    let world = marked().unset("tink.client_secret_file");
    let run = |variable: &str, value: &OsStr| {
        Ran::of(world.command(&["run", "--verbose"]).env(variable, value).output().unwrap())
    };
    let by_variable = run("TINK_CLIENT_SECRET", SECRET.as_ref()).expect(0);
    assert!(by_variable.stderr.contains("TINK_CLIENT_SECRET"), "it is warned of");
    assert_nothing_shown("the variable", &by_variable);
    for name in ["tink-sync.client-secret", "tink-sync.client-secret.plain"] {
        let directory = world.path(name).with_extension("d");
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join(name), format!("{SECRET}\n")).unwrap();
        private(&directory.join(name));
        let by_credential = run("CREDENTIALS_DIRECTORY", directory.as_ref());
        assert_nothing_shown(name, &by_credential.expect(0));
    }
    // The secret in the wrong place is not quoted by the message that says so.
    let pasted = quoted(SECRET);
    for (key, value) in [
        ("tink.client_secret_file", pasted.clone()),
        ("tink.client_secret", pasted.clone()),
        ("tink.api_url", quoted(&format!("https://user:{SECRET}@example.com"))),
        ("store.url", quoted(&format!("postgres://u:{SECRET}@db/x"))),
        ("store.token_key_file", pasted.clone()),
        ("source.view", pasted.clone()),
        ("tink.refresh", pasted.clone()),
        ("sync.overlap", pasted),
    ] {
        let world = marked().set(key, &value);
        for command in ["run", "check", "status"] {
            let ran = world.cli(&[command]);
            assert_ne!(ran.code, 0, "{key} is wrong: {ran:?}");
            assert_nothing_shown(key, &ran);
        }
    }
    for content in [format!("{SECRET}\n{SECRET}"), format!("{SECRET}\0")] {
        fs::write(world.path("two"), content).unwrap();
        private(&world.path("two"));
        let file = quoted(&world.path("two").display().to_string());
        let ran = marked().set("tink.client_secret_file", &file).cli(&["run"]).expect(78);
        assert_nothing_shown("a file that is no secret", &ran);
    }
}

#[test]
fn no_failure_quotes_what_it_was_answered() {
    let quoting = [
        json!({"errorCode": "x", "errorMessage": format!("client secret {SECRET} and account {IBAN} are wrong")}).to_string(),
        format!("<html><title>{NAME}</title>{IBAN} {SECRET}"),
        format!("{TEXT} {NAME} {SECRET} {}", AMOUNTS[0]),
        format!("{{\"access_token\": \"{SECRET}\", \"name\": \"{NAME}\""),
    ];
    let world = marked();
    let mut refreshes = 1..;
    for place in [Endpoint::ClientToken].into_iter().chain(OF_A_USER) {
        for (n, body) in quoting.iter().enumerate() {
            let code = [400, 401, 403, 404, 500][n];
            let status = Action::Status {
                code,
                headers: vec![("X-Request-ID".to_owned(), "r-1".to_owned())],
                body: body.clone(),
            };
            for (is_error, action) in [(true, status), (false, Action::Garbage(body.clone().into_bytes()))] {
                // Without a new refresh nobody would ask for transactions, once an answer of another call that
                // omits its list was taken for an empty one.
                world.sandbox.script(SAM, refreshed(refreshes.next().unwrap()));
                world.sandbox.fault(Fault::new(action).at(place).times(Times::Forever));
                // Forced, since this many failures in a row make it back off.
                let ran = world.run(&["--verbose", "--connection", "c-0", "--force"]);
                assert!(ran.code != 0 || !is_error, "{place:?} {body}");
                assert_nothing_shown(&format!("{place:?} {code} {body}"), &ran);
                world.sandbox.clear_faults();
            }
        }
    }
    assert_nothing_shown("why, after all of it", &world.cli(&["why", "c-0"]));
    assert_nothing_shown("status, after all of it", &world.cli(&["status"]));
    assert_nothing_kept(&world);
}

/// The calls that concern a user.
const OF_A_USER: [Endpoint; 5] =
    [Endpoint::Grant, Endpoint::CodeExchange, Endpoint::Consents, Endpoint::Accounts, Endpoint::Transactions];

#[test]
fn of_an_error_that_names_a_person_only_the_code_is_told() {
    let named = format!("user {NAME} may not see {TEXT} of {}", AMOUNTS[0]);
    let bodies = [
        json!({"errorCode": "accounts.refused", "errorMessage": named}),
        json!({"code": 16, "message": named, "details": [{"name": NAME}]}),
        json!({"error": "refused-by-bank", "error_description": named}),
        json!({"errorCode": NAME, "code": named, "error": named, "detailCode": IBAN}),
    ];
    let told = ["accounts.refused", "16", "refused-by-bank", ""];
    let world = marked();
    for place in OF_A_USER {
        for (n, body) in bodies.iter().enumerate() {
            let code = [400, 401, 403, 500][n];
            let refusal = Action::Status { code, headers: Vec::new(), body: body.to_string() };
            world.sandbox.fault(Fault::new(refusal).at(place).times(Times::Forever));
            // As a person sees it, and as a program does.
            assert_nothing_shown("a run", &world.cli(&["run", "--connection", "c-0", "--force"]));
            let ran = world.run(&["--verbose", "--connection", "c-0", "--force"]).expect(10);
            assert_nothing_shown(&format!("{place:?} {body}"), &ran);
            let error = ran.connections()["c-0"]["error"].as_str().unwrap().to_owned();
            assert!(error.ends_with(told[n]), "{place:?}: {error}");
            world.sandbox.clear_faults();
            // What the last failure left is all that these know.
            let commands = [
                &["why", "c-0"][..],
                &["why", "c-0", "--format", "json"],
                &["status"],
                &["status", "--format", "json"],
            ];
            for command in &commands[..if n == 1 { commands.len() } else { 1 }] {
                assert_nothing_shown(&format!("{command:?} after {place:?} {body}"), &world.cli(command));
            }
        }
    }
    assert_nothing_kept(&world);
}

#[test]
fn other_processes_see_no_secret_while_a_pass_runs() {
    let world = World::new(Config { client_secret: SECRET.to_owned(), ..small(1) });
    world.sandbox.fault(Fault::new(Action::Hang).at(Endpoint::Consents));
    let running = world.start(&[]);
    until(|| world.sandbox.requests_to(Endpoint::Consents) > 0);
    for file in ["cmdline", "environ"] {
        let bytes = fs::read(format!("/proc/{}/{file}", running.id())).unwrap();
        assert!(!bytes.is_empty() || file == "environ");
        assert!(!bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes()), "{file}");
    }
    running.kill();
}

#[test]
fn all_mistakes_of_the_configuration_are_told_by_every_command() {
    let world = World::new(small(1)).set("foo", "1").set("retry.attempts", "99");
    for args in [&["run"][..], &["check", "--offline"]] {
        let ran = world.cli(args).expect(78);
        let told = format!("{}{}", ran.stdout, ran.stderr).replace("\n      ", " ");
        assert!(
            told.contains("foo: unknown key") && told.contains("retry.attempts: expected from"),
            "{told}"
        );
    }
}

#[test]
fn a_secret_that_is_named_wrongly_leads_to_no_advice_that_does_harm() {
    for key in ["tink.client_secret_file", "store.token_key_file", "store.pgpass_file"] {
        for place in ["/etc", "/etc/passwd", "/dev/zero"] {
            let world = World::new(small(1)).set(key, &format!("\"{place}\""));
            let ran = world.cli(&["check", "--offline"]);
            let told = format!("{}{}", ran.stdout, ran.stderr).replace('\n', " ");
            assert!(!told.contains(&format!("chmod 600 {place}")), "{key} {place}: {told}");
        }
    }
}
