//! The lives of rows: which exist on a day, with which id, status and date.
//!
//! Only what decides whether and where a row is shown; it is computed for every row of an account on each page, so it must
//! stay cheap. What a row says is in `detail`.

use crate::hash::{Dice, mix};
use crate::world::World;

/// Latest delay of a late row.
const LATEST_DELAY: u32 = 9;
/// How many days after its booked date a row may still be corrected.
const CORRECTION_DAYS: i32 = 10;

/// Tink's status of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// BOOKED
    Booked,
    /// PENDING
    Pending,
    /// UNDEFINED
    Undefined,
}

impl Status {
    /// As Tink writes it.
    pub fn wire(self) -> &'static str {
        match self {
            Self::Booked => "BOOKED",
            Self::Pending => "PENDING",
            Self::Undefined => "UNDEFINED",
        }
    }
}

/// An optional field of a row that may be left out or null; each is named after its JSON field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    Dates,
    Booked,
    Value,
    BookedDateTime,
    Descriptions,
    Original,
    Display,
    Detailed,
    Identifiers,
    ProviderTransactionId,
    MerchantInformation,
    Reference,
    Counterparties,
    Categories,
    ProviderMutability,
    TypeCode,
}

const LEFT_OUT: [Field; 14] = [
    Field::Value,
    Field::BookedDateTime,
    Field::Descriptions,
    Field::Original,
    Field::Display,
    Field::Detailed,
    Field::Identifiers,
    Field::ProviderTransactionId,
    Field::MerchantInformation,
    Field::Reference,
    Field::Counterparties,
    Field::Categories,
    Field::ProviderMutability,
    Field::TypeCode,
];

/// A field that a row lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lack {
    /// Which.
    pub field: Field,
    /// Whether it is there as null.
    pub null: bool,
}

/// A row as it stands on one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, of which any may hold")]
pub struct Row {
    /// What it says follows from this; a pending row and its booked successor share it.
    pub key: u64,
    /// How many ids the row has had before this one.
    pub issue: u8,
    /// Whether it is the equal twin of another row.
    pub twin: bool,
    /// Its status.
    pub status: Status,
    /// The day of booking, or the expected one; also set if the row is served without it.
    pub day: i32,
    /// The field it lacks.
    pub lack: Option<Lack>,
    /// Whether the bank has changed its text since it was first seen.
    pub new_text: bool,
    /// Whether the bank has changed its amount since it was first seen.
    pub new_amount: bool,
    /// Whether the same amount is written with one digit more.
    pub rescaled: bool,
}

impl Row {
    /// The booked day as served.
    pub fn booked(&self) -> Option<i32> {
        let hidden = self.lack.is_some_and(|lack| matches!(lack.field, Field::Dates | Field::Booked));
        (!hidden).then_some(self.day)
    }
}

/// All rows of the account with this key on `today`.
pub fn rows(world: &World, account: u64, today: i32) -> Vec<Row> {
    let days = world.history_days as i32;
    let mut rows = Vec::with_capacity(
        ((f64::from(days) + 8.0) * (world.rows_per_day + world.pending_per_day)) as usize + 8,
    );
    for day in -days..=today {
        let key = mix(account, day as u64);
        let mut counts = Dice::new(key, 4);
        for slot in 0..counts.about(world.rows_per_day) {
            plain(world, mix(key, u64::from(slot)), day, today, &mut rows);
        }
        for slot in 0..counts.about(world.pending_per_day) {
            rows.extend(pending(world, mix(key, 1000 + u64::from(slot)), day, today));
        }
    }
    rows
}

/// Adds a row that was never pending: it appears on its booked day, or late, perhaps with a twin.
fn plain(world: &World, key: u64, day: i32, today: i32, rows: &mut Vec<Row>) {
    let mut dice = Dice::new(key, 5);
    let delay = if dice.hit(world.rates.late) { 1 + dice.below(LATEST_DELAY) } else { 0 };
    let appears = day + delay as i32;
    if today < appears {
        return;
    }
    let mut row = first(world, key, day, Status::Booked, &mut dice);
    settle(&mut row, world, appears, today, &mut dice);
    if dice.hit(world.rates.undefined_status) {
        row.status = Status::Undefined;
    }
    rows.push(row);
    if dice.hit(world.rates.twin) {
        rows.push(Row { twin: true, ..row });
    }
}

