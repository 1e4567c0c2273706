//! Which rows of a listing are shown, in which order, and what of each.

use std::cmp::Ordering;

use futures::future::ready;
use futures::stream::{self, StreamExt};
use serde_json::{Map, Value};

use crate::engine::action::Reply;
use crate::model::error::{Error, InputError, Result};

/// In a schema of a number: what it is counted in.
const UNIT: &str = "x-unit";

/// A member that rows of a listing may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// As it is printed.
    pub name: String,
    /// What it is counted in.
    pub unit: Option<Unit>,
}

/// What a number is counted in, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// 2^30 bytes.
    GiB,
    /// Whole days.
    Days,
}

impl Column {
    /// The members of rows with this schema, as it names them; rows that are no objects have none.
    pub fn all(rows: &Value) -> Vec<Column> {
        let mut columns: Vec<Column> = Vec::new();
        let kinds = ["anyOf", "oneOf"].into_iter().find_map(|any| rows.get(any)?.as_array());
        let one = std::slice::from_ref(rows);
        let members = kinds.map_or(one, Vec::as_slice).iter().filter_map(|kind| kind.get("properties")?.as_object());
        for (name, schema) in members.flatten() {
            if !columns.iter().any(|column| column.name == *name) {
                let unit = match schema.get(UNIT).and_then(Value::as_str) {
                    Some("bytes") => Some(Unit::Bytes),
                    Some("GiB") => Some(Unit::GiB),
                    Some("days") => Some(Unit::Days),
                    _ => None,
                };
                columns.push(Column { name: name.clone(), unit });
            }
        }
        columns
    }
}

/// What is shown of a listing.
#[derive(Debug, Clone, Default)]
pub struct Shape {
    columns: Vec<String>,
    sort_by: Vec<SortKey>,
    limit: Option<usize>,
}

#[derive(Debug, Clone)]
struct SortKey {
    column: String,
    descending: bool,
}

/// What a person asks for, before it is known which columns there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Columns, several in one with commas between them.
    pub columns: Vec<String>,
    /// The same, and those with a `-` before them from the greatest to the least.
    pub sort_by: Vec<String>,
    /// How many rows.
    pub limit: Option<usize>,
}

impl Wanted {
    /// Whether it speaks of columns, which only rows with details have.
    pub fn needs_details(&self) -> bool {
        !self.columns.is_empty() || !self.sort_by.is_empty()
    }
}

impl Shape {
    /// What is wanted, of rows that may have these columns. A name fits whatever its case, and with `_` or `-` between its words.
    pub fn of(wanted: &Wanted, there: &[Column]) -> Result<Self> {
        let column = |flag: &str, given: &str| {
            let same = |name: &str| plain(name) == plain(given);
            let found = there.iter().find(|column| same(&column.name)).map(|column| column.name.clone());
            found.ok_or_else(|| {
                let names: Vec<_> = there.iter().map(|column| format!("`{}`", column.name)).collect();
                let hint = if names.is_empty() { "its rows are plain names".into() } else { format!("there are: {}", names.join(", ")) };
                Error::Input(InputError::field(flag, format!("`{flag}`: there is no column `{given}`")).with_hint(Some(hint)))
            })
        };
        let words = |list: &[String]| -> Vec<String> {
            let words = list.iter().flat_map(|given| given.split(',')).map(str::trim);
            words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
        };
        let named = |flag: &str, list: &[String]| match words(list) {
            // A variable of a script that is empty, say: all columns are not what was asked for.
            words if words.is_empty() && !list.is_empty() => Err(Error::field(flag, format!("`{flag}` is empty: name a column"))),
            words => Ok(words),
        };
        let mut columns: Vec<String> = Vec::new();
        for given in named("columns", &wanted.columns)? {
            let name = column("columns", &given)?;
            // A row has a member once.
            if !columns.contains(&name) {
                columns.push(name);
            }
        }
        let key = |given: &String| {
            let (name, descending) = given.strip_prefix('-').map_or((given.as_str(), false), |name| (name, true));
            Ok(SortKey { column: column("sort_by", name)?, descending })
        };
        let sort_by = named("sort_by", &wanted.sort_by)?.iter().map(key).collect::<Result<_>>()?;
        Ok(Shape { columns, sort_by, limit: wanted.limit })
    }

    /// Whether the columns were chosen.
    pub fn has_columns(&self) -> bool {
        !self.columns.is_empty()
    }

