//! A made-up bank: what it knows, how that changes, and what it shows of it. Knows nothing of the program.

mod shown;

use jiff::Timestamp;
use jiff::civil::Date;

use super::drift::drifted;
use super::history::{Act, Drift, TEXTS};

/// Rows older than this are not changed any more: no walk but a full one is bound to look there.
pub const REACH: i64 = 80;

/// One row, under whichever id it is shown.
#[derive(Clone, Debug)]
pub struct Row {
    pub key: u32,
    pub booked: bool,
    pub day: Option<i64>,
    pub cents: i64,
    pub text: String,
    pub provider_id: Option<String>,
}

impl Row {
    /// What a reader sees of it, but for the id.
    pub fn content(&self) -> (bool, Option<i64>, i64) {
        (self.booked, self.day, self.cents)
    }
}

/// A row as a reader should see it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    pub id: String,
    pub booked: bool,
    pub day: Option<i64>,
    pub cents: i64,
    pub text: String,
}

impl Seen {
    /// The key of the row, which the made-up bank's ids tell.
    pub fn key(&self) -> u32 {
        self.id.split('-').nth(1).and_then(|key| key.parse().ok()).unwrap_or_default()
    }

    /// All but the id.
    pub fn content(&self) -> (bool, Option<i64>, i64) {
        (self.booked, self.day, self.cents)
    }
}

/// An account as one consent shows it.
#[derive(Clone, Debug)]
pub struct Face {
    account_id: String,
    consent: usize,
    row_ids: String,
    issue: u32,
    kind: &'static str,
    /// What its consent showed last before it ended.
    frozen: Option<(String, Vec<(String, Row)>)>,
}

impl Face {
    fn row_id(&self, row: &Row) -> String {
        format!("{}-{}-{}", self.row_ids, row.key, self.issue)
    }
}

/// How the balance says what happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    Moves,
    Debt,
    Still,
    Absent,
}

/// How the account is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    Iban,
    Mask,
    SortCode,
}

#[derive(Clone, Debug)]
pub struct Account {
    name: usize,
    number: Number,
    balance: Balance,
    rows: Vec<Row>,
    faces: Vec<Face>,
    closed: bool,
    /// Its rows were given new ids in place.
    pub reissued: bool,
}

#[derive(Clone, Debug)]
struct Consent {
    id: String,
    ended: bool,
    /// An ended consent's accounts may still be listed, or only be named.
    listed: bool,
}

#[derive(Clone, Debug)]
pub struct Bank {
    pub accounts: Vec<Account>,
    consents: Vec<Consent>,
    made: u32,
    epoch: Date,
    /// When consents end; `None` is long after.
    pub expires: Option<Timestamp>,
}

impl Bank {
    /// A bank of these accounts, whose rows are dated in days from `epoch`.
    pub fn new(epoch: Date, accounts: &[(Number, Balance)]) -> Self {
        let consents = vec![Consent { id: "consent-0".to_owned(), ended: false, listed: true }];
        let mut bank = Self { accounts: Vec::new(), consents, made: 0, epoch, expires: None };
        for (name, (number, balance)) in accounts.iter().enumerate() {
            let (number, balance) = (*number, *balance);
            let face = bank.face(0, "CHECKING");
            let (rows, faces) = (Vec::new(), vec![face]);
            bank.accounts.push(Account {
                name,
                number,
                balance,
                rows,
                faces,
                closed: false,
                reissued: false,
            });
        }
        bank
    }

    fn make(&mut self) -> u32 {
        self.made += 1;
        self.made
    }

    fn face(&mut self, consent: usize, kind: &'static str) -> Face {
        let n = self.make();
        let (account_id, row_ids) = (format!("account-{n}"), format!("r{n}"));
        Face { account_id, consent, row_ids, issue: 0, kind, frozen: None }
    }

    /// Adds a row.
    pub fn add(&mut self, account: usize, booked: bool, day: Option<i64>, cents: i64, text: &str) -> u32 {
        let key = self.make();
        // Some banks have ids of their own, some put a word or nothing where they have none.
        let provider_id = match key % 7 {
            0 => Some(format!("bank-{key}")),
            1 => Some(String::new()),
            2 => Some("NOTPROVIDED".to_owned()),
            3 => Some("0".to_owned()),
            _ => None,
        };
        let text = text.to_owned();
        self.accounts[account].rows.push(Row { key, booked, day, cents, text, provider_id });
        key
    }

