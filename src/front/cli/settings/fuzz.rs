//! What holds for every file of settings.

use super::{Place, Settings};

/// Reads bytes as the user's file, and as that of the folder: each mistake names its line, and what the user may not set nobody may.
pub fn settings(data: &[u8]) -> bool {
    let text = String::from_utf8_lossy(data);
    let lines = text.matches('\n').count() + 1;
    let [users, folders] = [Place::User, Place::Any].map(|place| {
        let (mut settings, mut mistakes) = (Settings::default(), Vec::new());
        settings.add_file("f", &text, place, &mut mistakes);
        for mistake in &mistakes {
            let line = mistake.message.strip_prefix("f:").and_then(|rest| rest.split(':').next()?.parse::<usize>().ok());
            assert!(line.is_some_and(|line| (1..=lines).contains(&line)), "{mistake:?}");
        }
        mistakes.len()
    });
    assert!(users <= folders, "the file of the folder may have no more than the user's");
    users == 0
}
