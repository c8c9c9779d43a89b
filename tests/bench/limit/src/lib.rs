//! The limit of a pass: a program that fetches the same bytes with reqwest, parses them with `serde_json` into plain
//! structs and inserts the rows into SQLite in large transactions. It checks nothing, keeps nothing apart, compares
//! nothing with what is stored, and gives up at the first error: no program that does its work can be faster with these
//! libraries, and the bench shows how near ours comes. Must not become clever: it is a yardstick.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::StreamExt as _;
use reqwest::Client;
use rusqlite::{Connection, params};
use serde::Deserialize;
use tokio::sync::mpsc;

/// Rows of one transaction of the database.
const ROWS_PER_COMMIT: usize = 20_000;

/// What to fetch, and where to put it.
#[derive(Debug)]
pub struct Task {
    /// Where the fake Tink listens.
    pub url: String,
    /// Users `user-0` and so on.
    pub users: u32,
    /// Requests in flight.
    pub concurrency: usize,
    /// A new file.
    pub database: PathBuf,
    /// Which transactions are fetched.
    pub walk: Walk,
}

/// Which transactions a pass fetches.
#[derive(Clone, Debug)]
pub enum Walk {
    /// All of every account.
    All,
    /// None: tokens, consents and accounts only.
    Nothing,
    /// From a date on, of the accounts that were refreshed on another.
    Since(String, String),
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
}

#[derive(Deserialize)]
struct Code {
    code: String,
}

