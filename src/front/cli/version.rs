//! What this program is made of. `build.rs` finds it out.

/// `0.1.0`
pub const SHORT: &str = env!("CARGO_PKG_VERSION");

/// The same with the commit, its date and the features.
pub const LONG: &str = concat!(env!("CARGO_PKG_VERSION"), "\ncommit: ", env!("AAWS_BUILT_OF"), "\nfeatures: ", env!("AAWS_FEATURES"));
