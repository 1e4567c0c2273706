//! All actions that change something, each tried in the same ways: what a plan of it does once the world has changed, and what it does when requests fail.
//!
//! A new action needs a case, or a reason why there is none.

#[cfg(feature = "ec2")]
mod ec2;
mod faults;
mod table;

use std::collections::BTreeSet;

use aaws::catalog::registry;

use crate::support::cases::Case;

/// All that change something of a service have a case, or a reason why not.
#[track_caller]
fn none_is_left_out<P>(service: &str, cases: &[Case<P>], apart: &[(&'static str, &'static str)]) {
    let cases = cases.iter().map(|case| case.action);
    let tried: Vec<&str> = cases.chain(apart.iter().map(|(action, _)| *action)).collect();
    let all: BTreeSet<&str> = registry::of_service(service).filter(|e| e.meta.effect.changes()).map(|e| e.meta.path).collect();
    assert_eq!(tried.iter().copied().collect::<BTreeSet<_>>(), all, "there is a case for each, or a reason");
    assert_eq!(tried.len(), all.len(), "and not more than one: {tried:?}");
    assert!(apart.iter().all(|(_, why)| !why.is_empty()));
}

#[cfg(feature = "ec2")]
#[test]
fn no_action_of_ec2_is_left_out() {
    none_is_left_out("ec2", ec2::CASES, ec2::APART);
}

#[cfg(feature = "ec2")]
#[test]
fn a_plan_of_ec2_touches_what_is_still_as_planned_and_nothing_else() {
    table::every(ec2::CASES);
}

#[cfg(feature = "ec2")]
#[test]
fn whatever_fails_of_ec2_what_is_told_is_true() {
    faults::every(ec2::CASES);
}
