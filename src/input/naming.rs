//! Objects in lists of strings: what `--details` prints is taken as it is, and the member that names each thing is what the list holds. A list whose
//! schema has objects beside strings holds the whole object, for an action that knows more of its members.

use serde_json::{Map, Value};

use super::checks;

/// In a schema, of a list or of its elements: the members by which an object stands for an element, rather than those that the name of the list tells.
const NAMES: &str = "x-aaws-names";

/// The members by which an object stands for an element of a list of strings, in the order in which they are looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Naming {
    members: Vec<String>,
    /// The list holds objects as they are.
    whole: bool,
}

impl Naming {
    /// For the list `field` with this schema: the members that the schema says, or else those that the name tells: `VolumeId` for `volume_ids`,
    /// `SecurityGroupId` and `GroupId` for `security_group_ids`, `UserName`, `UserId` and `Key` for `users`.
    pub fn of(field: &str, schema: &Value) -> Self {
        let list = checks::list(schema).unwrap_or(schema);
        let said = [Some(schema), Some(list), list.get("items")].into_iter().flatten().find_map(|s| s.get(NAMES)?.as_array());
        let members = match said {
            Some(names) => names.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            None => told_by(field),
        };
        Naming { members, whole: checks::holds_text(list) && checks::holds_objects(list) }
    }

    /// For a list that holds objects as they are: those that have one of these members, or where none is named, whatever they have.
    pub fn whole(members: &[&str]) -> Self {
        Naming { members: members.iter().map(|name| (*name).to_owned()).collect(), whole: true }
    }

    /// What the list holds for an object: its name, or where the action knows more of it than that, the object. The error goes on after the object's
    /// place: "is an object without …".
    pub fn element(&self, object: Map<String, Value>) -> Result<Value, String> {
        if self.whole && self.members.is_empty() {
            return Ok(Value::Object(object));
        }
        let name = self.name(&object)?;
        Ok(if self.whole { Value::Object(object) } else { Value::String(name) })
    }

    /// Puts names in place of the objects that have one, where only the names count.
    pub fn put_names(&self, items: &mut [Value]) {
        for item in items {
            if let Value::Object(object) = &*item
                && let Ok(name) = self.name(object)
            {
                *item = Value::String(name);
            }
        }
    }

    /// Whether the list holds objects as they are.
    pub fn keeps_objects(&self) -> bool {
        self.whole
    }

    fn name(&self, object: &Map<String, Value>) -> Result<String, String> {
        let found = self.members.iter().find_map(|name| object.get(name)?.as_str());
        found.map(str::to_owned).ok_or_else(|| match self.members.as_slice() {
            [] => "is an object where a string is expected".to_owned(),
            names => {
                let names: Vec<_> = names.iter().map(|n| format!("`{n}`")).collect();
                format!("is an object without a member {} that says which one is meant", names.join(" or "))
            }
        })
    }

    /// Whether a line is the header over what CSV and tables tell of such things, or of what became of any.
    pub fn is_header(&self, line: &str) -> bool {
        let names_one = |cells: &[&str]| cells.iter().any(|cell| self.members.iter().any(|name| name == cell));
        rows(line).iter().any(|cells| is_of_members(cells) && names_one(cells) || is_of_outcomes(cells))
    }
}

/// Whether a line may be the header of the CSV or the table that tells of things by their members, or of what became of them. What writes lines puts
/// such a name in quotes.
pub fn may_be_header(line: &str) -> bool {
    rows(line).iter().any(|cells| is_of_members(cells) || is_of_outcomes(cells))
}

/// What stands in a line of CSV and in one of a table: with commas between the cells, and with two blanks or more.
fn rows(line: &str) -> [Vec<&str>; 2] {
    let line = line.trim();
    [line.split(',').collect(), line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect()]
}

