//! IAM: what its actions share.
//!
//! What has to be there for an example (`given`) is written in this small vocabulary. Names are of this account; all of it is new, so nothing
//! in it is older than a day:
//!
//! - `user:alice` is a user; `user:alice/console` has a console password too, `user:alice/mfa` an MFA device assigned, and both may be given;
//! - `key:alice` is an active access key of the user `alice`, and `key:alice/AKIAIOSFODNN7EXAMPLE` one with that very id; the user is made
//!   when it was not given; `inactive_key:alice/AKIAIOSFODNN7EXAMPLE` is one that is disabled;
//! - `group:admins` and `role:worker` are a group and a role; `trust:worker=DOCUMENT` is a role with that trust policy;
//! - `member:alice/admins` puts the user `alice` into the group `admins`; both are made when they were not given;
//! - `policy:Name=DOCUMENT` is a customer managed policy, attached to nothing; DOCUMENT is its JSON;
//! - `inline:user:alice:Name=DOCUMENT` is an inline policy of a user; `inline:group:…` and `inline:role:…` of a group and a role. Its owner is
//!   made when it was not given.

/// What is true of all these actions.
const GLOBAL: &str = "IAM is the same in all regions of a partition: the region tells no more than the partition.";

mod account;
mod changes;
mod credentials;
pub mod delete_access_keys;
pub mod discover_admin_paths;
pub mod discover_inactive_console_users;
pub mod discover_inactive_users;
pub mod discover_no_mfa_users;
pub mod discover_old_access_keys;
pub mod discover_old_password_users;
pub mod discover_permissive_inline_policies;
pub mod discover_permissive_policies;
pub mod discover_trust_policies;
pub mod discover_unused_access_keys;
pub mod discover_unused_roles;
mod escalations;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod keys;
mod lift;
mod lockout;
pub mod modify_access_keys;
pub mod modify_users_console_access;
pub mod quarantine_user;
mod report;
pub mod revoke_role_sessions;
mod server_clock;
mod statements;
mod threshold;
mod trust;

pub use credentials::Part;
pub use delete_access_keys::DeleteAccessKeys;
pub use discover_admin_paths::DiscoverAdminPaths;
pub use discover_inactive_console_users::DiscoverInactiveConsoleUsers;
pub use discover_inactive_users::DiscoverInactiveUsers;
pub use discover_no_mfa_users::DiscoverNoMfaUsers;
pub use discover_old_access_keys::DiscoverOldAccessKeys;
pub use discover_old_password_users::DiscoverOldPasswordUsers;
pub use discover_permissive_inline_policies::DiscoverPermissiveInlinePolicies;
pub use discover_permissive_policies::DiscoverPermissivePolicies;
pub use discover_trust_policies::DiscoverTrustPolicies;
pub use discover_unused_access_keys::DiscoverUnusedAccessKeys;
pub use discover_unused_roles::DiscoverUnusedRoles;
pub use modify_access_keys::ModifyAccessKeys;
pub use modify_users_console_access::ModifyUsersConsoleAccess;
pub use quarantine_user::{QuarantineStep, QuarantineUser};
pub use report::Source;
pub use revoke_role_sessions::RevokeRoleSessions;
pub use threshold::ThresholdDays;
