//! The form of ids, told before anything is sent: what could be no id is a mistake of the input, and not something that does not exist.

use aaws::{Error, Items, Result};
use futures::TryStreamExt;

/// How many wrong ids an error names.
const NAMED: usize = 5;

/// Refuses what could be no id of this kind: ids are a prefix and hexadecimal digits (EC2 user guide, "Resource IDs"). How many digits there are is left
/// to EC2.
pub fn check(field: &str, prefix: &str, id: &str) -> Result<()> {
    if is_id(prefix, id) { Ok(()) } else { Err(wrong(field, prefix, &[id.to_owned()])) }
}

/// The ids of a list, when all of them could be ids of this kind.
pub async fn checked(field: &str, prefix: &str, ids: Items<String>) -> Result<Vec<String>> {
    all(field, prefix, ids.stream().try_collect().await?)
}

/// The same of ids that were read already.
pub fn all(field: &str, prefix: &str, ids: Vec<String>) -> Result<Vec<String>> {
    let strange: Vec<String> = ids.iter().filter(|id| !is_id(prefix, id)).cloned().collect();
    if strange.is_empty() { Ok(ids) } else { Err(wrong(field, prefix, &strange)) }
}

/// The ids of a list of resources of any kind.
pub async fn checked_of_any_kind(field: &str, ids: Items<String>) -> Result<Vec<String>> {
    let ids: Vec<String> = ids.stream().try_collect().await?;
    let strange: Vec<String> = ids.iter().filter(|id| !is_of_any_kind(id)).cloned().collect();
    if strange.is_empty() { Ok(ids) } else { Err(wrong(field, "i-", &strange)) }
}

fn is_id(prefix: &str, id: &str) -> bool {
    id.strip_prefix(prefix).is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Letters, digits and dashes, with a dash between two of the others: `vol-0123456789abcdef0`, `tgw-attach-0123456789abcdef0`.
fn is_of_any_kind(id: &str) -> bool {
    let parts: Vec<&str> = id.split('-').collect();
    parts.len() > 1 && parts.iter().all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric()))
}

fn wrong(field: &str, prefix: &str, ids: &[String]) -> Error {
    let named: Vec<String> = ids.iter().take(NAMED).map(|id| format!("`{}`", id.escape_debug())).collect();
    let more = if ids.len() > NAMED { format!(" and {} more", ids.len() - NAMED) } else { String::new() };
    let are = if ids.len() == 1 { "is no id" } else { "are no ids" };
    Error::field(field, format!("`{field}`: {}{more} {are}: give {prefix}0123456789abcdef0, say", named.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_no_id_is_told_from_what_does_not_exist() {
        assert!(is_id("vol-", "vol-0123456789abcdef0") && is_id("vol-", "vol-1a2b3c4d"));
        for wrong in
            ["", "vol-", "vol-*", "vol-xyz", "i-0123456789abcdef0", " vol-1a2b3c4d", "vol-1a2b3c4d\n", "arn:aws:ec2:::vol-1a2b3c4d"]
        {
            assert!(!is_id("vol-", wrong), "{wrong:?}");
        }
        assert!(is_of_any_kind("tgw-attach-0123456789abcdef0") && is_of_any_kind("sgr-1a2b3c4d"));
        for wrong in ["", "-", "vol-", "vol", "vol-*", "vol 1", "vol-1 vol-2"] {
            assert!(!is_of_any_kind(wrong), "{wrong:?}");
        }
    }
}
