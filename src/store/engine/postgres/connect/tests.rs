//! Connections to real servers, and to fake ones that only send given responses.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::OnceLock;
use std::thread;

use super::*;
use crate::store::engine::postgres::tests::server::{self as testing, Certificate};

/// A read-only server whose certificate has expired.
fn read_only() -> &'static testing::Server {
    static SERVER: OnceLock<testing::Server> = OnceLock::new();
    SERVER
        .get_or_init(|| testing::Server::start("default_transaction_read_only = on\n", Certificate::Expired))
}

/// The shared server, with users who need a password, and users who do not.
fn server() -> &'static testing::Server {
    static READY: OnceLock<()> = OnceLock::new();
    let server = testing::Server::shared();
    READY.get_or_init(|| {
        let roles = "CREATE ROLE scram LOGIN PASSWORD 'hunter:2'; CREATE ROLE clear LOGIN PASSWORD 'hunter:2'; \
                     SET password_encryption = md5; CREATE ROLE md5 LOGIN PASSWORD 'hunter:2'; \
                     CREATE ROLE plain LOGIN; CREATE ROLE encrypted LOGIN; CREATE ROLE certified LOGIN; \
                     CREATE ROLE stranger LOGIN";
        server.execute("postgres", roles);
        server.execute("postgres", "CREATE DATABASE closed");
        server.execute("postgres", "REVOKE CONNECT ON DATABASE closed FROM public");
    });
    server
}

fn target(url: &str) -> Target {
    Target::parse(url, &|_| None).unwrap_or_else(|error| panic!("{url}: {error}"))
}

async fn refused(target: &Target) -> ConnectError {
    match connect(target, None).await {
        Ok(connected) => panic!("{target} let us in at {}", connected.place),
        Err(error) => error,
    }
}

/// The answer to a query with one row and one column.
async fn ask(connected: Connected, sql: &str) -> String {
    let driver = tokio::spawn(connected.driver);
    let answer = connected.client.query_one(sql, &[]).await.unwrap().get(0);
    drop(connected.client);
    driver.await.unwrap();
    answer
}

/// How an attempt with these parameters ends: `tls`, `plain`, or the kinds of its problems.
async fn outcome(host: &str, user: &str, parameters: &str) -> String {
    let address = format!("postgres://{user}@{host}:{}/postgres?{parameters}", server().port());
    match connect(&target(&address), None).await {
        Ok(connected) => {
            let sql = "SELECT CASE WHEN ssl THEN 'tls' ELSE 'plain' END FROM pg_stat_ssl \
                       WHERE pid = pg_backend_pid()";
            ask(connected, sql).await
        }
        Err(error) => format!("{:?}", error.kinds()),
    }
}

fn file(name: &str) -> String {
    server().directory().join(name).display().to_string()
}

#[tokio::test]
async fn each_sslmode_takes_the_way_that_libpq_takes() {
    for (mode, anyone, encrypted, plain) in [
        ("disable", "plain", "[NoEntry]", "plain"),
        ("allow", "plain", "tls", "plain"),
        ("prefer", "tls", "tls", "plain"),
        ("require", "tls", "tls", "[NoEntry]"),
    ] {
        let parameters = format!("sslmode={mode}");
        for (user, expected) in [("owner", anyone), ("encrypted", encrypted), ("plain", plain)] {
            assert_eq!(outcome("127.0.0.1", user, &parameters).await, expected, "{mode} {user}");
        }
    }
    let without = testing::Server::start("ssl = off\n", Certificate::Valid);
    let url =
        |mode| target(&format!("postgres://owner@127.0.0.1:{}/postgres?sslmode={mode}", without.port()));
    for mode in ["disable", "allow", "prefer"] {
        assert!(connect(&url(mode), None).await.is_ok(), "{mode}");
    }
    let error = refused(&url("require")).await;
    assert_eq!((error.kinds(), error.is_transient()), (vec![Kind::Tls], false));
    assert!(error.to_string().contains("offers no TLS"), "{error}");
}

