//! CBOR (RFC 8949) as JSON, as much of it as Smithy's RPC v2 speaks.

use serde_json::{Map, Value, json};

/// What a moment is written as in JSON: `{"seconds": 1.5}`. It is read as its seconds alone.
const SECONDS: &str = "seconds";

/// A moment, in seconds since 1970.
pub fn moment(seconds: f64) -> Value {
    json!({SECONDS: seconds})
}

pub fn encode(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(value, &mut bytes);
    bytes
}

fn write(value: &Value, to: &mut Vec<u8>) {
    match value {
        Value::Null => to.push(0xf6),
        Value::Bool(is) => to.push(if *is { 0xf5 } else { 0xf4 }),
        Value::Number(number) => match number.as_u64() {
            Some(whole) => head(0, whole, to),
            None => float(number.as_f64().expect("a number"), to),
        },
        Value::String(text) => write_text(text, to),
        Value::Array(items) => {
            head(4, items.len() as u64, to);
            items.iter().for_each(|item| write(item, to));
        }
        Value::Object(members) => match members.get(SECONDS).and_then(Value::as_f64) {
            Some(seconds) => {
                head(6, 1, to);
                float(seconds, to);
            }
            None => {
                head(5, members.len() as u64, to);
                for (name, member) in members {
                    write_text(name, to);
                    write(member, to);
                }
            }
        },
    }
}

fn write_text(text: &str, to: &mut Vec<u8>) {
    head(3, text.len() as u64, to);
    to.extend(text.as_bytes());
}

fn float(number: f64, to: &mut Vec<u8>) {
    to.push(0xfb);
    to.extend(number.to_be_bytes());
}

/// What an item begins with: its major type, and its value or length.
fn head(major: u8, value: u64, to: &mut Vec<u8>) {
    let major = major << 5;
    match value {
        0..24 => to.push(major | value as u8),
        24..=0xff => to.extend([major | 24, value as u8]),
        0x100..=0xffff => {
            to.push(major | 25);
            to.extend((value as u16).to_be_bytes());
        }
        _ => {
            to.push(major | 27);
            to.extend(value.to_be_bytes());
        }
    }
}

/// Reads one value, all that there is.
pub fn decode(bytes: &[u8]) -> Value {
    let mut reader = Reader { bytes, at: 0 };
    let value = reader.value().expect("a value, and no end before its own");
    assert_eq!(reader.at, bytes.len(), "one value");
    value
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn take(&mut self, count: usize) -> &[u8] {
        let taken = &self.bytes[self.at..self.at + count];
        self.at += count;
        taken
    }

    /// None at the end of what was begun without a length.
    fn value(&mut self) -> Option<Value> {
        let first = self.take(1)[0];
        let (major, more) = (first >> 5, first & 0x1f);
        let argument = match more {
            0..24 => Some(u64::from(more)),
            24..28 => Some(self.take(1 << (more - 24)).iter().fold(0, |value, byte| (value << 8) | u64::from(*byte))),
            31 => None,
            _ => panic!("byte {first:#x} begins nothing"),
        };
        let value = match (major, argument) {
            (0, Some(value)) => json!(value),
            (1, Some(value)) => json!(-1 - i64::try_from(value).expect("no larger")),
            (3, Some(length)) => json!(String::from_utf8(self.take(length as usize).to_vec()).expect("UTF-8")),
            (4, length) => Value::Array(self.many(length)),
            (5, length) => {
                let all = self.many(length.map(|pairs| 2 * pairs));
                let pair = |pair: &[Value]| (pair[0].as_str().expect("a name").to_owned(), pair[1].clone());
                Value::Object(all.chunks(2).map(pair).collect::<Map<_, _>>())
            }
            // A tag, of a moment: its seconds.
            (6, Some(1)) => self.value().expect("what has the tag"),
            (7, Some(20)) => json!(false),
            (7, Some(21)) => json!(true),
            (7, Some(22)) => Value::Null,
            (7, Some(bits)) if more == 26 => json!(f64::from(f32::from_bits(bits as u32))),
            (7, Some(bits)) if more == 27 => json!(f64::from_bits(bits)),
            (7, None) => return None,
            _ => panic!("byte {first:#x} is not read here"),
        };
        Some(value)
    }

    fn many(&mut self, count: Option<u64>) -> Vec<Value> {
        match count {
            Some(count) => (0..count).map(|_| self.value().expect("an item")).collect(),
            None => std::iter::from_fn(|| self.value()).collect(),
        }
    }
}
