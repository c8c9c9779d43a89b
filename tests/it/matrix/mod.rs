//! The fault matrix: every fault, at every call of a pass, for good and once. What comes of each is
//! compared with `packaging/fault-matrix.md`; with `TINK_SYNC_BLESS=1` that page is written anew.

mod cell;
mod faults;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::thread;

use tink_sandbox::{Endpoint, Times};

use cell::Victims;
use faults::{ADDRESSES, ALL, CALLS, ENDLESS, Fault};

/// The cells of one call by fault: for good, and once.
type Column = BTreeMap<&'static str, [String; 2]>;

const PAGE: &str = include_str!("page.md");

/// The faults of a call. Columns run beside each other and begin at other places, so that not all of them
/// wait for the same timeout at the same time.
fn faults(call: Endpoint) -> Vec<&'static Fault> {
    let (paged, mut faults): (Vec<&Fault>, Vec<&Fault>) = ALL.iter().partition(|fault| fault.pages);
    let place = CALLS.iter().position(|(column, _)| *column == call).unwrap();
    let count = faults.len();
    faults.rotate_left(place * count / CALLS.len());
    faults.extend(paged.into_iter().filter(|fault| fault.strikes(call)));
    faults
}

fn column(call: Endpoint) -> Column {
    let faults = faults(call);
    let addresses = ADDRESSES.iter().filter(|(_, address)| address.strikes(call));
    let mut victims = Victims::new(call, 2 * faults.len(), addresses.clone().count());
    let mut column = Column::new();
    for (name, address) in addresses {
        let (next, stays) = victims.misled(*address);
        victims = next;
        column.insert(name, [stays.to_string(), "–".to_owned()]);
    }
    for fault in faults {
        let (next, once) = victims.meet(fault, Times::Once);
        let (next, forever) = next.meet(fault, Times::Forever);
        victims = next;
        column.insert(fault.name, [forever.to_string(), once.to_string()]);
    }
    if call == Endpoint::CredentialsRefresh {
        let (next, stays) = victims.wait_for_nothing();
        victims = next;
        column.insert(ENDLESS, [stays.to_string(), "–".to_owned()]);
    }
    victims.heal();
    column
}

fn table(columns: &[Column], which: usize) -> String {
    let titles = CALLS.map(|(_, title)| title);
    let mut table = format!("| fault | {} |\n|---{}|\n", titles.join(" | "), "|---".repeat(titles.len()));
    let names = ADDRESSES.iter().map(|(name, _)| *name).chain(ALL.iter().map(|fault| fault.name));
    for name in names.chain([ENDLESS]) {
        let cell = |column: &Column| column.get(name).map_or("–".to_owned(), |cell| cell[which].clone());
        let cells: Vec<String> = columns.iter().map(cell).collect();
        if cells.iter().any(|cell| cell != "–") {
            writeln!(table, "| {name} | {} |", cells.join(" | ")).unwrap();
        }
    }
    table
}

#[expect(clippy::disallowed_methods, reason = "a person who runs the tests has no other way to tell them")]
fn is_to_be_written() -> bool {
    std::env::var_os("TINK_SYNC_BLESS").is_some()
}

#[test]
fn every_fault_at_every_call_ends_as_the_table_says() {
    let columns: Vec<Column> = thread::scope(|scope| {
        let threads = CALLS.map(|(call, _)| scope.spawn(move || column(call)));
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let page = PAGE.replace("{stays}", &table(&columns, 0)).replace("{once}", &table(&columns, 1));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/fault-matrix.md");
    if is_to_be_written() {
        fs::write(&path, &page).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap();
    let changed: Vec<_> = page.lines().filter(|line| !expected.lines().any(|old| old == *line)).collect();
    assert!(page == expected, "what came is not as in {}: {changed:#?}", path.display());
}
