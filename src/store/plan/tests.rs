//! Which leases a claim takes for its own.

use super::*;

#[test]
fn a_lease_counts_as_taken_only_if_this_run_was_taking_it() {
    let taking = HashMap::from([(1, 5)]);
    let asked = PlanParams { values: Vec::new(), named: false, again: false, run: 7, quota: 1, taking };
    assert!(asked.is_taken(1, Some(7), Some(5)));
    for (connection, run, token) in [
        (1, Some(8), Some(5)),
        (1, None, Some(5)),
        (1, Some(7), Some(6)),
        (1, Some(7), None),
        (2, Some(7), None),
    ] {
        assert!(!asked.is_taken(connection, run, token), "{connection} {run:?} {token:?}");
    }
}
