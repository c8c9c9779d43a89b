//! How an address, the variables and the defaults combine.

use super::*;

fn none(_: &str) -> Option<OsString> {
    None
}

fn target(url: &str) -> Target {
    Target::parse(url, &none).unwrap_or_else(|error| panic!("{url}: {error}"))
}

fn refused(url: &str) -> String {
    match Target::parse(url, &none) {
        Ok(target) => panic!("{url} was taken: {target:?}"),
        Err(error) => error,
    }
}

fn shown(target: &Target) -> Vec<String> {
    target.places.iter().map(ToString::to_string).collect()
}

#[test]
fn hosts_keep_their_order_and_their_ports() {
    for (url, expected) in [
        ("postgres://db/x", &["db:5432"][..]),
        ("postgres://a,b:5433,[::1]:5434/x", &["a:5432", "b:5433", "[::1]:5434"]),
        ("postgres:///x", &["/var/run/postgresql/.s.PGSQL.5432"]),
        ("postgres:///x?host=/tmp,db&port=5433", &["/tmp/.s.PGSQL.5433", "db:5433"]),
        ("postgres://%2Fsrv%2Fpg:1/x", &["/srv/pg/.s.PGSQL.1"]),
        ("postgres:///x?hostaddr=10.0.0.1,10.0.0.2&port=1,2", &["10.0.0.1:1", "10.0.0.2:2"]),
        ("postgres://a,b/x?hostaddr=10.0.0.1,", &["a:5432", "b:5432"]),
    ] {
        assert_eq!(shown(&target(url)), expected, "{url}");
    }
    let given = target("postgres://a,b/x?hostaddr=10.0.0.1,");
    assert_eq!(given.places[0].address, Some("10.0.0.1".parse().unwrap()));
    assert_eq!(given.places[1].address, None);
}

#[test]
fn defaults_are_those_of_libpq_but_nothing_waits_for_ever() {
    let given = target("postgres://db");
    assert_eq!((given.user.as_deref(), given.database.as_deref()), (None, None));
    assert_eq!(given.security, Security { mode: SslMode::Prefer, roots: Roots::Unset, own: None });
    assert_eq!(given.session(), SessionKind::Any);
    assert_eq!(given.connect_timeout, Some(Duration::from_secs(10)));
    assert_eq!(given.liveness.unanswered, Some(Duration::from_mins(1)));
    assert_eq!((given.application_name.as_str(), &given.pgpass), ("tink-sync", &Pgpass::Home));
    assert_eq!(target("postgres://a,b").session(), SessionKind::ReadWrite);
    assert_eq!(target("postgres://a,b").for_reading().session(), SessionKind::Any);
    let primary = target("postgres://a?target_session_attrs=primary");
    assert_eq!(primary.for_reading().session(), SessionKind::Primary);
}

#[test]
fn parameters_are_read() {
    let given = target(
        "postgres://app@db/bank?sslmode=verify-ca&sslrootcert=/etc/ca.crt&sslcert=/a&sslkey=/b&connect_timeout=3\
         &application_name=x&passfile=/p&channel_binding=require&keepalives=0&keepalives_idle=1\
         &keepalives_interval=2&keepalives_count=4&tcp_user_timeout=1500&client_encoding=UTF8\
         &target_session_attrs=prefer-standby",
    );
    let security = &given.security;
    assert_eq!((security.mode, &security.roots), (SslMode::VerifyCa, &Roots::File("/etc/ca.crt".into())));
    assert_eq!(security.own, Some(("/a".into(), "/b".into())));
    assert_eq!(given.channel_binding, ChannelBinding::Require);
    assert_eq!(given.connect_timeout, Some(Duration::from_secs(3)));
    assert_eq!(given.session(), SessionKind::PreferStandby);
    assert_eq!(given.pgpass, Pgpass::File("/p".into()));
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    let live = Liveness {
        keepalives: false,
        idle: seconds(1),
        interval: seconds(2),
        probes: Some(4),
        unanswered: Some(Duration::from_millis(1500)),
    };
    assert_eq!(given.liveness, live);
    let off =
        target("postgres://db?connect_timeout=0&tcp_user_timeout=0&keepalives_count=0&keepalives_idle=0");
    assert_eq!((off.connect_timeout, off.liveness.unanswered), (None, None));
    assert_eq!((off.liveness.probes, off.liveness.idle), (None, None));
    assert_eq!(target("postgres://db?sslrootcert=system").security.mode, SslMode::VerifyFull);
}

