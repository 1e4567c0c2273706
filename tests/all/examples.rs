//! Every example of every page is run as it is shown, and prints what the page says.

use aaws::action::Example;
use aaws::cli::command_line;
use aaws::manifest::Manifest;
use aaws::registry;
use serde_json::Value;

use crate::support::{self, aaws::Aaws};

/// The actions of a service with what they print, each on a world of its own.
fn run_all(service: &str, world: impl Fn(&Example, Aaws) -> Aaws) {
    let mut ran = 0;
    for entry in registry::of_service(service) {
        let manifest = Manifest::of(entry);
        for example in manifest.examples {
            let line = command_line(&manifest, example);
            let printed = world(example, support::shell(&line)).run().ok().json();
            let expected: Value = serde_json::from_str(example.output).expect("an example's output is JSON");
            assert_eq!(printed, expected, "{line}");
            // The same as JSON in a pipe, as the page shows it.
            let piped = format!("printf '%s' '{}' | aaws {service} {} --input -", example.input.replace('\'', r"'\''"), manifest.action);
            let printed = world(example, support::shell(&piped)).run().ok().json();
            assert_eq!(printed, expected, "{piped}");
            ran += 1;
        }
    }
    assert!(ran > 0, "{service} has examples");
}

#[cfg(feature = "s3")]
mod s3 {
    use super::*;
    use crate::support::Bucket;

    #[test]
    fn examples_of_s3_run_on_a_new_sandbox() {
        let directories = std::cell::RefCell::new(Vec::new());
        run_all("s3", |_, run| {
            let directory = support::directory();
            let run = run.sandbox(directory.path());
            directories.borrow_mut().push(directory);
            run
        });
    }

    #[test]
    fn examples_of_s3_run_on_moto() {
        let (_turn, bucket) = Bucket::of_the_examples();
        run_all("s3", |example, run| {
            // What one leaves behind must not help the next.
            bucket.keys().iter().for_each(|key| bucket.delete(key));
            example.given.iter().for_each(|key| bucket.put(key, "text"));
            run
        });
    }
}
