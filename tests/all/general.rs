//! What needs no AWS.

use jiff::{SignedDuration, Timestamp};

use crate::support::aaws::Aaws;
use crate::support::{Server, aaws, shell};

/// A run of `get_date` by a stranger, far from everything.
fn get_date(flags: &str) -> Aaws {
    aaws(format!("general get_date {flags}")).stranger().endpoint("http://127.0.0.1:9")
}

fn date(flags: &str) -> String {
    get_date(flags).run().ok().json().as_str().expect("a string").to_owned()
}

/// The instant that RFC 3339 text stands for.
fn instant(text: &str) -> Timestamp {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

#[track_caller]
fn near(text: &str, expected: Timestamp) {
    let off = instant(text).duration_since(expected).abs();
    assert!(off < SignedDuration::from_secs(30), "{text} is {off} from {expected}");
}

#[test]
fn now_is_printed_in_utc_whatever_the_clock_of_the_machine_says() {
    let text = date("--format iso");
    assert!(text.ends_with('Z') && text.len() == "2024-01-31T08:00:00.000000Z".len(), "{text}");
    near(&text, Timestamp::now());
    for zone in ["America/New_York", "EST5", "Asia/Tokyo", "JST-9"] {
        let there = get_date("--format iso").env("TZ", zone).run().ok();
        near(there.json().as_str().unwrap(), Timestamp::now());
    }
}

#[test]
fn days_are_counted_forward_and_back() {
    let day = SignedDuration::from_hours(24);
    near(&date("--format iso --before 30"), Timestamp::now() - day * 30);
    near(&date("--format iso --after 2"), Timestamp::now() + day * 2);
    near(&date("--format iso --after 0"), Timestamp::now());
}

#[test]
fn other_units_are_those_of_every_duration() {
    near(&date("--format iso --ago 12h"), Timestamp::now() - SignedDuration::from_hours(12));
    near(&date("--format iso --ahead 90m"), Timestamp::now() + SignedDuration::from_mins(90));
    near(&date("--format iso --ago 1w"), Timestamp::now() - SignedDuration::from_hours(7 * 24));
}

#[test]
fn formats_are_as_documented() {
    let day = date("--format string --before 1");
    let parts: Vec<_> = day.split('/').map(str::len).collect();
    assert_eq!(parts, [4, 2, 2], "{day}");
    let whole = date("");
    assert!(whole.ends_with("+00:00") && whole.as_bytes()[10] == b' ', "the default says its zone: {whole}");
    assert_eq!(whole.len(), "2024-01-31 08:00:00.000000+00:00".len(), "{whole}");
    assert_eq!(date("--format datetime").len(), whole.len());
}

#[cfg(feature = "s3")]
#[test]
fn every_format_is_taken_by_the_dates_of_other_actions() {
    for format in ["datetime", "string", "iso"] {
        let line =
            format!("aaws s3 discover_objects --bucket b --modified_before \"$(aaws general get_date --format {format} --output text)\"");
        let server = Server::start(|_, _, _| crate::support::fake_s3::listing(&[], None));
        let run = shell(line).endpoint(&server.url).run().ok();
        assert_eq!(run.stdout.trim(), "[]", "{run}");
    }
}

#[test]
fn negative_days_are_refused() {
    for (flags, field) in
        [("--before -1", "before"), ("--after -30", "after"), ("--ago=-1d", "ago"), ("--after 1.5", "after"), ("--before x", "before")]
    {
        let run = get_date(flags).run().exits(2).silent();
        assert!(run.stderr.contains(field), "{run}");
    }
    let run = aaws("general get_date --input").arg(r#"{"before": -1}"#).stranger().endpoint("http://127.0.0.1:9").run().exits(2).silent();
    assert!(run.stderr.contains("before"), "{run}");
}

#[test]
fn before_and_after_do_not_go_together() {
    get_date("--before 1 --after 1").run().exits(2).silent().logs("only one of");
    get_date("--before 1 --ago 1d").run().exits(2).silent().logs("only one of");
}

#[test]
fn a_date_out_of_range_is_refused() {
    get_date("--after 4294967295").run().exits(2).silent().logs("after");
    get_date("--ago 9999999w").run().exits(2).silent().logs("ago");
}

#[test]
fn a_format_that_there_is_not_is_refused() {
    get_date("--format unix").run().exits(2).silent().logs("datetime, string, iso");
}

#[test]
fn a_table_has_one_row() {
    let run = get_date("--format string --output table").run().ok();
    let rows: Vec<_> = run.stdout.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    assert_eq!(rows.len(), 2, "a header and the date: {run}");
    assert_eq!(rows[1].len(), "2024/01/31".len(), "{run}");
}