/// What has become of a row that was first seen, as pending, on `born`.
fn pending(world: &World, key: u64, born: i32, today: i32) -> Option<Row> {
    let mut dice = Dice::new(key, 6);
    let expected = born + 1 + dice.below(5) as i32;
    let resolved = expected + dice.below(2) as i32;
    let row = first(world, key, expected, Status::Pending, &mut dice);
    let fate = dice.below(100);
    let shift = dice.below(5) as i32 - 2;
    let again = resolved + 1 + dice.below(3) as i32;
    if today < resolved {
        return (today >= born).then_some(row);
    }
    let booked = Row { status: Status::Booked, ..row };
    let (mut row, since) = match fate {
        0..45 => (booked, resolved),
        45..70 => (Row { issue: 1, day: (expected + shift).min(resolved), ..booked }, resolved),
        70..80 => return None,
        80..90 => (Row { new_amount: true, ..booked }, resolved),
        _ if today < again => return Some(Row { issue: 1, day: again, ..row }),
        _ => (Row { issue: 1 + (fate % 2) as u8, day: again, ..booked }, again),
    };
    settle(&mut row, world, since, today, &mut dice);
    Some(row)
}

/// The row as first seen, with what stays the same for life.
fn first(world: &World, key: u64, day: i32, status: Status, dice: &mut Dice) -> Row {
    let rates = &world.rates;
    let lack = if dice.hit(rates.undated) {
        Some(dice.pick(&[Field::Dates, Field::Booked]))
    } else {
        dice.hit(rates.missing_field).then(|| dice.pick(&LEFT_OUT))
    };
    let lack = lack.map(|field| Lack { field, null: dice.hit(400) });
    Row { key, issue: 0, twin: false, status, day, lack, new_text: false, new_amount: false, rescaled: false }
}

/// What the bank did to a row after it was booked on `since`.
fn settle(row: &mut Row, world: &World, since: i32, today: i32, dice: &mut Dice) {
    let days_left = row.day + CORRECTION_DAYS - since;
    if dice.hit(world.rates.corrected) && days_left > 0 {
        let happens = since + 1 + dice.below(days_left as u32) as i32;
        let what = dice.below(3);
        row.new_text |= today >= happens && what != 0;
        row.new_amount |= today >= happens && what != 1;
    }
    row.rescaled = dice.hit(world.rates.rescaled) && today % 2 != 0;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn world() -> World {
        World::new(&Config { seed: 11, ..Config::default() })
    }

    #[test]
    fn equal_input_gives_equal_rows() {
        assert_eq!(rows(&world(), 5, 3), rows(&world(), 5, 3));
        assert_ne!(rows(&world(), 5, 3), rows(&world(), 6, 3));
    }

    #[test]
    fn every_account_has_pendings_due_soon_on_every_day() {
        let world = world();
        for (account, today) in (0..50).flat_map(|account| (0..6).map(move |today| (account, today))) {
            let rows = rows(&world, account, today);
            let mut pendings = rows.iter().filter(|row| row.status == Status::Pending).peekable();
            assert!(pendings.peek().is_some());
            assert!(pendings.all(|row| (today..=today + 5).contains(&row.day)));
            assert!(rows.iter().all(|row| row.status == Status::Pending || row.day <= today));
        }
    }

    #[test]
    fn every_fate_of_a_pending_row_happens() {
        let world = world();
        let mut seen = [0; 5];
        for key in 0..500 {
            let ends = (0..20).map(|today| pending(&world, key, 0, today)).collect::<Vec<_>>();
            let reissued = ends.iter().flatten().any(|row| row.status == Status::Pending && row.issue > 0);
            match ends[19] {
                None => seen[2] += 1,
                Some(_) if reissued => seen[4] += 1,
                Some(row) if row.issue > 0 => seen[1] += 1,
                Some(row) if row.new_amount => seen[3] += 1,
                Some(_) => seen[0] += 1,
            }
        }
        assert!(seen.iter().all(|&count| count > 20), "{seen:?}");
    }

    #[test]
    fn booked_history_changes_only_by_correction_within_reach() {
        let world = world();
        let (before, after) = (rows(&world, 5, 0), rows(&world, 5, 30));
        let reach = -CORRECTION_DAYS;
        for row in before.iter().filter(|row| row.day < reach) {
            assert!(after.contains(row));
        }
    }
}
