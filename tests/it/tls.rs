//! TLS as it is on the way to Tink: a certificate of an authority that the system trusts is accepted, any other one is
//! refused before anything secret is sent, and the message says what is wrong with it.

use crate::gate::{Fate, Gate};
use crate::harness::{Ran, World, quoted, small};

/// A pass through a gate, whose authority this system trusts or not.
fn through(world: World, gate: &Gate, trusted: bool) -> (World, Ran) {
    let world = world.set("tink.api_url", &quoted(&gate.url()));
    let mut pass = world.pass(&["--verbose"]);
    if trusted {
        pass.env("SSL_CERT_FILE", &gate.authority);
    }
    let ran = Ran::of(pass.output().unwrap());
    (world, ran)
}

#[test]
fn a_certificate_of_a_trusted_authority_is_accepted() {
    let world = World::new(small(3));
    let gate = Gate::open(world.sandbox.address(), world.dir.path(), None, Fate::Stays);
    let (world, ran) = through(world, &gate, true);
    ran.expect(0);
    world.assert_all_exact();
}

#[test]
fn any_other_certificate_is_refused_before_anything_is_sent() {
    for (fate, trusted, told) in [
        (Fate::Stays, false, "UnknownIssuer"),
        (Fate::SelfSigned, true, "UnknownIssuer"),
        (Fate::OtherName, true, "not valid for name"),
        (Fate::Expired, true, "expired"),
    ] {
        let world = World::new(small(2));
        let gate = Gate::open(world.sandbox.address(), world.dir.path(), None, fate);
        let (world, ran) = through(world, &gate, trusted);
        let ran = ran.expect(69);
        assert!(ran.stderr.contains("certificate") && ran.stderr.contains(told), "{fate:?}: {}", ran.stderr);
        assert!(world.sandbox.requests().is_empty(), "{fate:?}: nothing may have been asked");
    }
}

#[test]
fn certificates_are_read_only_by_a_pass_that_has_something_to_ask() {
    let without = |world: &World| {
        let mut pass = world.pass(&[]);
        pass.env("SSL_CERT_FILE", world.path("broken.pem"));
        Ran::of(pass.output().unwrap())
    };
    let world = World::new(small(2));
    let broken = "-----BEGIN CERTIFICATE-----\nnot one\n-----END CERTIFICATE-----\n";
    std::fs::write(world.path("broken.pem"), broken).unwrap();
    let ran = without(&world).expect(78);
    assert!(ran.stderr.contains("SSL_CERT_FILE"), "{}", ran.stderr);
    assert_eq!(world.number("SELECT count(*) FROM connections_v1 WHERE state <> 'new'"), 0);
    world.run(&[]).expect(0);
    let world = world.set("sync.min_interval", &quoted("5h"));
    assert_eq!(without(&world).expect(0).skipped("recent"), 2);
}
