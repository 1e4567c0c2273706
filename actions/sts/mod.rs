//! STS: who one is, and sessions for the shell.

pub mod clear_session;
pub mod create_session;
mod shell;
pub mod whoami;

pub use clear_session::ClearSession;
pub use create_session::CreateSession;
pub use shell::Shell;
pub use whoami::Whoami;
