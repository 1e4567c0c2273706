//! What is known of the actions that are linked in, for everything that shows them: registry, manifest, schema, policy, and how an invocation is
//! written. Runs nothing.

pub mod invocation;
pub mod manifest;
pub mod policy;
pub mod registry;
pub mod schema;
