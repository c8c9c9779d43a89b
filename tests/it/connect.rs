//! `connect`: from nothing to a user's rows, and every way in which that can go wrong.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use tink_sandbox::Endpoint;

use crate::harness::{World, small, until};
use crate::permissions::bound_command;
use crate::visitor::{Browser, Waiting, alone, only_state, redirect_uri, visit, with_link};

const ME: [&str; 4] = ["connect", "--user", "me", "--test"];

pub fn audited(world: &World) -> Vec<Vec<Option<String>>> {
    let sql = "SELECT action, connection_id, user_id, actor, details FROM audit_v1 WHERE coalesce(?1, 1)";
    world.texts(sql, "1")
}

#[test]
fn a_bank_is_linked_from_nothing_to_its_rows() {
    let world = alone();
    let mut waiting =
        Waiting::start(&world, &["connect", "--user", "me", "--test", "--market", "de", "--locale", "de_DE"]);
    let link = waiting.link();
    for part in
        ["/1.0/transactions/connect-accounts?client_id=sandbox-client&", "&market=DE&locale=de_DE&test=true"]
    {
        assert!(link.contains(part), "{part} is not in {link}");
    }
    let page = Browser::new().visit(&link, "demo-bank");
    assert_eq!(page.status, 200);
    assert!(page.body.contains("<h1>You are back from Tink</h1>"), "{}", page.body);
    let ran = waiting.end().expect(0);
    assert!(ran.stdout.contains("The bank is linked: connection me of user me."), "{}", ran.stdout);
    assert_eq!(world.number("SELECT count(*) FROM transactions_v1 WHERE connection_id = 'me'"), 30);
    let id = world.external_id();
    assert!(id.len() == 35 && id.starts_with("ts-") && !id.contains("me"), "{id}");
    assert_eq!(world.text("SELECT state FROM connections_v1").as_deref(), Some("ok"));
    assert_eq!(
        world.text("SELECT provider FROM consents_v1").as_deref(),
        Some("de-demobank-open-banking-redirect")
    );
    assert_eq!(world.links_begun(), 0);
    let audit = audited(&world);
    assert_eq!(audit.len(), 1);
    assert_eq!(audit[0][..3], ["connection.created", "me", "me"].map(|text| Some(text.to_owned())));
    assert_eq!(world.sandbox.truth(&id).transactions.len(), 30);
    assert_eq!(world.sandbox.requests_to(Endpoint::UserCreate), 1);
}

#[test]
fn every_error_is_explained_on_the_page_and_in_the_terminal() {
    for (choice, code, title, tracking) in [
        ("cancel", 11, "Cancelled", "t-cancel"),
        ("decline", 11, "The permission was not given", "t-decline"),
        ("wrong-login", 11, "The login did not work", "t-login"),
        ("bank-down", 10, "The bank cannot be reached", "t-down"),
        ("tink-down", 10, "Tink has trouble", "t-internal"),
        ("too-often", 10, "The bank was asked too often", "t-often"),
        ("news", 10, "It did not work", ""),
    ] {
        let world = alone();
        let (page, ran) = visit(&world, &ME, choice);
        assert_eq!((page.status, ran.code), (200, code), "{choice}: {ran:?}");
        assert!(page.body.contains(&format!("<h1>{title}</h1>")), "{choice}: {}", page.body);
        for said in [&page.body, &ran.stdout] {
            assert!(said.contains(title) && said.contains(tracking), "{choice}: {said}");
            for never in ["Jane", "SE455", "<script"] {
                assert!(!said.contains(never), "{choice} shows {never}: {said}");
            }
        }
        assert_eq!(world.number("SELECT count(*) FROM tink_sync_source_v1"), 0);
        assert!(audited(&world).is_empty());
    }
}

#[test]
fn a_second_try_goes_on_with_the_same_user() {
    let world = alone();
    visit(&world, &ME, "cancel").1.expect(11);
    let id = world.external_id();
    let (_, ran) = visit(&world, &ME, "demo-bank-camel");
    let ran = ran.expect(0);
    assert!(ran.stdout.contains("goes on, with the same user at Tink"), "{}", ran.stdout);
    assert_eq!(world.external_id(), id);
    assert_eq!(world.number("SELECT count(*) FROM transactions_v1"), 30);
}

