//! The `aaws` program: everything is in the library, so that another crate's program can be the same with more actions.

#![forbid(unsafe_code)]

/// That of musl asks the system for small pieces, gives them back at once, and has one lock for all threads. The library leaves it to whoever links it.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    aaws::cli::main()
}
