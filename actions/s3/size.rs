//! Sizes of objects: as they are given, and as people read them.

use std::borrow::Cow;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};

/// A number of bytes: a whole number, with or without a unit. `kB`, `MB`, `GB`, `TB` and `PB` are powers of 1,000; `KiB`, `MiB`, `GiB`, `TiB` and
/// `PiB` are powers of 1,024. Upper and lower case do not differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u64);

const UNITS: [(&str, u64); 12] = [
    ("", 1),
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("PB", 1_000_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("PiB", 1 << 50),
];

/// What sizes are shown in, the largest first.
const SHOWN: [(&str, u64); 5] = [("PiB", 1 << 50), ("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

impl Size {
    /// So many bytes.
    pub const fn of(bytes: u64) -> Self {
        Size(bytes)
    }

    /// In bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{}` is not a size: give bytes, or a whole number and a unit, as in 500, 10MiB or 1GB", text.escape_debug());
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let (_, factor) = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).ok_or_else(wrong)?;
        number.checked_mul(*factor).map(Size).ok_or_else(wrong)
    }
}

impl TryFrom<&str> for Size {
    type Error = String;

    fn try_from(text: &str) -> Result<Self, String> {
        text.parse()
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "size", "pattern": "^[0-9]+(([kKmMgGtTpP][iI]?)?[bB])?$" })
    }

    fn inline_schema() -> bool {
        true
    }
}

/// Bytes as people read them: `1 byte`, `340 bytes`, `1.5 MiB`. What is left of the last digit shown is dropped.
pub fn in_words(bytes: u64) -> String {
    match SHOWN.iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) => {
            let tenths = u128::from(bytes) * 10 / u128::from(*unit);
            format!("{}.{} {name}", tenths / 10, tenths % 10)
        }
        None if bytes == 1 => "1 byte".into(),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_bytes_or_have_a_unit() {
        let bytes = |text: &str| text.parse::<Size>().map(Size::bytes);
        for (text, expected) in [("0", 0), ("500", 500), ("500B", 500), ("10MiB", 10 << 20), ("1GB", 1_000_000_000), ("2kib", 2048)] {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        for wrong in ["", "MiB", "10M", "1.5GiB", "-1", " 1", "1 GB", "10iB", "18446744073709551616", "16384PiB"] {
            assert!(bytes(wrong).is_err_and(|e| e.contains("is not a size")), "{wrong}");
        }
    }

    #[test]
    fn sizes_are_shown_in_their_largest_unit() {
        let shown = [0, 1, 1023, 1024, 1536, (1 << 20) - 1, 1 << 20, u64::MAX].map(in_words);
        assert_eq!(shown, ["0 bytes", "1 byte", "1023 bytes", "1.0 KiB", "1.5 KiB", "1023.9 KiB", "1.0 MiB", "16383.9 PiB"]);
    }
}