#[test]
fn a_link_that_another_user_has_begun_is_never_taken_over() {
    let world = alone();
    visit(&world, &["connect", "--user", "jane", "--connection", "john", "--test"], "cancel").1.expect(11);
    let hers = world.external_id();
    let ran = Waiting::start(&world, &["connect", "--user", "john", "--test"]).end().expect(2);
    assert!(ran.stderr.contains("john was begun for user jane"), "{}", ran.stderr);
    // Taken back, with what Tink was told of it.
    let forget = ["connections", "forget", "john", "--yes", "--at-tink"];
    let said = world.cli(&forget).expect(0).stdout;
    assert!(said.contains("john of user jane: 0 accounts"), "{said}");
    assert_eq!(world.links_begun(), 0);
    assert_eq!(audited(&world)[0][4].as_deref(), Some("0 accounts, 0 transactions; deleted at Tink"));
    visit(&world, &["connect", "--user", "john", "--test"], "demo-bank").1.expect(0);
    assert_ne!(world.external_id(), hers);
    assert_eq!(world.text("SELECT user_id FROM connections_v1").as_deref(), Some("john"));
}

#[test]
fn what_is_forgotten_while_it_is_linked_is_not_stored() {
    let world = alone();
    let mut waiting = Waiting::start(&world, &ME);
    let link = waiting.link();
    let id = world.external_id();
    world.cli(&["connections", "forget", "me", "--yes"]).expect(0);
    Browser::new().visit(&link, "demo-bank");
    let ran = waiting.end().expect(2);
    let remedy = format!("tink-sync connections add NEW-ID --user me --external-user-id {id}");
    assert!(ran.stderr.contains("was forgotten here") && ran.stderr.contains(&remedy), "{}", ran.stderr);
    assert_eq!(world.number("SELECT count(*) FROM tink_sync_source_v1"), 0);
    // As it says.
    world.cli(&["connections", "add", "new", "--user", "me", "--external-user-id", &id]).expect(0);
    world.run(&[]).expect(0);
    assert_eq!(world.number("SELECT count(*) FROM transactions_v1"), 30);
}

#[test]
fn a_redirect_that_is_not_ours_is_turned_away_and_the_waiting_goes_on() {
    let world = alone();
    let mut waiting = Waiting::start(&world, &ME);
    let (browser, link, uri) = (Browser::new(), waiting.link(), waiting.uri.clone());
    let page = browser.open(&format!("{uri}?credentials_id=c&state=made-up"));
    assert_eq!(page.status, 400);
    assert!(page.body.contains("This address is not accepted"), "{}", page.body);
    assert_eq!(browser.open(&uri).status, 400);
    assert_eq!(browser.open(&format!("{uri}?error=USER_CANCELLED")).status, 400);
    assert_eq!(browser.open(&uri.replace("/callback", "/favicon.ico")).status, 404);
    let good = browser.choose(&link, "demo-bank");
    let (head, state) = good.split_once("state=").unwrap();
    let mut changed = state.to_owned();
    changed.replace_range(10..11, if &state[10..11] == "A" { "B" } else { "A" });
    assert_eq!(browser.open(&format!("{head}state={changed}")).status, 400);
    assert_eq!(browser.head(&good).status, 405, "to look is not to come");
    assert_eq!(browser.open(&good).status, 200);
    let ran = waiting.end().expect(0);
    assert_eq!(ran.stderr.matches("a redirect was turned away").count(), 4, "{}", ran.stderr);
    assert!(ran.stdout.contains("The bank is linked"));
}

#[test]
fn the_state_of_another_process_is_not_accepted() {
    let world = alone();
    let mut one = Waiting::start(&world, &ME);
    let browser = Browser::new();
    let answer = browser.choose(&one.link(), "demo-bank");
    let mut two = Waiting::start(&world, &["connect", "--user", "you", "--test"]);
    two.link();
    let theirs = answer.replace(&one.uri, &two.uri);
    assert_eq!(browser.open(&theirs).status, 400);
    assert_eq!(browser.open(&answer).status, 200);
    one.end().expect(0);
}

#[test]
fn data_that_take_their_time_are_waited_for() {
    let world = alone();
    let (_, ran) = visit(&world, &ME, "slow-bank");
    let ran = ran.expect(0);
    assert!(ran.stdout.contains("Tink is fetching from the bank"), "{}", ran.stdout);
    assert_eq!(world.number("SELECT count(*) FROM transactions_v1"), 30);
    assert_eq!(world.number("SELECT count(*) FROM runs_v1"), 1);
}

