//! Addresses that are not Tink's, and a Tink that refuses.

use tink_sandbox::{Action, Config, Endpoint, Fault, Times};

use super::{assert_all, assert_told, fails, made, warns, write};
use crate::gate::{Fate, Gate};
use crate::harness::{Ran, World, quoted, small};

/// Tink answers every call for a client token like this.
fn answering(world: World, action: Action) -> World {
    world.sandbox.fault(Fault::new(action).at(Endpoint::ClientToken).times(Times::Forever));
    world
}

#[test]
fn tink_out_of_reach() {
    assert_all(&[
        (
            "a name that nobody has",
            |world| world.set("tink.api_url", "\"https://name.invalid\""),
            fails(69, "Tink", "https://name.invalid", "the name has no address: correct tink.api_url"),
        ),
        (
            "nobody listens",
            |world| world.set("tink.api_url", "\"https://127.0.0.1:1\""),
            fails(69, "Tink", "Connection refused", "nobody listens there"),
        ),
        (
            "no TLS there",
            |world| {
                let url = world.sandbox.url().replace("http:", "https:");
                world.set("tink.api_url", &quoted(&url))
            },
            fails(69, "Tink", "https://127.0.0.1", "speaks no TLS"),
        ),
        (
            "the path of something else",
            |world| {
                let url = format!("{}/elsewhere", world.sandbox.url());
                world.set("tink.api_url", &quoted(&url))
            },
            fails(69, "Tink", "status 404", "correct tink.api_url"),
        ),
        (
            "a log-in page of the network",
            |world| answering(world, Action::Html),
            fails(69, "Tink", "could not be read", "log-in page"),
        ),
        (
            "Tink away",
            |world| answering(world, Action::status(503)),
            fails(69, "Tink", "status 503", "Tink is away: runs wait and go on"),
        ),
    ]);
}

#[test]
fn tink_refusing() {
    assert_all(&[
        (
            "a wrong secret",
            |world| {
                write(&world, "secret", "not-the-secret\n");
                world
            },
            fails(77, "Tink", "status 401", "compare tink.client_id and the secret with Tink Console"),
        ),
        (
            "a wrong clock",
            |world| {
                let body =
                    r#"{"access_token":"t","expires_in":1800,"scope":"authorization:grant"}"#.to_owned();
                let headers = vec![("Date".to_owned(), "Thu, 01 Jan 2099 00:00:00 GMT".to_owned())];
                answering(world, Action::Status { code: 200, headers, body })
            },
            fails(78, "clock", "behind Tink's", "systemd-timesyncd or chrony"),
        ),
        (
            "a user whom Tink does not know",
            |world| {
                world.app("UPDATE app_connections SET tink = 'stranger'");
                world
            },
            warns("one user", "Tink does not know the user", "external_user_id or tink_user_id"),
        ),
    ]);
}

#[test]
fn certificates_that_are_not_tinks() {
    for fate in [Fate::SelfSigned, Fate::OtherName, Fate::Expired] {
        let world = made(small(1));
        let gate = Gate::open(world.sandbox.address(), world.dir.path(), None, fate);
        let world = world.set("tink.api_url", &quoted(&gate.url()));
        let run = |args: &[&str]| {
            Some(Ran::of(world.command(args).env("SSL_CERT_FILE", &gate.authority).output().unwrap()))
        };
        assert_told(
            &format!("{fate:?}"),
            &world,
            fails(69, "Tink", "certificate", "ca-certificates and the clock"),
            run,
        );
    }
}

#[test]
fn scopes_that_the_app_was_not_given() {
    let all = || Config::default().app_scopes;
    let without = |scope: &str| Config {
        app_scopes: all().into_iter().filter(|known| known != scope).collect(),
        ..small(2)
    };
    let world = made(without("authorization:grant"));
    let told = fails(77, "Tink", "scope", "authorization:grant in Tink Console");
    assert_told("no grants", &world, told, |args| Some(world.cli(args)));
    for (scope, told) in [
        ("transactions:read", fails(77, "one user", "the app lacks transactions:read", "in Tink Console")),
        (
            "provider-consents:read",
            fails(77, "one user", "the app lacks provider-consents:read", "in Tink Console"),
        ),
    ] {
        let world = made(without(scope));
        assert_told(scope, &world, told, |args| Some(world.cli(args)));
    }
    // Before there is anybody to try.
    let world = made(without("transactions:read"));
    world.app("DELETE FROM app_connections");
    let told = warns("user scopes", "lack transactions:read", "Tink Console before the first user");
    assert_told("nobody to try", &world, told, |args| Some(world.cli(args)));
}
