//! What holds for every policy document.

use super::statements::{Document, principals};
use super::trust;

/// The account that trust policies are looked at for.
const OWN: &str = "123456789012";

/// Reads bytes as a policy, and as the trust policy of a role, as they are and as the API gives them. What cannot be read is said; in what can be, strict
/// looks find whatever others find.
pub fn policy(data: &[u8]) -> bool {
    let text = String::from_utf8_lossy(data);
    assert!(principals(&text).is_sorted());
    let trusted = trust::findings(&text, &[OWN]);
    if let Err(why) = &trusted {
        assert!(!why.trim().is_empty(), "it is refused without a word");
    }
    match Document::read(&text) {
        Ok(document) => {
            let (one, strict) = (document.permissive(false), document.permissive(true));
            assert!(one.is_none() || strict.is_some(), "strict finds what is found without it");
            true
        }
        Err(why) => {
            assert!(!why.trim().is_empty(), "it is refused without a word");
            trusted.is_ok()
        }
    }
}