    /// Lets something happen. Returns rows that the bank shows no longer, or no longer as they were.
    #[expect(clippy::too_many_lines, reason = "one arm for each kind of act")]
    pub fn act(&mut self, act: &Act, today: i64) -> Vec<Row> {
        match *act {
            Act::Book { account, on, cents, text } => {
                let at = self.open(account);
                self.add(at, true, on.map(|on| today + i64::from(on)), cents, TEXTS[usize::from(text)]);
                Vec::new()
            }
            Act::Reserve { account, on, cents, text } => {
                let at = self.open(account);
                self.add(at, false, on.map(|on| today + i64::from(on)), cents, TEXTS[usize::from(text)]);
                Vec::new()
            }
            Act::Settle { account, pick, same_id, longer, after } => {
                let at = self.open(account);
                let Some(place) = self.pick(at, pick, |row| !row.booked) else { return Vec::new() };
                let left = if same_id { Vec::new() } else { vec![self.accounts[at].rows[place].clone()] };
                let key = if same_id { None } else { Some(self.make()) };
                let row = &mut self.accounts[at].rows[place];
                row.key = key.unwrap_or(row.key);
                row.booked = true;
                row.day = Some(row.day.map_or(today, |day| (day + i64::from(after)).min(today + 3)));
                if longer {
                    row.text = format!("POS 4711 {} PRAHA", row.text);
                }
                left
            }
            Act::Cancel { account, pick } => self.drop_rows(account, pick, 1, |row| !row.booked),
            Act::TakeBack { account, pick, many } => {
                self.drop_rows(account, pick, many, |row| is_in_reach(row, today))
            }
            Act::Amend { account, pick, cents } => self.change(account, pick, today, |row| row.cents = cents),
            Act::Move { account, pick, by } => {
                let (earliest, latest) = (today - REACH, today + 90);
                self.change(account, pick, today, |row| {
                    row.day = row.day.map(|day| (day + i64::from(by)).clamp(earliest, latest));
                })
            }
            Act::Retext { account, pick, text } => {
                self.change(account, pick, today, |row| TEXTS[usize::from(text)].clone_into(&mut row.text))
            }
            Act::Twin { account, pick } => {
                let at = self.open(account);
                let Some(place) = self.pick(at, pick, |row| is_in_reach(row, today)) else {
                    return Vec::new();
                };
                let row = self.accounts[at].rows[place].clone();
                self.add(at, true, row.day, row.cents, &row.text);
                Vec::new()
            }
            Act::Reissue { account } => {
                let at = self.open(account);
                self.accounts[at].reissued = true;
                for face in self.accounts[at].faces.iter_mut().filter(|face| face.frozen.is_none()) {
                    face.issue += 1;
                }
                Vec::new()
            }
            Act::Renew { same_rows, drift, other_kind, new_consent } => {
                self.renew(same_rows, drift, other_kind, new_consent);
                Vec::new()
            }
            Act::Beside { drift } => {
                self.beside(drift);
                Vec::new()
            }
            Act::Part { listed, newer } => {
                self.part(listed, newer);
                Vec::new()
            }
            Act::Close => {
                if self.accounts.iter().filter(|account| !account.closed).count() > 1 {
                    let at = self.open(1);
                    self.accounts[at].closed = true;
                }
                Vec::new()
            }
        }
    }

    /// The account that a number means.
    fn open(&self, account: u8) -> usize {
        let open: Vec<usize> = (0..self.accounts.len()).filter(|at| !self.accounts[*at].closed).collect();
        open[usize::from(account) % open.len()]
    }

    fn pick(&self, at: usize, pick: u8, may: impl Fn(&Row) -> bool) -> Option<usize> {
        let rows = self.accounts[at].rows.iter().enumerate();
        let found: Vec<usize> = rows.filter(|(_, row)| may(row)).map(|(place, _)| place).collect();
        (!found.is_empty()).then(|| found[usize::from(pick) % found.len()])
    }

    fn drop_rows(&mut self, account: u8, pick: u8, many: u8, which: impl Fn(&Row) -> bool) -> Vec<Row> {
        let at = self.open(account);
        let mut left = Vec::new();
        for _ in 0..many {
            let Some(place) = self.pick(at, pick, &which) else { break };
            left.push(self.accounts[at].rows.remove(place));
        }
        left
    }