#[test]
fn variables_stand_in_for_what_the_address_does_not_say() {
    let all = |name: &str| {
        let value = match name {
            "PGHOST" => "a,b",
            "PGPORT" => "6000",
            "PGUSER" => "someone",
            "PGDATABASE" => "other",
            "PGSSLMODE" => "verify-full",
            "PGSSLROOTCERT" => "/etc/ca.crt",
            "PGPASSFILE" => "/p",
            "PGCONNECT_TIMEOUT" => "4",
            "PGAPPNAME" => "x",
            "PGTARGETSESSIONATTRS" => "any",
            "PGPASSWORD" => "hunter2",
            _ => return None,
        };
        Some(value.into())
    };
    let given = Target::parse("postgres://", &all).unwrap();
    assert_eq!(shown(&given), ["a:6000", "b:6000"]);
    assert_eq!((given.user.as_deref(), given.database.as_deref()), (Some("someone"), Some("other")));
    assert_eq!(given.security.mode, SslMode::VerifyFull);
    assert_eq!(given.security.roots, Roots::File("/etc/ca.crt".into()));
    assert_eq!((given.session(), given.connect_timeout), (SessionKind::Any, Some(Duration::from_secs(4))));
    assert_eq!((given.application_name.as_str(), &given.pgpass), ("x", &Pgpass::File("/p".into())));
    assert_eq!(given.password, Some(Password("hunter2".to_owned().into())));
    assert!(!format!("{given:?} {given}").contains("hunter2"));

    let given = Target::parse("postgres://app@db:1/bank?sslmode=disable&passfile=/q", &all).unwrap();
    assert_eq!(shown(&given), ["db:1"]);
    assert_eq!((given.user.as_deref(), given.database.as_deref()), (Some("app"), Some("bank")));
    assert_eq!((given.security.mode, &given.pgpass), (SslMode::Disable, &Pgpass::File("/q".into())));
    assert_eq!(given.clone().with_pgpass(None), given);
    assert_eq!(given.with_pgpass(Some("/r".into())).pgpass, Pgpass::File("/r".into()));

    // A variable locates another machine than the address does.
    let elsewhere = |name: &str| (name == "PGHOSTADDR").then(|| "10.0.0.9".into());
    assert_eq!(Target::parse("postgres://db", &elsewhere).unwrap().places[0].address, None);
    assert_eq!(shown(&Target::parse("postgres:///x", &elsewhere).unwrap()), ["10.0.0.9:5432"]);
    assert_eq!(shown(&Target::parse("postgres:///x", &|_| Some(OsString::new())).unwrap()).len(), 1);
}

#[test]
fn what_makes_no_sense_is_refused_in_words() {
    for (url, expected) in [
        ("postgres://db:x/y", "a port must be a number"),
        ("postgres://db:0/y", "a port must be a number"),
        ("postgres://db:65536/y", "a port must be a number"),
        ("postgres://a,b/x?port=1,2,3", "3 ports, but 2 hosts"),
        ("postgres://a,b/x?hostaddr=::1", "2 in `host`, but 1 in `hostaddr`"),
        ("postgres://a/x?hostaddr=b", "expected an IP address"),
        ("postgres:///x?host=@abstract", "abstract"),
        (
            "postgres://db?sslmode=verify",
            "expected one of disable, allow, prefer, require, verify-ca, verify-full",
        ),
        ("postgres://db?sslmode=", "for `sslmode`"),
        ("postgres://db?target_session_attrs=master", "prefer-standby for `target_session_attrs`"),
        ("postgres://db?connect_timeout=10s", "whole number for `connect_timeout`"),
        ("postgres://db?keepalives=yes", "for `keepalives`"),
        ("postgres://db?keepalives_count=-1", "for `keepalives_count`"),
        ("postgres://db?channel_binding=on", "for `channel_binding`"),
        ("postgres://db?client_encoding=LATIN1", "UTF8"),
        ("postgres://db?sslcert=/a", "only together"),
        ("postgres://db?sslrootcert=system&sslmode=require", "only with `sslmode=verify-full`"),
    ] {
        let error = refused(url);
        assert!(error.contains(expected), "{url}: {error}");
    }
    let odd = |name: &str| {
        use std::os::unix::ffi::OsStringExt as _;
        (name == "PGUSER").then(|| OsString::from_vec(vec![0xff]))
    };
    assert!(Target::parse("postgres://db", &odd).unwrap_err().contains("PGUSER"));
}

#[test]
fn a_password_is_compared_and_never_shown() {
    let password = |text: &str| Password(SecretString::from(text.to_owned()));
    assert_eq!(password("one"), password("one"));
    assert_ne!(password("one"), password("other"));
    let target =
        target("postgres://db/x").with_pgpass_text(Some(SecretString::from("db:*:x:me:hidden".to_owned())));
    assert_eq!(target.pgpass, Pgpass::Text(password("db:*:x:me:hidden")));
    assert_eq!(format!("{:?}", target.pgpass), "Text([REDACTED])");
}

#[test]
fn an_address_and_a_mode_are_shown_as_they_were_given() {
    let url = "postgres://me@a,b:5433/x?sslmode=require";
    assert_eq!(target(url).to_string(), url);
    for (name, mode) in MODES {
        assert_eq!(mode.to_string(), name);
        assert_eq!(target(&format!("postgres://db/x?sslmode={name}")).security.mode, mode);
    }
}

#[test]
fn a_directory_of_sockets_may_be_a_usual_one() {
    for (url, expected) in [
        ("postgres:///x", [true, true]),
        ("postgres:///x?host=/run/postgresql", [true, true]),
        ("postgres:///x?host=/tmp", [true, true]),
        ("postgres:///x?host=/srv/pg", [true, false]),
        ("postgres://localhost/x", [false, false]),
    ] {
        let place = &target(url).places[0];
        assert_eq!([place.is_socket(), place.is_usual_socket()], expected, "{url}");
    }
}

#[test]
fn the_systems_roots_go_only_with_a_name_that_is_checked() {
    let with = |mode: &str| Target::parse(&format!("postgres://db/x?sslrootcert=system{mode}"), &none);
    assert_eq!(with("").unwrap().security.mode, SslMode::VerifyFull);
    assert_eq!(with("&sslmode=verify-full").unwrap().security.mode, SslMode::VerifyFull);
    assert!(with("&sslmode=verify-ca").unwrap_err().contains("only with `sslmode=verify-full`"));
}