#[derive(Deserialize)]
struct Consents {
    #[serde(rename = "providerConsents")]
    _consents: Vec<Consent>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Consent {
    #[serde(rename = "credentialsId")]
    _id: String,
    #[serde(rename = "status")]
    _status: String,
}

#[derive(Deserialize)]
struct Accounts {
    accounts: Vec<Account>,
}

#[derive(Deserialize)]
struct Account {
    id: String,
    dates: AccountDates,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AccountDates {
    last_refreshed: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    transactions: Vec<Row>,
    #[serde(default)]
    next_page_token: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    id: String,
    account_id: String,
    status: String,
    amount: Amount,
    #[serde(default)]
    dates: Dates,
    #[serde(default)]
    descriptions: Descriptions,
    #[serde(default)]
    identifiers: Identifiers,
    #[serde(default)]
    merchant_information: Merchant,
    #[serde(default)]
    types: Kinds,
    reference: Option<String>,
    #[serde(rename = "transactionMutability", default)]
    mutability: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Amount {
    currency_code: String,
    value: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Value {
    scale: String,
    unscaled_value: String,
}

#[derive(Default, Deserialize)]
struct Dates {
    booked: Option<String>,
    value: Option<String>,
    transaction: Option<String>,
}

#[derive(Default, Deserialize)]
struct Descriptions {
    display: Option<String>,
    original: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Identifiers {
    provider_transaction_id: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Merchant {
    merchant_name: Option<String>,
    merchant_category_code: Option<String>,
}

#[derive(Default, Deserialize)]
struct Kinds {
    #[serde(rename = "type")]
    kind: Option<String>,
}

type Failed = Box<dyn Error + Send + Sync>;

/// Does the task; the number of rows.
///
/// # Errors
/// Whatever goes wrong first: a measurement that met an error is worth nothing.
pub fn run(task: Task) -> Result<u64, Failed> {
    let (rows, written) = mpsc::channel(64);
    let database = task.database.clone();
    let writer = std::thread::spawn(move || write(&database, written));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(fetch(task, rows))?;
    writer.join().map_err(|_| "the writer panicked")?
}

async fn fetch(task: Task, rows: mpsc::Sender<Vec<Row>>) -> Result<(), Failed> {
    let client = Client::builder().no_proxy().build()?;
    let form = [
        ("client_id", "sandbox-client"),
        ("client_secret", "sandbox-secret"),
        ("grant_type", "client_credentials"),
        ("scope", "authorization:grant"),
    ];
    let answer = client.post(format!("{}/api/v1/oauth/token", task.url)).form(&form).send().await?;
    let granted: Granted = serde_json::from_slice(&answer.error_for_status()?.bytes().await?)?;
    let (concurrency, task) = (task.concurrency, Arc::new(task));
    let bearer: Arc<str> = granted.access_token.into();
    let users = futures_util::stream::iter(0..task.users).map(|user| {
        let work = fetch_user(client.clone(), Arc::clone(&task), Arc::clone(&bearer), user, rows.clone());
        async { tokio::spawn(work).await? }
    });
    let mut users = users.buffer_unordered(concurrency);
    while let Some(done) = users.next().await {
        done?;
    }
    Ok(())
}

async fn fetch_user(
    client: Client,
    task: Arc<Task>,
    bearer: Arc<str>,
    user: u32,
    rows: mpsc::Sender<Vec<Row>>,
) -> Result<(), Failed> {
    let url = &task.url;
    let user = format!("user-{user}");
    let scope = "accounts:read,balances:read,transactions:read,provider-consents:read";
    let form = [("external_user_id", user.as_str()), ("scope", scope)];
    let request =
        client.post(format!("{url}/api/v1/oauth/authorization-grant")).bearer_auth(&bearer).form(&form);
    let code: Code = serde_json::from_slice(&request.send().await?.error_for_status()?.bytes().await?)?;
    let form = [
        ("client_id", "sandbox-client"),
        ("client_secret", "sandbox-secret"),
        ("grant_type", "authorization_code"),
        ("code", code.code.as_str()),
    ];
    let request = client.post(format!("{url}/api/v1/oauth/token")).form(&form);
    let granted: Granted = serde_json::from_slice(&request.send().await?.error_for_status()?.bytes().await?)?;
    let get = async |path: &str, query: &[(&str, &str)]| -> Result<_, Failed> {
        let request = client.get(format!("{url}{path}")).query(query).bearer_auth(&granted.access_token);
        Ok(request.send().await?.error_for_status()?.bytes().await?)
    };
    let _: Consents = serde_json::from_slice(&get("/api/v1/provider-consents", &[]).await?)?;
    let accounts: Accounts =
        serde_json::from_slice(&get("/data/v2/accounts", &[("pageSize", "100")]).await?)?;
    for account in accounts.accounts {
        let from = match &task.walk {
            Walk::All => None,
            Walk::Since(from, refreshed) if account.dates.last_refreshed.starts_with(refreshed) => Some(from),
            Walk::Nothing | Walk::Since(..) => continue,
        };
        let mut token = String::new();
        loop {
            let mut query =
                vec![("pageSize", "100"), ("accountIdIn", &account.id), ("bookedDateLte", "9999-12-31")];
            query.extend(from.map(|from| ("bookedDateGte", from.as_str())));
            if !token.is_empty() {
                query.push(("pageToken", &token));
            }
            let page: Page = serde_json::from_slice(&get("/data/v2/transactions", &query).await?)?;
            rows.send(page.transactions).await?;
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
        }
    }
    Ok(())
}

const TABLE: &str = "PRAGMA journal_mode = wal; PRAGMA synchronous = normal;
    CREATE TABLE rows (key INTEGER PRIMARY KEY, id TEXT, account TEXT, status TEXT, unscaled TEXT, scale TEXT,
        currency TEXT, booked TEXT, value TEXT, at TEXT, display TEXT, original TEXT, provider_id TEXT,
        merchant TEXT, category TEXT, kind TEXT, reference TEXT, mutability TEXT);";
const INSERT: &str =
    "INSERT INTO rows (id, account, status, unscaled, scale, currency, booked, value, at, display,
        original, provider_id, merchant, category, kind, reference, mutability)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)";

fn write(database: &PathBuf, mut pages: mpsc::Receiver<Vec<Row>>) -> Result<u64, Failed> {
    let mut db = Connection::open(database)?;
    db.execute_batch(TABLE)?;
    let mut total = 0;
    let mut is_over = false;
    while !is_over {
        let tx = db.transaction()?;
        let mut insert = tx.prepare_cached(INSERT)?;
        let mut written = 0;
        while written < ROWS_PER_COMMIT {
            let Some(page) = pages.blocking_recv() else {
                is_over = true;
                break;
            };
            written += page.len();
            for row in page {
                insert.execute(params![
                    row.id,
                    row.account_id,
                    row.status,
                    row.amount.value.unscaled_value,
                    row.amount.value.scale,
                    row.amount.currency_code,
                    row.dates.booked,
                    row.dates.value,
                    row.dates.transaction,
                    row.descriptions.display,
                    row.descriptions.original,
                    row.identifiers.provider_transaction_id,
                    row.merchant_information.merchant_name,
                    row.merchant_information.merchant_category_code,
                    row.types.kind,
                    row.reference,
                    row.mutability,
                ])?;
            }
        }
        drop(insert);
        tx.commit()?;
        total += u64::try_from(written)?;
    }
    Ok(total)
}