#[test]
fn a_second_bank_belongs_to_the_same_connection_and_user() {
    let world = alone();
    visit(&world, &ME, "demo-bank").1.expect(0);
    let id = world.external_id();
    let (_, ran) = visit(&world, &ME, "demo-bank");
    let ran = ran.expect(0);
    assert!(
        ran.stdout.contains("Connection me is there already: the bank becomes another one"),
        "{}",
        ran.stdout
    );
    assert_eq!(world.external_id(), id);
    assert_eq!(world.number("SELECT count(*) FROM consents_v1 WHERE connection_id = 'me'"), 2);
    assert_eq!(world.number("SELECT count(*) FROM transactions_v1 WHERE removed_at IS NULL"), 60);
    let actions: Vec<_> = audited(&world).into_iter().map(|row| row[0].clone().unwrap()).collect();
    assert_eq!(actions, ["connection.created", "connection.linked"]);
}

#[test]
fn where_the_application_decides_its_user_gets_the_bank_and_its_tables_stay_as_they_are() {
    let world = with_link(World::new(small(1)));
    let before = std::fs::read(world.path("app.db")).unwrap();
    let (_, ran) = visit(&world, &["connect", "--user", "u-0", "--test"], "demo-bank");
    ran.expect(0);
    world.assert_exact(0);
    assert_eq!(world.number("SELECT count(*) FROM accounts_v1"), 2);
    assert_eq!(std::fs::read(world.path("app.db")).unwrap(), before);
    assert_eq!(audited(&world)[0][0].as_deref(), Some("connection.linked"));
    let ran = world.cli(&["connect", "--user", "u-9"]).expect(2);
    assert!(ran.stderr.contains("the application makes connections"), "{}", ran.stderr);
    assert_eq!(world.sandbox.requests_to(Endpoint::UserCreate), 0);
}

#[test]
fn a_user_of_the_application_whom_tink_does_not_know_is_made() {
    let world = with_link(World::with_users(small(0), vec!["fresh-1".to_owned()]));
    visit(&world, &["connect", "--user", "u-0", "--test"], "demo-bank").1.expect(0);
    assert_eq!(world.sandbox.requests_to(Endpoint::UserCreate), 1);
    world.assert_exact(0);
}

#[test]
fn on_a_machine_without_a_browser_the_address_is_pasted() {
    let world = alone();
    let mut waiting = Waiting::start(&world, &["connect", "--user", "me", "--test", "--paste"]);
    let link = waiting.link();
    let answer = Browser::new().choose(&link, "demo-bank");
    for line in ["", "nothing of the kind", "http://localhost/callback?state=x"] {
        waiting.paste(line);
    }
    waiting.paste(&format!("  {answer}  "));
    let ran = waiting.end().expect(0);
    assert!(
        ran.stdout.contains("That holds no answer") && ran.stdout.contains("This address is not accepted")
    );
    assert_eq!(world.number("SELECT count(*) FROM transactions_v1"), 30);
}

#[test]
fn the_link_itself_is_no_answer() {
    let world = alone();
    let mut waiting = Waiting::start(&world, &["connect", "--user", "me", "--test", "--paste"]);
    let link = waiting.link();
    waiting.paste(&link);
    waiting.paste(&Browser::new().choose(&link, "demo-bank"));
    let ran = waiting.end().expect(0);
    let said = "That is the link itself: open it in a browser, and paste the address where the browser lands";
    assert_eq!(ran.stdout.matches(said).count(), 1, "{}", ran.stdout);
    assert_eq!(world.number("SELECT count(*) FROM transactions_v1"), 30);

    let mut waiting = Waiting::start(&world, &ME);
    let (browser, link) = (Browser::new(), waiting.link());
    let page = browser.open(&format!("{}?{}", waiting.uri, link.split_once('?').unwrap().1));
    assert_eq!(page.status, 400);
    assert!(page.body.contains("<h1>That is the link itself</h1>"), "{}", page.body);
    assert_eq!(browser.visit(&link, "demo-bank").status, 200);
    waiting.end().expect(0);
}

#[test]
fn where_no_bank_is_named_tink_has_the_word() {
    let world = alone();
    // Nobody was there: nothing is linked, and a later one goes on.
    let mut waiting = Waiting::start(&world, &["connect", "--user", "me", "--test", "--paste"]);
    let link = waiting.link();
    waiting.paste(&only_state(&waiting.uri.clone(), &link));
    let ran = waiting.end().expect(10);
    let said = "Tink lists no bank for this user; nothing was linked.";
    assert!(ran.stdout.contains(said) && !ran.stdout.contains("The bank is linked"), "{}", ran.stdout);
    assert!(audited(&world).is_empty());
    assert_eq!(world.number("SELECT count(*) FROM tink_sync_source_v1"), 0);
    let id = world.external_id();
    // Somebody was.
    let mut waiting = Waiting::start(&world, &ME);
    let (browser, link) = (Browser::new(), waiting.link());
    browser.choose(&link, "demo-bank");
    let page = browser.open(&only_state(&waiting.uri, &link));
    assert!(page.body.contains("<h1>You are back from Tink</h1>"), "{}", page.body);
    assert!(waiting.end().expect(0).stdout.contains("The bank is linked"));
    assert_eq!(world.external_id(), id);
    let consent = world.text("SELECT credentials_id FROM consents_v1").unwrap();
    assert_eq!(audited(&world)[0][4], Some(format!("consent {consent}")));
    // The bank that is there is no new one.
    let mut waiting = Waiting::start(&world, &ME);
    let link = waiting.link();
    browser.open(&only_state(&waiting.uri, &link));
    let ran = waiting.end().expect(10);
    assert!(ran.stdout.contains("Tink lists no new bank for this user"), "{}", ran.stdout);
    assert_eq!(audited(&world).len(), 1);
}

