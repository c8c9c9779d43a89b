//! Accounts and transactions over HTTP: filters, order and pages.
//!
//! Which page holds what is `shape`'s arithmetic; what an element looks like is `banking`'s and `render`'s.

use jiff::civil::Date;

use crate::account::Account;
use crate::banking;
use crate::call::{Call, Endpoint, Params};
use crate::hash::{mix, of_text};
use crate::json::Json;
use crate::plan::{Decay, UserPlan};
use crate::render::{self, ROW_BYTES};
use crate::reply::Reply;
use crate::row::Row;
use crate::script::ScriptRow;
use crate::shape::{self, Cursor, EndForm, Order, PageShape};
use crate::state::Shared;
use crate::users::UserState;
use crate::world::{UserKey, View};

/// The list of accounts.
pub fn accounts(shared: &Shared, call: &Call) -> Result<Reply, Reply> {
    let user = shared.authorize_user(call, "accounts:read")?;
    let state = shared.users.state(user);
    let plan = state.plan(&shared.world, user);
    let mut page = Page::open(shared, call, user, &plan)?;
    let ids = call.query.list("idIn");
    let wanted = |id: &str| ids.as_ref().is_none_or(|ids| ids.contains(&id));
    match &state.script {
        Some(script) => {
            let listed = script
                .accounts
                .iter()
                .filter(|account| wanted(account["id"].as_str().unwrap_or_default()))
                .collect::<Vec<_>>();
            page.fill("accounts", &listed, |json, account| {
                json.plain(account);
            });
        }
        None => shared.with_view(user, &state, |view| {
            let mut listed =
                view.listed_accounts().filter(|account| wanted(&account.id.to_string())).collect::<Vec<_>>();
            sort(&mut listed, plan.shape.order, |account| account.index as i32, |account| account.key);
            page.fill("accounts", &listed, banking::account);
        }),
    }
    Ok(page.close())
}

/// One account, without a wrapper.
pub fn account(shared: &Shared, call: &Call) -> Result<Reply, Reply> {
    let user = shared.authorize_user(call, "accounts:read")?;
    let state = shared.users.state(user);
    check_decay(call, &state.plan(&shared.world, user))?;
    let found = match &state.script {
        Some(script) => {
            script.accounts.iter().find(|account| account["id"] == call.id.as_str()).map(ToString::to_string)
        }
        None => shared.with_view(user, &state, |view| {
            let account = view.listed_accounts().find(|account| account.id.to_string() == call.id)?;
            let mut json = Json::default();
            banking::account(&mut json, &account);
            Some(json.finish())
        }),
    };
    found.map(Reply::json).ok_or_else(|| call.refuse(404, "", "no such account"))
}

/// The list of transactions.
pub fn transactions(shared: &Shared, call: &Call) -> Result<Reply, Reply> {
    let user = shared.authorize_user(call, "transactions:read")?;
    let state = shared.users.state(user);
    let plan = state.plan(&shared.world, user);
    let filter = Filter::new(shared, call)?;
    let mut page = Page::open(shared, call, user, &plan)?;
    match &state.script {
        Some(script) => {
            let day = |date: Option<Date>| date.map(|date| shared.world.calendar.day(date));
            let admits = |row: &&ScriptRow| {
                filter.account(&row.account_id) && filter.row(&row.status, day(row.booked))
            };
            let listed = script.transactions.iter().filter(admits).collect::<Vec<_>>();
            page.fill("transactions", &listed, |json, row| {
                json.raw(&row.json);
            });
        }
        None => shared.with_view(user, &state, |view| generated(view, &filter, &mut page)),
    }
    shared.users.page_served(user, &state);
    Ok(page.close())
}

fn generated(view: &View<'_>, filter: &Filter<'_>, page: &mut Page<'_>) {
    let accounts =
        view.listed_accounts().filter(|account| filter.account(&account.id.to_string())).collect::<Vec<_>>();
    let rows_of = |account| Account::rows(account).into_iter().map(move |row| (account, row));
    let admits = |(_, row): &(&Account<'_>, Row)| filter.row(row.status.wire(), row.booked());
    let mut rows = accounts.iter().flat_map(rows_of).filter(admits).collect::<Vec<_>>();
    sort(&mut rows, view.plan.shape.order, |(_, row)| row.day, |(_, row)| row.key);
    page.fill("transactions", &rows, |json, (account, row)| render::transaction(json, row, account));
}

/// Puts elements into the user's order; the same on each page.
fn sort<T>(elements: &mut [T], order: Order, day: impl Fn(&T) -> i32, key: impl Fn(&T) -> u64) {
    match order {
        Order::Newest => elements.sort_by_key(|element| (-day(element), key(element))),
        Order::Oldest => elements.sort_by_key(|element| (day(element), key(element))),
        Order::Shuffled => elements.sort_by_key(&key),
    }
}

/// Refuses what a decayed consent no longer allows.
fn check_decay(call: &Call, plan: &UserPlan) -> Result<(), Reply> {
    match plan.decay {
        Some(Decay::Refused(status)) => Err(call.refuse(status, "", "the consent no longer allows this")),
        Some(Decay::EmptyLists) | None => Ok(()),
    }
}

/// Which transactions are asked for.
struct Filter<'a> {
    accounts: Option<Vec<&'a str>>,
    statuses: Option<Vec<&'a str>>,
    from: Option<i32>,
    to: i32,
}