#[tokio::test]
async fn a_certificate_is_looked_at_as_far_as_the_mode_asks_for() {
    let (ca, other) = (file("ca.crt"), file("other.crt"));
    for (host, parameters, expected) in [
        ("localhost", format!("sslmode=verify-full&sslrootcert={ca}"), "tls"),
        ("localhost", format!("sslmode=verify-full&sslrootcert={ca}&hostaddr=127.0.0.1"), "tls"),
        ("127.0.0.1", format!("sslmode=verify-full&sslrootcert={ca}"), "[Tls]"),
        ("127.0.0.1", format!("sslmode=verify-ca&sslrootcert={ca}"), "tls"),
        ("127.0.0.1", format!("sslmode=require&sslrootcert={ca}"), "tls"),
        ("127.0.0.1", format!("sslmode=verify-ca&sslrootcert={other}"), "[Tls]"),
        ("127.0.0.1", format!("sslmode=require&sslrootcert={other}"), "[Tls]"),
        // `prefer` falls back to plain if TLS fails.
        ("127.0.0.1", format!("sslmode=prefer&sslrootcert={other}"), "plain"),
        ("127.0.0.1", format!("sslmode=prefer&sslrootcert={ca}"), "tls"),
        ("127.0.0.1", format!("sslmode=verify-ca&sslrootcert={}", file("missing.crt")), "[Local]"),
    ] {
        assert_eq!(outcome(host, "owner", &parameters).await, expected, "{host} {parameters}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_is_said() {
    let (valid, expired) = (server(), read_only());
    let (ca, other) = (file("ca.crt"), file("other.crt"));
    let expired_ca = expired.directory().join("ca.crt").display().to_string();
    for (host, server, mode, roots, expected) in [
        ("127.0.0.1", valid, "verify-full", &ca, "is for another name"),
        ("localhost", valid, "verify-full", &other, "is of an authority that is not trusted"),
        ("127.0.0.1", valid, "verify-ca", &other, "is of an authority that is not trusted"),
        ("localhost", expired, "verify-full", &expired_ca, "has expired"),
        ("127.0.0.1", expired, "verify-ca", &expired_ca, "has expired"),
        ("localhost", valid, "verify-full", &"system".to_owned(), "sslrootcert"),
    ] {
        let url =
            format!("postgres://owner@{host}:{}/postgres?sslmode={mode}&sslrootcert={roots}", server.port());
        let error = refused(&target(&(url + "&hostaddr=127.0.0.1"))).await;
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!error.is_transient(), "{error}");
        assert!(std::error::Error::source(&error).is_some(), "{error:?}");
    }
    let url = format!("postgres://owner@localhost:{}/postgres?sslmode=require", expired.port());
    assert!(connect(&target(&url), None).await.is_ok(), "nobody looks at it");
}

#[tokio::test]
async fn a_certificate_of_our_own_lets_us_in() {
    let own = format!("sslmode=require&sslcert={}&sslkey={}", file("client.crt"), file("client.key"));
    assert_eq!(outcome("127.0.0.1", "certified", &own).await, "tls");
    assert_eq!(outcome("127.0.0.1", "certified", "sslmode=require").await, "[NoEntry]");
    let open = format!("sslmode=require&sslcert={}&sslkey={}", file("client.crt"), file("server.conf"));
    assert_eq!(outcome("127.0.0.1", "certified", &open).await, "[Local]", "others can read the key");
}

/// A port on which nothing listens.
fn dead_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[tokio::test]
async fn the_hosts_are_tried_in_their_order() {
    let (dead, live) = (dead_port(), server().port());
    let url = format!("postgres://owner@127.0.0.1:{dead},no-such-host.invalid,localhost:{live}/postgres");
    let connected = connect(&target(&url), None).await.unwrap();
    assert_eq!(connected.place, format!("localhost:{live}"));

    let error =
        refused(&target(&format!("postgres://owner@127.0.0.1:{dead},localhost:{dead}/postgres"))).await;
    assert!(error.is_transient() && error.kinds().len() >= 2, "{error}");
    let text = error.to_string();
    assert!(text.starts_with("database `postgres` as user `owner`: 127.0.0.1:"), "{text}");
    assert!(text.contains(&format!("; localhost:{dead} refuses connections")), "{text}");
    // A refusal is final, even if another server may come back.
    let url = format!("postgres://stranger@127.0.0.1:{dead},127.0.0.1:{live}/postgres?sslmode=disable");
    let error = refused(&target(&url)).await;
    assert_eq!((error.kinds(), error.is_transient()), (vec![Kind::Away, Kind::NoEntry], false));
    // A user that the first server refuses is not tried at the next.
    let url = format!("postgres://stranger@127.0.0.1:{live},127.0.0.1:{dead}/postgres?sslmode=disable");
    assert_eq!(refused(&target(&url)).await.kinds(), [Kind::NoEntry]);
}

#[tokio::test]
async fn only_a_server_of_the_wanted_kind_will_do() {
    let (standing, live) = (read_only().port(), server().port());
    let hosts = format!("postgres://owner@127.0.0.1:{standing},127.0.0.1:{live}/postgres?sslmode=disable");
    for (session, expected) in [
        ("", live),
        ("&target_session_attrs=read-write", live),
        ("&target_session_attrs=any", standing),
        ("&target_session_attrs=read-only", standing),
        ("&target_session_attrs=primary", standing),
        ("&target_session_attrs=prefer-standby", standing),
    ] {
        let connected = connect(&target(&format!("{hosts}{session}")), None).await.unwrap();
        assert_eq!(connected.place, format!("127.0.0.1:{expected}"), "{session}");
    }
    let error = refused(&target(&format!("{hosts}&target_session_attrs=standby"))).await;
    assert_eq!((error.kinds(), error.is_transient()), (vec![Kind::Role, Kind::Role], true));
    let url = format!("postgres://owner@127.0.0.1:{standing}/postgres?target_session_attrs=read-write");
    let error = refused(&target(&url)).await;
    assert!(error.is_transient() && error.to_string().contains("default_transaction_read_only"), "{error}");
}

#[tokio::test]
async fn passwords_come_from_the_password_file() {
    let port = server().port();
    let pgpass = |text: &str| Some(text.to_owned().into());
    let right =
        format!("127.0.0.1:{port}:*:*:hunter\\:2\n{}:*:*:*:hunter\\:2", server().directory().display());
    let socket = server().directory().display().to_string().replace('/', "%2F");
    for (user, host) in
        [("scram", "127.0.0.1"), ("md5", "127.0.0.1"), ("clear", "127.0.0.1"), ("scram", &socket)]
    {
        let url = target(&format!("postgres://{user}@{host}:{port}/postgres"));
        let connected = connect(&url.clone().with_pgpass_text(pgpass(&right)), None).await;
        assert!(connected.is_ok(), "{user} {host}: {connected:?}");

        let error = refused(&url.clone().with_pgpass_text(pgpass("*:*:*:*:wrong-one"))).await;
        assert!(error.to_string().contains("refuses the password"), "{error}");
        assert!(!error.is_transient() && !format!("{error:?} {error}").contains("wrong-one"), "{error:?}");

        let error = refused(&url.with_pgpass_text(pgpass("127.0.0.1:1:*:*:x"))).await;
        assert!(error.to_string().contains("asks for a password, and no line `host:port:"), "{error}");
        assert!(!error.is_transient(), "{error}");
    }
    let bound = |mode| {
        let url =
            format!("postgres://scram@127.0.0.1:{port}/postgres?channel_binding=require&sslmode={mode}");
        target(&url).with_pgpass_text(pgpass(&right))
    };
    assert!(connect(&bound("require"), None).await.is_ok());
    assert!(refused(&bound("disable")).await.to_string().contains("did not use channel binding"));
}

#[tokio::test]
async fn who_is_not_let_in_learns_why() {
    let port = server().port();
    for (user, database, expected) in [
        ("owner", "missing", "database \"missing\" does not exist; create it"),
        ("nobody_of_ours", "postgres", "role \"nobody_of_ours\" does not exist; check the user"),
        ("stranger", "postgres", "pg_hba.conf"),
        ("encrypted", "closed", "GRANT CONNECT"),
    ] {
        let error = refused(&target(&format!("postgres://{user}@127.0.0.1:{port}/{database}"))).await;
        assert!(error.to_string().contains(expected), "{error}");
        assert!(
            error
                .to_string()
                .starts_with(&format!("database `{database}` as user `{user}`: 127.0.0.1:{port}"))
        );
        assert!(!error.is_transient(), "{error}");
    }
    let error = refused(&target(&format!("postgres://owner@%2Fno%2Fsuch:{port}/x"))).await;
    assert!(error.is_transient() && error.to_string().contains("/no/such/.s.PGSQL."), "{error}");
    let url = target(&format!("postgres://owner@127.0.0.1:{port}/x?passfile=/no/such/file"));
    assert!(refused(&url).await.to_string().contains("the password file /no/such/file cannot be read"));
}

#[tokio::test]
async fn the_user_and_its_database_are_those_of_the_process() {
    let user = User::from_uid(geteuid()).unwrap().unwrap().name;
    let error = refused(&target(&format!("postgres://127.0.0.1:{}", dead_port()))).await;
    assert!(error.to_string().starts_with(&format!("database `{user}` as user `{user}`")), "{error}");
}

#[tokio::test]
async fn start_up_options_are_sent_to_a_server() {
    let url = target(&server().url("postgres"));
    let connected = connect(&url, Some("-c search_path=pg_temp -c statement_timeout=1234")).await.unwrap();
    assert!(connected.took_options);
    let sql = "SELECT current_setting('search_path') || current_setting('statement_timeout') \
               || current_setting('application_name')";
    assert_eq!(ask(connected, sql).await, "pg_temp1234mstink-sync");
    assert!(!connect(&url, None).await.unwrap().took_options);
}

/// A message from the server.
fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    [&[kind], &length[..], body].concat()
}