#[test]
fn a_bank_that_only_the_address_names_is_not_linked() {
    let world = alone();
    let mut waiting = Waiting::start(&world, &ME);
    let (browser, link) = (Browser::new(), waiting.link());
    let forged = only_state(&waiting.uri, &link) + "&credentials_id=0123456789abcdef0123456789abcdef";
    let page = browser.open(&forged);
    assert!(!page.body.contains("linked"), "{}", page.body);
    let ran = waiting.end().expect(10);
    assert!(ran.stdout.contains("Tink lists no bank for this user; nothing was linked."), "{}", ran.stdout);
    assert!(audited(&world).is_empty());
    assert_eq!(world.number("SELECT count(*) FROM tink_sync_source_v1"), 0);
    // With a bank that is there: neither a made-up one nor the old one is linked; a new one is, whatever is named.
    visit(&world, &ME, "demo-bank").1.expect(0);
    let old = world.text("SELECT credentials_id FROM consents_v1").unwrap();
    for named in ["made-up", &old] {
        let mut waiting = Waiting::start(&world, &ME);
        let link = waiting.link();
        browser.open(&format!("{}&credentials_id={named}", only_state(&waiting.uri, &link)));
        let ran = waiting.end().expect(10);
        assert!(ran.stdout.contains("Tink lists no new bank for this user"), "{named}: {}", ran.stdout);
    }
    assert_eq!(audited(&world).len(), 1);
    let mut waiting = Waiting::start(&world, &ME);
    let link = waiting.link();
    browser.choose(&link, "demo-bank");
    browser.open(&format!("{}&credentials_id={old}", only_state(&waiting.uri, &link)));
    waiting.end().expect(0);
    let told = audited(&world).pop().unwrap()[4].clone().unwrap();
    assert!(told.starts_with("consent ") && !told.contains(&old), "{told}");
}

#[test]
fn the_link_reaches_the_browser_in_a_file_of_its_user_and_never_with_foreign_rights() {
    let world = alone();
    let uri = redirect_uri(&world);
    let args = [&ME[..], &["--open", "--redirect-uri", &uri]].concat();
    if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
        for args in [&args[..], &["renew", "me", "--open"]] {
            let ran = world.cli(args).expect(2);
            assert!(ran.stderr.contains("leave --open out") && ran.stdout.is_empty(), "{ran:?}");
        }
        assert_eq!(world.sandbox.requests().values().sum::<u64>(), 0);
    }
    let here = world.path("").display().to_string();
    let opener = world.path("xdg-open");
    let script = format!(
        "#!/bin/sh\necho \"$@\" > {here}argv\nenv > {here}env\nstat -c %a \"$1\" > {here}mode\ncp \"$1\" {here}page\nmv {here}page {here}opened\n"
    );
    std::fs::write(&opener, script).unwrap();
    std::fs::set_permissions(&opener, std::fs::Permissions::from_mode(0o755)).unwrap();
    let Some(mut command) = bound_command(&world, &args) else { return };
    command.env("XDG_RUNTIME_DIR", &here).env("PATH", format!("{here}:/usr/bin:/bin"));
    command.env("TINK_CLIENT_SECRET", &world.sandbox.config().client_secret);
    command.env("PGPASSWORD", "of the database");
    let mut waiting = Waiting::of(command);
    let link = waiting.link();
    until(|| world.path("opened").exists());
    let read = |name: &str| std::fs::read_to_string(world.path(name)).unwrap();
    let page = read("argv").trim().to_owned();
    assert!(page.starts_with(&here) && !page.contains('?'), "{page}");
    let secret =
        |name: &str| link.split(&format!("{name}=")).nth(1).unwrap().split('&').next().unwrap().to_owned();
    let secrets = [
        secret("authorization_code"),
        secret("state"),
        world.sandbox.config().client_secret.clone(),
        "of the database".to_owned(),
    ];
    for (name, secret) in secrets.iter().flat_map(|secret| [("argv", secret), ("env", secret)]) {
        assert!(!read(name).contains(secret.as_str()), "{name}");
    }
    assert_eq!(read("mode").trim(), "600");
    assert!(read("opened").contains(&link.replace('&', "&amp;")));
    assert!(std::path::Path::new(&page).exists());
    Browser::new().visit(&link, "demo-bank");
    waiting.end().expect(0);
    assert!(!std::path::Path::new(&page).exists(), "the page is left");
}