    /// The rows as they are to be shown. Only to be sorted all of them are held in memory. An error that a listing ends with stays its end: the first of
    /// all that came by then are not the first of all.
    pub fn apply(self, reply: Reply) -> Reply {
        let Reply::Items(rows) = reply else { return reply };
        let Shape { columns, sort_by, limit } = self;
        let rows = if sort_by.is_empty() {
            match limit {
                // It is looked all the same, whether there is anything and whether that can be told.
                Some(0) => rows.take(1).filter(|row| ready(row.is_err())).boxed(),
                Some(limit) => rows.take(limit).boxed(),
                None => rows,
            }
        } else {
            stream::once(async move {
                let collected = Reply::Items(rows).collect().await;
                let mut rows = match collected.value {
                    Value::Array(rows) => rows,
                    other => vec![other],
                };
                rows.sort_by(|one, other| compare(&sort_by, one, other));
                rows.truncate(limit.unwrap_or(usize::MAX));
                stream::iter(rows.into_iter().map(Ok).chain(collected.error.map(Err)))
            })
            .flatten()
            .boxed()
        };
        if columns.is_empty() {
            return Reply::Items(rows);
        }
        Reply::Items(rows.map(move |row| row.map(|row| chosen(&columns, row))).boxed())
    }
}

/// A name without what ways to write it differ in.
fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn chosen(columns: &[String], row: Value) -> Value {
    let Value::Object(mut members) = row else { return row };
    let member = |name: &String| (name.clone(), members.remove(name).unwrap_or(Value::Null));
    Value::Object(columns.iter().map(member).collect::<Map<_, _>>())
}

/// What has no value comes last, whichever way it goes.
fn compare(keys: &[SortKey], one: &Value, other: &Value) -> Ordering {
    let value = |row: &Value, key: &SortKey| row.get(&key.column).filter(|value| !value.is_null()).cloned();
    let by = |key: &SortKey| match (value(one, key), value(other, key)) {
        (Some(one), Some(other)) if key.descending => values(&other, &one),
        (Some(one), Some(other)) => values(&one, &other),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    };
    keys.iter().map(by).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

fn values(one: &Value, other: &Value) -> Ordering {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one.as_f64().unwrap_or_default().total_cmp(&other.as_f64().unwrap_or_default()),
        (Value::Bool(one), Value::Bool(other)) => one.cmp(other),
        (Value::String(one), Value::String(other)) => one.cmp(other),
        (one, other) => one.to_string().cmp(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use serde_json::json;

    fn there() -> Vec<Column> {
        let size = json!({ "type": "integer", "x-unit": "bytes" });
        let details = json!({ "properties": { "VolumeId": {}, "Size": size, "State": {} } });
        Column::all(&json!({ "anyOf": [{ "type": "string" }, details] }))
    }

    fn shown(columns: &[&str], sort_by: &[&str], limit: Option<usize>, rows: Value) -> Value {
        let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let wanted = Wanted { columns: list(columns), sort_by: list(sort_by), limit };
        let Value::Array(rows) = rows else { panic!("a list") };
        let reply = Reply::Items(stream::iter(rows.into_iter().map(Ok)).boxed());
        let shape = Shape::of(&wanted, &there()).expect("columns that there are");
        shape.apply(reply).collect().now_or_never().expect("nothing is waited for").value
    }

    #[test]
    fn columns_are_chosen_in_the_order_given_however_their_names_are_written() {
        let rows = json!([{ "VolumeId": "vol-1", "Size": 3, "State": "in-use" }, { "VolumeId": "vol-2" }]);
        let expected = json!([{ "Size": 3, "VolumeId": "vol-1" }, { "Size": null, "VolumeId": "vol-2" }]);
        let all = shown(&["size,volume_id"], &[], None, rows.clone());
        assert_eq!(all.to_string(), expected.to_string());
        assert_eq!(shown(&["Size", "volume-id"], &[], None, rows), expected);
    }

    #[test]
    fn rows_are_sorted_by_their_kind_and_what_has_no_value_comes_last() {
        let rows = json!([{ "Size": 10, "State": "b" }, { "State": "a" }, { "Size": 9, "State": "a" }, { "Size": 10, "State": "a" }]);
        let sizes = |rows: &Value| rows.as_array().into_iter().flatten().map(|row| row["Size"].clone()).collect::<Value>();
        assert_eq!(sizes(&shown(&[], &["size"], None, rows.clone())), json!([9, 10, 10, null]));
        assert_eq!(sizes(&shown(&[], &["-size"], None, rows.clone())), json!([10, 10, 9, null]));
        let first = shown(&[], &["-size", "state"], Some(1), rows);
        assert_eq!(first, json!([{ "Size": 10, "State": "a" }]));
    }

    #[test]
    fn a_column_that_is_not_there_is_named_with_those_that_are() {
        let wanted = Wanted { columns: vec!["Colour".into()], ..Wanted::default() };
        let error = Shape::of(&wanted, &there()).expect_err("there is none").to_string();
        assert!(error.contains("`Colour`"), "{error}");
        assert_eq!(there()[1], Column { name: "Size".into(), unit: Some(Unit::Bytes) });
    }
}