fn fatal(code: &str, text: &str) -> Vec<u8> {
    message(b'E', format!("SFATAL\0VFATAL\0C{code}\0M{text}\0\0").as_bytes())
}

/// A server that answers a start-up message with the result of `answer`.
fn fake(answer: impl Fn(&[u8]) -> Vec<u8> + Send + 'static) -> Target {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream: TcpStream = stream.unwrap();
            let mut length = [0; 4];
            if stream.read_exact(&mut length).is_err() {
                return;
            }
            let mut startup = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap() - 4];
            stream.read_exact(&mut startup).unwrap();
            stream.write_all(&answer(&startup)).unwrap();
        }
    });
    target(&format!("postgres://app@127.0.0.1:{port}/bank?sslmode=disable"))
}

#[tokio::test]
async fn options_are_left_out_where_a_pgbouncer_refuses_them() {
    for text in ["unsupported startup parameter: options", "unsupported startup parameter in options: x"] {
        let bouncer = fake(move |startup| {
            if startup.windows(8).any(|part| part == b"options\0") {
                return fatal("08P01", text);
            }
            [message(b'R', &[0; 4]), message(b'Z', b"I")].concat()
        });
        assert!(!connect(&bouncer, Some("-c a.b=c")).await.unwrap().took_options);
    }
}

