//! The `aaws` program: everything is in the library, so that another crate's program can be the same with more actions.

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    aaws::cli::main()
}