#[test]
fn an_address_of_a_server_is_pasted_too_or_forwarded() {
    let world = alone();
    let uri = "https://app.example/tink";
    world.sandbox.register_redirect(uri);
    let mut waiting =
        Waiting::of(world.command(&["connect", "--user", "me", "--test", "--redirect-uri", uri]));
    let answer = Browser::new().choose(&waiting.link(), "cancel");
    assert!(answer.starts_with("https://app.example/tink?error=USER_CANCELLED"));
    waiting.paste(&answer);
    waiting.end().expect(11);

    let own = redirect_uri(&world);
    let listen =
        own.trim_start_matches("http://").trim_end_matches("/callback").replace("localhost", "127.0.0.1");
    let args = ["connect", "--user", "me", "--test", "--redirect-uri", uri, "--listen", &listen];
    let mut waiting = Waiting::of(world.command(&args));
    let answer = Browser::new().choose(&waiting.link(), "demo-bank");
    let page = Browser::new().open(&answer.replace("https://app.example", &format!("http://{listen}")));
    assert_eq!(page.status, 200);
    waiting.end().expect(0);
}

#[test]
fn an_input_that_ends_is_said_so() {
    let world = alone();
    let mut command = world.command(&["connect", "--user", "me", "--paste"]);
    let ran = crate::harness::Ran::of(command.stdin(std::process::Stdio::null()).output().unwrap()).expect(2);
    assert!(ran.stderr.contains("before the address was pasted"), "{}", ran.stderr);
}

#[test]
fn who_does_not_come_and_who_gives_up_lose_nothing() {
    let world = alone();
    let ran = Waiting::start(&world, &["connect", "--user", "me", "--timeout", "20ms"]).end().expect(10);
    assert!(ran.stdout.contains("Nobody came back within 20ms."), "{}", ran.stdout);
    let id = world.external_id();
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let mut waiting = Waiting::start(&world, &ME);
        waiting.link();
        waiting.signal(signal);
        let ran = waiting.end().expect(code);
        assert!(ran.stdout.contains("Stopped. Nothing is lost"), "{}", ran.stdout);
    }
    assert_eq!(world.external_id(), id);
}

#[cfg(debug_assertions)]
#[test]
fn wherever_it_dies_the_next_one_goes_on_with_the_same_user() {
    for (point, linked_before, bank) in [
        ("begin the link:before", false, "demo-bank"),
        ("begin the link:after", false, "demo-bank"),
        ("end the link:before", true, "demo-bank"),
        // Tink is still fetching when the next one begins.
        ("end the link:before", true, "slow-bank"),
        ("end the link:after", true, "demo-bank"),
    ] {
        let world = alone();
        let uri = redirect_uri(&world);
        let args = ["connect", "--user", "me", "--test", "--redirect-uri", &uri];
        let mut command = world.command(&args);
        let mut waiting = Waiting::of({
            command.env("TINK_SYNC_FAILPOINT", point);
            command
        });
        if linked_before {
            // The page of a browser that was served before it died is of no interest here.
            let answer = Browser::new().choose(&waiting.link(), bank);
            assert_eq!(Browser::new().open(&answer).status, 200);
        }
        waiting.die();
        let begun = (point != "begin the link:before").then(|| world.external_id());
        if point == "end the link:before" {
            // Tink has the bank: nobody is sent there again.
            let ran =
                Waiting::of(world.command(&[&args[..], &["--timeout", "1ms"]].concat())).end().expect(0);
            assert!(ran.stdout.contains("cut short after the bank was linked"), "{}", ran.stdout);
        } else if point == "end the link:after" {
            world.cli(&["run", "--connection", "me"]).expect(0);
        } else {
            visit(&world, &ME, "demo-bank").1.expect(0);
        }
        assert!(begun.is_none_or(|id| id == world.external_id()), "{point}");
        assert_eq!(world.number("SELECT count(*) FROM consents_v1"), 1, "{point}");
        assert_eq!(world.number("SELECT count(*) FROM transactions_v1"), 30, "{point}");
        assert_eq!(audited(&world).len(), 1, "{point}");
    }
}