/// Two members or more, as AWS writes their names. One alone may be a name like any other.
fn is_of_members(cells: &[&str]) -> bool {
    let is_member = |cell: &&str| {
        let mut chars = cell.chars();
        chars.next().is_some_and(|first| first.is_ascii_uppercase()) && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    cells.len() > 1 && cells.iter().all(is_member)
}

/// The columns of a plan, and of other lists of outcomes.
fn is_of_outcomes(cells: &[&str]) -> bool {
    cells.first() == Some(&"item") && cells.contains(&"status")
}

fn told_by(field: &str) -> Vec<String> {
    let field =
        field.strip_suffix("ies").map(|stem| format!("{stem}y")).unwrap_or_else(|| field.strip_suffix('s').unwrap_or(field).to_owned());
    let words: Vec<String> = field.split('_').map(capital).collect();
    match words.last().map(String::as_str) {
        // Longer names first: the words before the last two say of what kind the thing is, which the API may leave out.
        Some("Id" | "Arn" | "Name") => (0..words.len().saturating_sub(1)).map(|n| words[n..].concat()).collect(),
        _ => {
            let thing = words.concat();
            vec![format!("{thing}Name"), format!("{thing}Id"), "Key".to_owned()]
        }
    }
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn name(field: &str, object: Value) -> Result<String, String> {
        Naming::of(field, &json!({})).name(object.as_object().expect("an object"))
    }

    #[test]
    fn the_name_of_a_list_tells_the_member() {
        assert_eq!(name("volume_ids", json!({"VolumeId": "vol-1", "SnapshotId": "snap-1"})), Ok("vol-1".into()));
        assert_eq!(name("security_group_ids", json!({"GroupId": "sg-1"})), Ok("sg-1".into()));
        assert_eq!(name("objects", json!({"Size": 3, "Key": "k"})), Ok("k".into()));
        assert_eq!(name("users", json!({"UserName": "alice"})), Ok("alice".into()));
        assert_eq!(name("policies", json!({"PolicyName": "p"})), Ok("p".into()));
        assert!(name("volume_ids", json!({"InstanceId": "i-1", "Id": "x"})).is_err_and(|e| e.contains("`VolumeId`")));
        assert!(name("volume_ids", json!({"VolumeId": null})).is_err());
    }

    #[test]
    fn a_list_of_strings_and_objects_keeps_the_objects() {
        let both = json!({"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "object"}], "x-aaws-names": ["Key"]}});
        let object = json!({"Key": "k", "VersionId": "v"});
        let element =
            |schema: &Value, object: &Value| Naming::of("objects", schema).element(object.as_object().expect("an object").clone());
        assert_eq!(element(&both, &object), Ok(object.clone()));
        assert!(element(&both, &json!({"VersionId": "v"})).is_err_and(|e| e.contains("`Key`")));
        assert_eq!(element(&json!({"type": "array", "items": {"type": "string"}}), &object), Ok(json!("k")));
    }

    #[test]
    fn a_header_is_told_from_a_name() {
        let naming = Naming::of("security_group_ids", &json!({}));
        for header in ["GroupId,GroupName,Tags", "VpcId,GroupId", " GroupName   GroupId ", "item,status", "item,name,status"] {
            assert!(naming.is_header(header) && may_be_header(header), "{header}");
        }
        // What another list's header would be may be a name of this one; what writes it cannot know which list will read it.
        assert!(!naming.is_header("Key,Size") && may_be_header("Key,Size"));
        for name in ["GroupId", "sg-1", "GroupId,", "GroupId, Size", "GroupId Size", "GroupId,size", "a,GroupId", "item,done", ""] {
            assert!(!naming.is_header(name) && !may_be_header(name), "{name}");
        }
    }

    #[test]
    fn a_schema_says_it_better() {
        let naming = Naming::of("things", &json!({"type": "array", "items": {"x-aaws-names": ["Arn"]}}));
        assert_eq!(naming.name(json!({"Arn": "a", "ThingName": "t"}).as_object().expect("an object")), Ok("a".into()));
    }
}
