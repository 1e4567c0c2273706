//! Numbers and times as people read them. What programs read has them as they are.

use jiff::Timestamp;
use serde_json::Value;

use super::shape::Unit;

/// The units of bytes, each 1,024 of the one before.
const BINARY: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/// Where GiB stand among them.
const GIB: usize = 3;

/// A cell: a size with its unit, an age in days, a time to the minute; whatever else it is as it stands.
pub(super) fn readable(value: &Value, unit: Option<Unit>) -> Option<String> {
    match (unit, value) {
        (Some(Unit::Bytes), Value::Number(number)) => number.as_u64().map(|bytes| size(bytes, 0)),
        (Some(Unit::GiB), Value::Number(number)) => number.as_u64().map(|gib| size(gib, GIB)),
        (Some(Unit::Days), Value::Number(number)) => number.as_i64().map(|days| format!("{days} d")),
        (None, Value::String(text)) => minute(text),
        _ => None,
    }
}

/// So many of a unit, in the largest of which there is one at least: to a tenth below ten of it, unless it is whole.
fn size(number: u64, of: usize) -> String {
    let mut larger = BINARY.iter().enumerate().skip(of).map(|(at, name)| (1_u64 << (10 * (at - of)), name));
    let (factor, name) = larger.rfind(|(factor, _)| *factor <= number).unwrap_or((1, &BINARY[of]));
    let whole = number / factor;
    if whole < 10 && !number.is_multiple_of(factor) {
        return format!("{:.1} {name}", number as f64 / factor as f64);
    }
    format!("{} {name}", (number + factor / 2) / factor)
}

/// A time in UTC without its seconds.
fn minute(text: &str) -> Option<String> {
    let is_time = text.ends_with('Z') && text.as_bytes().get(10) == Some(&b'T') && text.parse::<Timestamp>().is_ok();
    (is_time).then(|| text.get(..16).map(|minute| minute.replace('T', " ")))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sizes_ages_and_times_are_short() {
        let shown = |value: Value, unit: Unit| readable(&value, Some(unit)).unwrap_or_default();
        assert_eq!(shown(json!(0), Unit::Bytes), "0 B");
        assert_eq!(shown(json!(1023), Unit::Bytes), "1023 B");
        assert_eq!(shown(json!(1024), Unit::Bytes), "1 KiB");
        assert_eq!(shown(json!(1536), Unit::Bytes), "1.5 KiB");
        assert_eq!(shown(json!(15_000_000_000_u64), Unit::Bytes), "14 GiB");
        assert_eq!(shown(json!(8), Unit::GiB), "8 GiB");
        assert_eq!(shown(json!(2560), Unit::GiB), "2.5 TiB");
        assert_eq!(shown(json!(400), Unit::Days), "400 d");
        assert_eq!(readable(&json!("2026-01-31T10:20:30Z"), None).as_deref(), Some("2026-01-31 10:20"));
        assert_eq!(readable(&json!("2026-01-31T10:20:30.123456Z"), None).as_deref(), Some("2026-01-31 10:20"));
    }

    #[test]
    fn what_is_no_number_and_no_time_stays_as_it_is() {
        for text in ["", "a name", "2026-01-31", "2026-13-31T10:20:30Z", "keys/2026-01-31T10:20:30Z", "日2026-1T日本語日Z"] {
            assert_eq!(readable(&json!(text), None), None, "{text}");
        }
        assert_eq!(readable(&json!(5), None), None);
        assert_eq!(readable(&json!(null), Some(Unit::Bytes)), None);
    }
}
