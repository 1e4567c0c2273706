//! Names of vaults.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A backup vault's name: letters, digits, `-`, `_` and `.`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct VaultName(String);

impl VaultName {
    /// The text of it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for VaultName {
    /// The vault that AWS Backup makes by itself.
    fn default() -> Self {
        VaultName("Default".into())
    }
}

impl TryFrom<String> for VaultName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let fits = (1..=50).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if fits {
            Ok(VaultName(name))
        } else {
            Err(format!("`{name}` is not the name of a backup vault: 1 to 50 letters, digits, `-`, `_` and `.`"))
        }
    }
}

impl From<VaultName> for String {
    fn from(name: VaultName) -> String {
        name.0
    }
}

impl fmt::Display for VaultName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl JsonSchema for VaultName {
    fn schema_name() -> Cow<'static, str> {
        "VaultName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[A-Za-z0-9._-]{1,50}$" })
    }

    fn inline_schema() -> bool {
        true
    }
}
