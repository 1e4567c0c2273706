//! Actions as Rust programs use them: the README's program, and the forms that the pages show, built and run.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use aaws::catalog::manifest::Manifest;
use aaws::catalog::registry;
use aaws::docs::rust;
use serde_json::{Value, json};

use crate::readme::{block, build_crate};
use crate::support::{Bucket, moto};

/// Runs a program on moto, in an environment that holds nothing else.
fn run(program: &Path) -> String {
    let environment = [
        ("AWS_ACCESS_KEY_ID", "AKIATEST"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("AWS_ENDPOINT_URL", moto::endpoint()),
    ];
    let output = Command::new(program).env_clear().envs(environment).output().expect("the program runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("the program writes UTF-8")
}

#[test]
fn the_program_of_the_readme_deletes_objects() {
    let program = build_crate("source-library", "sweep", &block("library Cargo.toml"), &block("library src/main.rs"));
    let (_turn, bucket) = Bucket::of_the_examples();
    ["logs/2024/a.txt", "logs/2024/b.txt", "logs/2024/c.txt"].into_iter().for_each(|key| bucket.put(key, "text"));
    let printed = run(&program);
    let lines: Vec<_> = printed.lines().map(str::trim).collect();
    assert_eq!(lines, ["logs/2024/a.txt done", "logs/2024/b.txt done"]);
    assert_eq!(bucket.keys(), ["logs/2024/c.txt"]);
}

/// A program with a function for each example of the S3 actions, as their pages show it. It runs those of the actions named, and prints what comes of
/// each on a line of its own.
fn program_of_the_pages(ran: &[&str]) -> (String, Vec<Value>) {
    let (mut functions, mut calls, mut shown) = (String::new(), String::new(), Vec::new());
    for manifest in registry::of_service("s3").map(Manifest::of) {
        for (number, example) in manifest.examples.iter().enumerate() {
            let Some(call) = rust::call(&manifest, example) else { continue };
            let (opening, name) = (rust::opening(&manifest), format!("{}_{number}", manifest.action));
            let result = "let collected = aaws::Output::into_reply(output)?.collect().await;\nif let Some(e) = collected.error { return Err(e.into()); }\n";
            let _ = write!(
                functions,
                "async fn {name}() -> Result<(), Box<dyn std::error::Error>> {{\n{opening}\n{call}\n{result}println!(\"{{}}\", collected.value);\nOk(())\n}}\n\n"
            );
            if ran.contains(&manifest.action) {
                let _ = writeln!(calls, "    {name}().await?;");
                shown.push(serde_json::from_str(example.output).expect("an example's output is JSON"));
            }
        }
    }
    let main = format!("#[tokio::main]\nasync fn main() -> Result<(), Box<dyn std::error::Error>> {{\n{calls}    Ok(())\n}}\n");
    (format!("#![allow(dead_code)]\n\n{functions}{main}"), shown)
}

#[test]
fn the_rust_forms_of_the_pages_compile_and_do_what_they_show() {
    let (main, shown) = program_of_the_pages(&["delete_objects"]);
    assert!(shown.len() >= 2, "the examples of delete_objects are typed");
    let manifest = block("library Cargo.toml").replace("\"sweep\"", "\"pages\"");
    let program = build_crate("source-pages", "pages", &manifest, &main);
    let (_turn, bucket) = Bucket::of_the_examples();
    ["examples/object1", "examples/object2", "kept"].into_iter().for_each(|key| bucket.put(key, "text"));
    let printed: Vec<Value> = run(&program).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(json!(printed), json!(shown));
    assert_eq!(bucket.keys(), ["kept"]);
}