    fn change(&mut self, account: u8, pick: u8, today: i64, change: impl FnOnce(&mut Row)) -> Vec<Row> {
        let at = self.open(account);
        let Some(place) = self.pick(at, pick, |row| is_in_reach(row, today)) else { return Vec::new() };
        let row = &mut self.accounts[at].rows[place];
        let before = row.clone();
        change(row);
        vec![before]
    }

    /// The user connects anew: other account ids, mostly other row ids, other ways to write the same.
    fn renew(&mut self, same_rows: bool, drift: Drift, other_kind: bool, new_consent: bool) {
        if self.is_beside() {
            return;
        }
        let consent = self.consents.len() - 1;
        if new_consent {
            let n = self.make();
            self.consents[consent].id = format!("consent-{n}");
        }
        for at in 0..self.accounts.len() {
            // A type is needed where only a mask or a number tells.
            let is_other = other_kind && self.accounts[at].number == Number::Iban;
            let kind = if is_other { "SAVINGS" } else { "CHECKING" };
            let face = self.face(consent, kind);
            let account = &mut self.accounts[at];
            if account.closed {
                continue;
            }
            let Some(old) = account.faces.pop() else { continue };
            let (row_ids, issue) =
                if same_rows { (old.row_ids, old.issue) } else { (face.row_ids.clone(), 0) };
            account.faces.push(Face { row_ids, issue, ..face });
            if !same_rows {
                drifted(&mut account.rows, drift);
            }
        }
    }

    pub fn is_beside(&self) -> bool {
        self.consents.iter().filter(|consent| !consent.ended).count() > 1
    }

    /// The user connects the same bank once more, beside the old consent.
    fn beside(&mut self, drift: Drift) {
        // Without an IBAN two that are served at once stay two.
        if self.consents.len() > 1 || self.accounts.iter().any(|account| account.number != Number::Iban) {
            return;
        }
        let n = self.make();
        self.consents.push(Consent { id: format!("consent-{n}"), ended: false, listed: true });
        for at in 0..self.accounts.len() {
            let face = self.face(1, "CHECKING");
            let account = &mut self.accounts[at];
            if !account.closed {
                account.faces.push(face);
                // The old consent shows the same texts from now on: nothing but their letters tells them apart.
                drifted(&mut account.rows, if drift == Drift::Prefix { Drift::Case } else { drift });
            }
        }
    }

    /// One of two consents goes; of the old one its name may stay.
    fn part(&mut self, listed: Option<bool>, newer: bool) {
        if !self.is_beside() {
            return;
        }
        let goes = usize::from(newer);
        match listed.filter(|_| !newer) {
            None => {
                self.consents.remove(goes);
                for account in &mut self.accounts {
                    account.faces.retain(|face| face.consent != goes || account.closed);
                    account.faces.iter_mut().for_each(|face| face.consent = 0);
                }
            }
            Some(listed) => {
                self.consents[0].ended = true;
                self.consents[0].listed = listed;
            }
        }
    }

    /// What a consent that ended showed last stays as it was.
    fn freeze(&mut self, refreshed: &str) {
        let ended: Vec<bool> = self.consents.iter().map(|consent| consent.ended).collect();
        for account in &mut self.accounts {
            for face in account.faces.iter_mut().filter(|face| ended[face.consent] && face.frozen.is_none()) {
                let rows = account.rows.iter().map(|row| (face.row_id(row), row.clone())).collect();
                face.frozen = Some((refreshed.to_owned(), rows));
            }
        }
    }

    /// What a reader should see: by account and its id at the bank, the rows.
    pub fn truth(&self) -> Vec<(&Account, &str, Vec<Seen>)> {
        let mut truth = Vec::new();
        for account in self.accounts.iter().filter(|account| !account.closed) {
            let alive = |face: &&Face| !self.consents[face.consent].ended;
            for face in account.faces.iter().filter(alive) {
                let rows = account.rows.iter().map(|row| seen(face.row_id(row), row)).collect();
                truth.push((account, face.account_id.as_str(), rows));
            }
        }
        truth
    }

    /// The ids of accounts that are closed.
    pub fn closed(&self) -> impl Iterator<Item = &str> {
        let closed = self.accounts.iter().filter(|account| account.closed);
        closed.flat_map(|account| &account.faces).map(|face| face.account_id.as_str())
    }
}

fn is_in_reach(row: &Row, today: i64) -> bool {
    row.booked && row.day.is_none_or(|day| day >= today - REACH)
}

fn seen(id: String, row: &Row) -> Seen {
    Seen { id, booked: row.booked, day: row.day, cents: row.cents, text: row.text.clone() }
}