#[tokio::test]
async fn what_passes_by_itself_is_told_from_what_does_not() {
    for (code, transient) in [
        ("08000", true),
        ("08006", true),
        ("57P01", true),
        ("57P02", true),
        ("57P03", true),
        ("53300", true),
        ("25006", true),
        ("28000", false),
        ("28P01", false),
        ("3D000", false),
        ("42704", false),
        ("XX000", false),
    ] {
        let error = refused(&fake(move |_| fatal(code, "it said so"))).await;
        assert_eq!(error.is_transient(), transient, "{error}");
        assert!(code == "28P01" || error.to_string().contains("it said so"), "{error}");
    }
    let closed = refused(&fake(|_| Vec::new())).await;
    assert!(closed.is_transient() && closed.to_string().contains("closed the connection"), "{closed}");
    for text in ["no such database: bank", "bouncer config error"] {
        let bouncer = refused(&fake(move |_| fatal("08P01", text))).await;
        assert!(!bouncer.is_transient() && bouncer.to_string().contains("pgbouncer.ini"), "{bouncer}");
    }
    let kerberos = refused(&fake(|_| message(b'R', &[0, 0, 0, 7]))).await;
    assert!(kerberos.to_string().contains("unsupported authentication method"), "{kerberos}");
    assert!(!kerberos.is_transient());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    for (parameter, limit) in [("", 10), ("&connect_timeout=3", 3)] {
        let url = format!("postgres://app@127.0.0.1:{port}/bank?sslmode=disable{parameter}");
        let error = refused(&target(&url)).await;
        assert!(error.is_transient(), "{error}");
        assert!(error.to_string().contains(&format!("not ready within {limit} s")), "{error}");
    }
}

#[test]
fn a_connection_can_be_made_by_any_thread() {
    fn is_send<T: Send>(_: T) {}
    let target = target("postgres://db/bank");
    is_send(connect(&target, None));
}
