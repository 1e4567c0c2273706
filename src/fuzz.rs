//! What holds for every text that somebody else wrote: one function for each kind, which takes any bytes, and panics where it does not hold.
//!
//! Fuzzers call them (`tests/fuzz`), and so do the tests here, with the corpus of the fuzzers and mutations of it. Each says whether the bytes were taken
//! for what they are meant to be: else they were refused, in a sentence. Nothing of it is in a program that is built for use.

#[cfg(feature = "iam")]
pub use crate::actions::iam::fuzz::policy;
pub use crate::engine::journal::fuzz::journal;
pub use crate::engine::plan::fuzz::plan;
pub use crate::front::cli::fuzz::{argv, settings};
pub use crate::input::fuzz::list;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::mutations;

    /// What stands before the names of seeds that need not be taken.
    const ODD: &str = "odd-";

    /// Shows the seeds of a target to its function, and so many mutations of them. A seed that is of use here, and not odd, has to be taken.
    fn every(target: &str, function: fn(&[u8]) -> bool, mutants: usize, is_of_use: fn(&[u8]) -> bool) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
        let Ok(entries) = fs::read_dir(&folder) else {
            // A package has no corpus in it, and a clone does.
            assert!(!Path::new(env!("CARGO_MANIFEST_DIR")).join(".git").exists(), "there is no `{}`", folder.display());
            return eprintln!("left out: there is no `{}`", folder.display());
        };
        let mut files: Vec<_> = entries.map(|entry| entry.expect("a seed").path()).collect();
        files.sort();
        let seeds: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).expect("a seed")).collect();
        for (file, seed) in files.iter().zip(&seeds) {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let taken = function(seed);
            assert!(taken || name.starts_with(ODD) || !is_of_use(seed), "{target}/{name} is refused");
        }
        let seeds: Vec<&[u8]> = seeds.iter().map(Vec::as_slice).filter(|seed| is_of_use(seed)).collect();
        if !seeds.is_empty() {
            mutations::each(&seeds, mutants, |text| {
                function(text);
            });
        }
    }

    /// Whether the action that a line is of was built in.
    fn is_built_in(line: &[u8]) -> bool {
        let line = String::from_utf8_lossy(line);
        line.split(' ').next().is_none_or(|service| crate::catalog::registry::services().contains(&service))
    }

    #[test]
    fn every_list_is_read_as_it_is_or_refused() {
        every("list", list, 2500, |_| true);
    }

    #[test]
    fn every_command_line_is_an_input_or_refused() {
        every("argv", argv, 1200, is_built_in);
    }

    #[test]
    #[cfg(feature = "iam")]
    fn every_policy_is_judged_or_refused() {
        every("policy", policy, 4000, |_| true);
    }

    #[test]
    fn every_plan_is_as_it_was_written_or_refused() {
        every("plan", plan, 1000, |_| true);
    }

    #[test]
    fn every_journal_is_believed_as_far_as_it_is_whole_or_refused() {
        every("journal", journal, 800, |_| true);
    }

    #[test]
    fn every_file_of_settings_is_read_or_its_mistakes_have_lines() {
        every("settings", settings, 3000, |_| true);
    }
}
