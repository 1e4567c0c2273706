//! All actions that change something, each tried in the same ways: what a plan of it does once the world has changed, and what it does when requests fail.
//!
//! A new action needs a case, or a reason why there is none.

#[cfg(feature = "backup")]
mod backup;
#[cfg(feature = "ec2")]
mod ec2;
mod faults;
mod flight;
#[cfg(feature = "iam")]
mod iam;
mod life;
#[cfg(feature = "s3")]
mod s3;
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

#[cfg(feature = "ec2")]
#[test]
fn a_run_of_ec2_that_is_interrupted_or_expires_is_finished_by_another() {
    life::every(ec2::CASES);
}

#[cfg(feature = "iam")]
#[test]
fn no_action_of_iam_is_left_out() {
    none_is_left_out("iam", iam::CASES, iam::APART);
}

#[cfg(feature = "iam")]
#[test]
fn a_plan_of_iam_touches_what_is_still_as_planned_and_nothing_else() {
    table::every(iam::CASES);
}

#[cfg(feature = "iam")]
#[test]
fn whatever_fails_of_iam_what_is_told_is_true() {
    faults::every(iam::CASES);
    faults::every(iam::PARTS);
}

#[cfg(feature = "iam")]
#[test]
fn a_run_of_iam_that_is_interrupted_or_expires_is_finished_by_another() {
    life::every(iam::CASES);
    life::every(iam::PARTS);
}

#[cfg(feature = "s3")]
#[test]
fn no_action_of_s3_is_left_out() {
    none_is_left_out("s3", s3::CASES, s3::APART);
}

#[cfg(feature = "s3")]
#[test]
fn a_plan_of_s3_touches_what_is_still_as_planned_and_nothing_else() {
    table::every(s3::CASES);
}

#[cfg(feature = "s3")]
#[test]
fn whatever_fails_of_s3_what_is_told_is_true() {
    faults::every(s3::CASES);
}

#[cfg(feature = "s3")]
#[test]
fn a_run_of_s3_that_is_interrupted_or_expires_is_finished_by_another() {
    life::every(s3::CASES);
}

#[cfg(feature = "backup")]
#[test]
fn no_action_of_backup_is_left_out() {
    none_is_left_out("backup", backup::CASES, backup::APART);
}

#[cfg(feature = "backup")]
#[test]
fn a_plan_of_backup_touches_what_is_still_as_planned_and_nothing_else() {
    table::every(backup::CASES);
}

#[cfg(feature = "backup")]
#[test]
fn whatever_fails_of_backup_what_is_told_is_true() {
    faults::every(backup::CASES);
}

#[cfg(feature = "backup")]
#[test]
fn a_run_of_backup_that_is_interrupted_or_expires_is_finished_by_another() {
    life::every(backup::CASES);
}