impl<'a> Filter<'a> {
    fn new(shared: &Shared, call: &'a Call) -> Result<Self, Reply> {
        let day = |name| match call.query.first(name) {
            None => Ok(None),
            Some(text) => {
                let date = text.parse::<Date>().ok().filter(|date| date.to_string() == text);
                let date = date.ok_or_else(|| call.refuse(400, "", &format!("{name} is no date")))?;
                Ok(Some(shared.world.calendar.day(date)))
            }
        };
        Ok(Self {
            accounts: call.query.list("accountIdIn"),
            statuses: call.query.list("statusIn"),
            from: day("bookedDateGte")?,
            to: day("bookedDateLte")?.unwrap_or(shared.day() as i32),
        })
    }

    fn account(&self, id: &str) -> bool {
        self.accounts.as_ref().is_none_or(|ids| ids.contains(&id))
    }

    /// A row without a booked date passes any dates.
    fn row(&self, status: &str, booked: Option<i32>) -> bool {
        self.statuses.as_ref().is_none_or(|statuses| statuses.contains(&status))
            && booked.is_none_or(|day| day <= self.to && self.from.is_none_or(|from| from <= day))
    }
}

/// A page being written.
struct Page<'a> {
    json: Json,
    shape: &'a PageShape,
    decay: Option<Decay>,
    size: u32,
    at: Cursor,
    signature: u64,
}

impl<'a> Page<'a> {
    /// Checks size and token.
    fn open(shared: &Shared, call: &Call, user: UserKey, plan: &'a UserPlan) -> Result<Self, Reply> {
        check_decay(call, plan)?;
        let size = call.query.first("pageSize").map_or(Ok(10), str::parse::<u32>);
        let size = size.ok().filter(|size| (1..=100).contains(size));
        let size = size.ok_or_else(|| call.refuse(400, "", "pageSize must be between 1 and 100"))?;
        let signature = mix(mix(shared.config.seed, user.0), asked(call.endpoint, &call.query));
        let stale = || call.refuse(400, "", "the page token is not valid");
        let at = match call.query.first("pageToken").filter(|token| !token.is_empty()) {
            None => Cursor::default(),
            Some(token) => {
                let cursor = shape::cursor(token, plan.shape.token, signature).ok_or_else(stale)?;
                if plan.refuse_token_once && take_refusal(shared, user) {
                    return Err(stale());
                }
                cursor
            }
        };
        let json = Json::with_capacity(256 + size as usize * ROW_BYTES);
        Ok(Self { json, shape: &plan.shape, decay: plan.decay, size, at, signature })
    }

    /// Writes the elements of the page and its token; none of them if the consent has decayed.
    fn fill<T>(&mut self, name: &str, elements: &[T], write: impl Fn(&mut Json, &T)) {
        let elements = if self.decay == Some(Decay::EmptyLists) { &[] } else { elements };
        let cut = shape::cut(elements.len(), self.size, self.at, self.shape);
        self.json.open('{').key(name).open('[');
        elements.get(cut.rows).unwrap_or_default().iter().for_each(|element| write(&mut self.json, element));
        self.json.close(']');
        match (cut.next, self.shape.end) {
            (Some(cursor), _) => {
                self.json.key("nextPageToken").quoted(shape::token(cursor, self.shape.token, self.signature));
            }
            (None, EndForm::Empty) => {
                self.json.key("nextPageToken").raw("\"\"");
            }
            (None, EndForm::Null) => {
                self.json.key("nextPageToken").raw("null");
            }
            (None, EndForm::Absent) => {}
        }
    }

    fn close(mut self) -> Reply {
        self.json.close('}');
        Reply::json(self.json.finish())
    }
}

/// Uses up the one refusal that a plan asks for; only one of two calls at a time gets it.
fn take_refusal(shared: &Shared, user: UserKey) -> bool {
    shared.users.change(user, |state: &mut UserState| {
        let plan = state.plan.as_mut();
        plan.is_some_and(|plan| std::mem::take(&mut plan.refuse_token_once))
    })
}

/// What a token is bound to: the call and all its filters, in any order.
fn asked(endpoint: Endpoint, query: &Params) -> u64 {
    let filters = query.iter().filter(|(name, _)| !matches!(*name, "pageToken" | "pageSize"));
    filters.map(|(name, value)| mix(of_text(name), of_text(value))).fold(endpoint as u64, u64::wrapping_add)
}
