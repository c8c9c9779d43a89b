//! `connect` and `renew` with a real browser: Chromium opens the link that is printed, chooses on the fake Tink Link, and lands
//! on our page. Needs Chromium and its driver, so the tests are ignored unless asked for: tests/run does.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails loudly"
)]
#![expect(
    dead_code,
    unused_imports,
    unused_macros,
    reason = "what the integration tests share has more than is used here"
)]

mod driver;
#[path = "../it/harness.rs"]
mod harness;
#[path = "../it/inside/mod.rs"]
mod inside;
#[path = "../it/postgres.rs"]
mod postgres;
#[path = "../it/ran.rs"]
mod ran;
#[path = "../it/stored.rs"]
mod stored;
#[path = "../it/visitor.rs"]
mod visitor;

use driver::{Chromium, PHONE, SCREEN};
use harness::{World, until};
use tink_sandbox::{Config, Expiry};
use visitor::{Waiting, alone, with_link};

const ME: [&str; 4] = ["connect", "--user", "me", "--test"];

/// Goes to Tink Link, chooses, and lands on our page.
fn land(chromium: &Chromium, link: &str, choice: &str) {
    chromium.open(link);
    chromium.click(&format!("#{choice}"));
    // The click is answered before the page behind it is there.
    until(|| chromium.address().starts_with("http://localhost:"));
}

/// What every page of ours must be, for everybody and in every size.
fn assert_well_made(chromium: &Chromium, world: &World, title: &str) {
    assert_eq!(chromium.title(), format!("{title} – tink-sync"));
    assert_eq!(chromium.text("h1"), title);
    assert_eq!(chromium.spoken("h1"), ("heading".to_owned(), title.to_owned()));
    assert_eq!(chromium.spoken("main").0, "main");
    let counted = "return [document.documentElement.lang, document.querySelectorAll('h1').length, document.scripts.length, \
                   performance.getEntriesByType('resource').length]";
    assert_eq!(chromium.run(counted), serde_json::json!(["en", 1, 0, 0]));
    assert_eq!(chromium.console(), Vec::<String>::new());
    let sandbox = world.sandbox.url();
    // Chromium's own empty page is made of parts that it brings along.
    let known = [sandbox.as_str(), "http://localhost:", "data:", "chrome:"];
    let asked_for = chromium.asked_for().into_iter();
    let strange: Vec<String> =
        asked_for.filter(|address| !known.iter().any(|start| address.starts_with(start))).collect();
    assert_eq!(strange, Vec::<String>::new());
    for dark in [false, true] {
        for size in [SCREEN, PHONE] {
            chromium.look(size, dark);
            assert_eq!(chromium.run(FITS), true, "{size:?}");
            let worst = chromium.run(CONTRAST).as_f64().unwrap();
            assert!(worst >= 4.5, "contrast {worst} in {size:?}, dark: {dark}");
            keep(chromium, title, size, dark);
        }
    }
}

/// Nothing is wider than the window.
const FITS: &str = "return document.documentElement.scrollWidth <= innerWidth";

/// The least contrast of any text to what is behind it, by the formula of WCAG.
const CONTRAST: &str = "
    const parts = text => text.match(/[0-9.]+/g).map(Number);
    const light = rgb => { const [r, g, b] = rgb.slice(0, 3).map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
    const back = parts(getComputedStyle(document.querySelector('main')).backgroundColor);
    const ratios = [...document.querySelectorAll('h1, p, dt, dd, footer')].map(e => {
        const [a, b] = [light(parts(getComputedStyle(e).color)), light(back)].sort((x, y) => y - x);
        return (a + 0.05) / (b + 0.05);
    });
    return Math.min(...ratios);";

/// Keeps a picture for people to look at, if `TINK_SYNC_PICTURES` names a directory.
fn keep(chromium: &Chromium, title: &str, (width, _): (u32, u32), dark: bool) {
    let Some(place) = tink_sync::config::process_env("TINK_SYNC_PICTURES") else { return };
    let picture = data_encoding::BASE64.decode(chromium.picture().as_bytes()).unwrap();
    let name = format!("{}-{width}-{}.png", title.replace(' ', "-"), if dark { "dark" } else { "light" });
    std::fs::write(std::path::Path::new(&place).join(name), picture).unwrap();
}

#[test]
#[ignore = "needs Chromium and its driver; tests/run runs it"]
fn a_bank_is_linked_in_the_browser_and_its_rows_are_there() {
    let world = alone();
    let mut waiting = Waiting::start(&world, &ME);
    let chromium = Chromium::start();
    land(&chromium, &waiting.link(), "demo-bank");
    assert_well_made(&chromium, &world, "You are back from Tink");
    assert!(chromium.text("main").contains("You can close this page."));
    waiting.end().expect(0);
    assert_eq!(world.number("SELECT count(*) FROM transactions_v1 WHERE connection_id = 'me'"), 30);
}

#[test]
#[ignore = "needs Chromium and its driver; tests/run runs it"]
fn each_kind_of_failure_has_a_page_that_says_so() {
    let chromium = Chromium::start();
    for (choice, title, code) in [
        ("cancel", "Cancelled", 11),
        ("wrong-login", "The login did not work", 11),
        ("bank-down", "The bank cannot be reached", 10),
        ("news", "It did not work", 10),
    ] {
        let world = alone();
        let mut waiting = Waiting::start(&world, &ME);
        land(&chromium, &waiting.link(), choice);
        assert_well_made(&chromium, &world, title);
        waiting.end().expect(code);
        assert_eq!(world.number("SELECT count(*) FROM ts_own_connections"), 0);
    }
}

#[test]
#[ignore = "needs Chromium and its driver; tests/run runs it"]
fn a_redirect_with_another_state_is_turned_away_and_the_right_one_still_works() {
    let world = alone();
    let mut waiting = Waiting::start(&world, &ME);
    let chromium = Chromium::start();
    let link = waiting.link();
    land(&chromium, &link, "wrong-state");
    assert_eq!(chromium.text("h1"), "This address is not accepted");
    // Chromium says that a page came with status 400, and nothing else.
    assert!(chromium.console().iter().all(|line| line.contains("400")));
    chromium.back();
    until(|| chromium.address() == link);
    chromium.click("#demo-bank");
    until(|| chromium.address().starts_with("http://localhost:"));
    assert_well_made(&chromium, &world, "You are back from Tink");
    waiting.end().expect(0);
}

#[test]
#[ignore = "needs Chromium and its driver; tests/run runs it"]
fn a_consent_is_renewed_in_the_browser() {
    let world = with_link(World::new(Config { day: 4, ..harness::small(1) }));
    world.sandbox.plan("user-0", |plan| {
        let consent = plan.consent(0);
        consent.expiry = Expiry::Day(-3);
        consent.status = Some("SESSION_EXPIRED".to_owned());
    });
    world.run(&[]).expect(11);
    let mut waiting = Waiting::start(&world, &["renew", "c-0"]);
    let chromium = Chromium::start();
    land(&chromium, &waiting.link(), "demo-bank");
    assert_well_made(&chromium, &world, "You are back from Tink");
    waiting.end().expect(0);
    world.assert_exact(0);
}
